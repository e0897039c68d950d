"""The event code table: kind → SIA code and Contact ID, as data, with reasons. Overridable by the sink's `codes`.

An alarm of a kind with its own opposite (camera lost, camera restored) and a restoral of the first are one code.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from agent.alarms.model import JournalledAlarm, Kind
from agent.settings.sinks import CodeOverride


@dataclass(frozen=True, slots=True)
class Code:
    """`sia` begins, `sia_restoral` ends. `cid` is the Contact ID event; its qualifier is 1 for a beginning and 3 for an
    end, the other way about where `reversed_cid`. `by_source`: the number is the source's, not the zone's.
    """

    sia: str
    sia_restoral: str
    cid: str
    reversed_cid: bool = False
    by_source: bool = False


_BURGLARY = Code("BA", "BR", "130")
_UNTYPED = Code("UA", "UR", "150")
_CAMERA = Code("UT", "UJ", "380")  # trouble of a point, not an alarm: a lost camera is not a burglar
# Not 350-352: receivers raise those themselves when supervision stops, and would show our own link as lost.
_SOURCE = Code("ET", "ER", "333", by_source=True)

CODES: Mapping[Kind, Code] = {
    Kind.INTRUSION: _BURGLARY,
    Kind.PERSON: _BURGLARY,
    Kind.VEHICLE: _BURGLARY,
    Kind.MOVEMENT: _BURGLARY,
    Kind.TAMPER: Code("TA", "TR", "137"),
    Kind.EXTERNAL_TRIGGER: _UNTYPED,
    # Contrary to intuition, in Contact ID qualifier 1 is the opening and 3 the closing.
    Kind.ARMED: Code("CL", "OP", "401", reversed_cid=True),
    Kind.DISARMED: Code("OP", "CL", "401"),
    Kind.ACCESS_DENIED: Code("DD", "DD", "421"),
    Kind.ACCESS_GRANTED: Code("DG", "DG", "422"),
    Kind.DOOR_FORCED: Code("DF", "DR", "423"),
    # 384 is the battery of a device, but receivers that lack it turn it into "invalid report"; all know 302, and the
    # zone says which device.
    Kind.LOW_BATTERY: Code("XT", "XR", "302"),
    Kind.ENVIRONMENT: _UNTYPED,
    Kind.POWER: Code("AT", "AR", "301"),
    Kind.CAMERA_LOST: _CAMERA,
    Kind.CAMERA_RESTORED: _CAMERA,
    Kind.SOURCE_LOST: _SOURCE,
    Kind.SOURCE_RESTORED: _SOURCE,
    Kind.SYSTEM: Code("UT", "UJ", "380"),
    Kind.OTHER: _UNTYPED,
}
ENDS = frozenset({Kind.CAMERA_RESTORED, Kind.SOURCE_RESTORED})
"""Kinds that are the end of another."""

UNIT_CODES: Mapping[Kind, Code] = {
    Kind.LOW_BATTERY: Code("YT", "YR", "302"),  # the main unit's own battery
    Kind.SYSTEM: Code("JO", "JO", "624"),  # a gap: the device forgot events before they were read
}
"""Where an alarm is about the unit itself, not one of its devices."""

_TEMPERATURE = r"(?=.*(temp|freez|cold|cool|heat|frys|kjøl|varme|kulde|\bdeg|°))"

ENVIRONMENT_CODES: tuple[tuple[re.Pattern[str], Code], ...] = (
    # 154 is water, but receivers that lack it turn it into "invalid report"; 150 keeps the alarm and its zone.
    (re.compile(r".*(water|leak|flood|vann|lekkasje)"), Code("WA", "WH", "150")),
    (re.compile(_TEMPERATURE + r".*\blow\b"), Code("ZA", "ZH", "159")),
    (re.compile(_TEMPERATURE + r".*\bhigh\b"), Code("KA", "KH", "158")),
)
"""What an environment alarm measures stands only in its words; the first that matches."""

PERIODIC_TEST = ("RP", "602")
MANUAL_TEST = ("RX", "601")


@dataclass(frozen=True, slots=True)
class Event:
    """A line's event: SIA code, Contact ID qualifier and event, and the number (zone, source, user)."""

    sia: str
    qualifier: int
    cid: str
    number: int


def event_of(alarm: JournalledAlarm, overrides: Mapping[Kind, CodeOverride], source_number: int) -> Event:
    code = _code_of(alarm)
    own = overrides.get(alarm.alarm.kind)
    if own is not None:
        code = replace(
            code,
            sia=own.sia or code.sia,
            sia_restoral=own.sia_restoral or code.sia_restoral,
            cid=own.cid or code.cid,
        )
    ended = alarm.alarm.restoral or alarm.alarm.kind in ENDS
    return Event(
        sia=code.sia_restoral if ended else code.sia,
        qualifier=3 if ended != code.reversed_cid else 1,
        cid=code.cid,
        number=source_number if code.by_source else alarm.zone,
    )


def _code_of(entry: JournalledAlarm) -> Code:
    alarm = entry.alarm
    if alarm.kind is Kind.ENVIRONMENT:
        words = f"{alarm.device_name} {alarm.description}"[:500].lower().replace("\n", " ")
        return next((code for pattern, code in ENVIRONMENT_CODES if pattern.match(words)), CODES[alarm.kind])
    if not alarm.device and alarm.kind in UNIT_CODES:
        return UNIT_CODES[alarm.kind]
    return CODES[alarm.kind]
