"""A DAVANTIS row as an alarm. Pure.

Facts (manual). Detection events: 1 movement, 2 person, 3 vehicle, 7 other, 10 sabotage, 11 intrusion, 18 external
trigger; system events: 0 generic, 102 armed/disarmed. Camera 0 is the system itself, but the loss and the recovery of
a camera belong to that camera. Whether 102 means armed or disarmed, and what a generic event is, stands in the text
alone. Decisions: the text is read by the stems of the languages the software speaks, the untranslated key first; what
cannot be read is `system`; an event that is not in the list is `other` and always passes.
"""

import re
from datetime import datetime

from agent.alarms.model import Alarm, Evidence, Kind
from agent.vendors.davantis.records import AlarmRecord
from agent.vendors.wire import text

SYSTEM_CAMERA = "0"
GENERIC, SABOTAGE, ARMING = 0, 10, 102

DETECTIONS = {
    1: Kind.MOVEMENT,
    2: Kind.PERSON,
    3: Kind.VEHICLE,
    7: Kind.OTHER,
    11: Kind.INTRUSION,
    18: Kind.EXTERNAL_TRIGGER,
}

DISARMED = re.compile(r"dis-?arm|un-?arm|desarm|désarm|deactiv|desactiv|désactiv|inactiv|unscharf|frakobl|avväpn", re.I)
ARMED = re.compile(r"(?<!al)arm|activ|scharf|tilkobl", re.I)
LOST = re.compile(r"lost|loss|no.?signal|disconnect|off.?line|perdid|pérdida|perdu|verlor|mistet|tapt", re.I)
RESTORED = re.compile(r"recover|restor|reconnect|on.?line|recuper|récup|wieder|gjenopp", re.I)


def is_system(row: AlarmRecord) -> bool:
    """Whether the row counts whatever the cameras' arming: the unit's own events, and events not in the manual."""
    return row.camera == SYSTEM_CAMERA or row.event not in DETECTIONS


def kind_of(row: AlarmRecord) -> Kind:
    if row.event in DETECTIONS:
        return DETECTIONS[row.event]
    if row.event == SABOTAGE:
        return Kind.TAMPER
    if row.event == ARMING:
        return _first_match(row, ((DISARMED, Kind.DISARMED), (ARMED, Kind.ARMED)))
    if row.event == GENERIC:
        if row.camera in ("", SYSTEM_CAMERA):
            return Kind.SYSTEM
        return _first_match(row, ((RESTORED, Kind.CAMERA_RESTORED), (LOST, Kind.CAMERA_LOST)))
    return Kind.OTHER


def _first_match(row: AlarmRecord, meanings: tuple[tuple[re.Pattern[str], Kind], ...]) -> Kind:
    for said in (text(row.raw.get("description")), row.description):
        for pattern, kind in meanings:
            if pattern.search(said):
                return kind
    return Kind.SYSTEM


def alarm_of(row: AlarmRecord, *, epoch: str, occurred_at: datetime, armed: bool | None, camera_name: str) -> Alarm:
    kind = kind_of(row)
    return Alarm(
        native_id=str(row.id),
        kind=kind,
        occurred_at=occurred_at,
        description=row.description or kind.value.replace("_", " ").capitalize(),
        device=row.camera,
        device_name=camera_name,
        restoral=kind is Kind.CAMERA_RESTORED,
        armed=armed,
        snapshot=_evidence(row.snapshot_status, row),
        video=_evidence(row.video_status, row),
        raw=row.raw,
        epoch=epoch,
    )


def _evidence(status: str, row: AlarmRecord) -> Evidence:
    """`ready` means ready at the device: here it is still to be fetched. A state that is not in the manual is worth a
    try, and so is none at all for a detection.
    """
    if status == "unavailable" or (not status and row.event not in DETECTIONS):
        return Evidence.UNAVAILABLE
    return Evidence.RECORDING
