"""An alarm as the content of a frame: data and extended fields, shortened until the frame fits. Pure.

Fact: a receiver that people use answers NAK to a Contact ID event with more than one extended field. Decision: Contact
ID carries the first of them only; SIA-DCS, the default, carries all.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from agent.alarms.model import JournalledAlarm, Kind
from agent.faults import Rejected
from agent.settings.sinks import CodeOverride
from agent.sinks.dc09.codes import Event, event_of
from agent.sinks.dc09.frame import MAX_FRAME_BYTES, Line, stamp
from agent.sinks.dc09.text import MAX_TEXT, plain, windows

LATE = timedelta(seconds=10)
LONGEST_NAME = 60  # of the `^…^` text: an operator's list shows no more
_LINK = re.compile(r'^https?://[^\s\[\]|^"\x00-\x1f\x7f-\uffff]+$')

Link = Callable[[JournalledAlarm], str | None]
ZoneName = Callable[[str, int], str | None]


@dataclass(frozen=True, slots=True)
class Message:
    """`identifier`, data and extended fields of one event. `bare` is the same event with nothing but its code."""

    identifier: str
    data: str
    extended: tuple[str, ...] = ()
    bare: str = ""

    @property
    def has_extras(self) -> bool:
        return bool(self.extended) or self.data != self.bare


@dataclass(frozen=True, slots=True)
class Wording:
    """How a sink words its alarms. `link` gives a picture's address, `zone_name` the name of an account's zone."""

    format: Literal["sia-dcs", "adm-cid"] = "sia-dcs"
    site: str = ""
    raw_text: bool = False
    codes: Mapping[Kind, CodeOverride] = field(default_factory=dict)
    source_numbers: Mapping[str, int] = field(default_factory=dict)
    link: Link = lambda alarm: None
    zone_name: ZoneName = lambda account, zone: None

    def message(self, alarm: JournalledAlarm, line: Line, now: datetime) -> Message:
        """Raises `Rejected` where no frame can hold it."""
        event = event_of(alarm, self.codes, self.source_numbers.get(alarm.source, 0))
        extended = self._extended(alarm, now)
        if self.format == "adm-cid":
            data = _contact_id(event)
            return Message("ADM-CID", data, self._fitting(line, "ADM-CID", data, extended[:1]), data)
        bare = f"N{event.sia}{event.number:03d}"
        name = plain(self._name(alarm, line.account), LONGEST_NAME)
        data = f"{bare}^{name}^" if name else bare
        return Message("SIA-DCS", data, self._fitting(line, "SIA-DCS", data, extended), bare)

    def _name(self, alarm: JournalledAlarm, account: str) -> str:
        registered = self.zone_name(account, alarm.zone) if alarm.zone else None
        return registered or alarm.alarm.device_name or alarm.alarm.device

    def _extended(self, alarm: JournalledAlarm, now: datetime) -> list[str]:
        """The fields in the order of their worth to an operator: time, link, what, where, site."""
        to_text = windows if self.raw_text else plain
        items = []
        if now - alarm.alarm.occurred_at > LATE:
            items.append("H" + stamp(alarm.alarm.occurred_at.astimezone(UTC)))
        link = self.link(alarm)
        if link and len(link) <= MAX_TEXT and _LINK.match(link):
            items.append("V" + link)
        texts = (
            ("I", alarm.alarm.description),
            ("L", alarm.alarm.device_name or alarm.alarm.device),
            ("S", self.site),
        )
        return items + [letter + text for letter, raw in texts if (text := to_text(raw))]

    @staticmethod
    def _fitting(line: Line, identifier: str, data: str, extended: Sequence[str]) -> tuple[str, ...]:
        """As much of `extended` as the frame has room for: the least worthy text is shortened, then left out."""
        if line.event_bytes(identifier, data, extended) <= MAX_FRAME_BYTES:
            return tuple(extended)
        fitting: list[str] = []
        for item in extended:
            room = _room(line, identifier, data, fitting)
            if len(item) <= room:
                fitting.append(item)
            elif item[0] in "ILS" and room >= 20:
                fitting.append(item[:room].rstrip())
        if line.event_bytes(identifier, data, fitting) > MAX_FRAME_BYTES:
            raise Rejected("The event does not fit into a frame of 1,000 bytes.")
        return tuple(fitting)


def _room(line: Line, identifier: str, data: str, fitting: Sequence[str]) -> int:
    """How long one more field may be."""
    free = MAX_FRAME_BYTES - line.event_bytes(identifier, data, fitting)
    if line.key is None:
        return free - 2
    return max(0, free // 32 * 16 - 2)  # every 16 clear bytes are 32 on the wire; what the pad leaves is not used


def _contact_id(event: Event) -> str:
    """Contact ID has three digits for the zone; a larger number would make the frame invalid, so it becomes 000."""
    number = event.number if event.number <= 999 else 0
    # Group 00 addresses the client itself; another would address an area account that nobody has made.
    return f"{event.qualifier}{event.cid} 00 {number:03d}"


def message_of_test(format: Literal["sia-dcs", "adm-cid"], code: tuple[str, str]) -> Message:
    """A test event, `code` being its (SIA code, Contact ID event)."""
    sia, cid = code
    if format == "adm-cid":
        return Message("ADM-CID", f"1{cid} 00 000", (), f"1{cid} 00 000")
    return Message("SIA-DCS", f"N{sia}000", (), f"N{sia}000")
