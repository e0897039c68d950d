"""What a DAVANTIS device says, as typed records. Pure: documents in, records out.

Facts (manual; one alarm recorded from a real unit). The alarm's keys are `idcamera` and `idevent` while the filters
are `camera_id` and `event_id`; `description` may be a translation key with the text in `description_translation`;
instants may lack a zone and are local then; the models of camera, input, relay and installation are not published
beyond a few keys. Decisions: a row is known by its integer `id` and nothing else is required of it; every record keeps
the object as received.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from agent.faults import Fault, FaultClass
from agent.vendors.wire import text, truth, whole

Raw = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AlarmRecord:
    """A row of `GET /alarms`. `started` is naive where the device gave no zone, None where it gave no instant."""

    id: int
    machine: str
    event: int | None
    camera: str
    description: str
    started: datetime | None
    snapshot_status: str
    video_status: str
    raw: Raw


@dataclass(frozen=True, slots=True)
class Camera:
    id: str
    alias: str
    thermal: bool
    active: bool | None
    raw: Raw


@dataclass(frozen=True, slots=True)
class Switch:
    """A relay (`status`: switched on) or an input (`status`: armed)."""

    id: str
    alias: str
    status: bool | None
    raw: Raw


@dataclass(frozen=True, slots=True)
class Installation:
    """`utc_offset` is None where the device does not give one that can be read."""

    utc_offset: timedelta | None
    raw: Raw


@dataclass(frozen=True, slots=True)
class AlarmFilter:
    """The filters of `GET /alarms`. Instants are given as the device is to read them: aware, or naive for its own."""

    armed: bool | None = None
    min_id: int | None = None
    min_date: datetime | None = None
    max_date: datetime | None = None
    cameras: tuple[str, ...] = ()
    events: tuple[int, ...] = ()

    def query(self) -> dict[str, str]:
        """The query parameters, unencoded; whole seconds, as in the manual's samples."""
        query: dict[str, str] = {}
        if self.armed is not None:
            query["cra"] = "yes" if self.armed else "no"
        if self.min_id is not None:
            query["min_id"] = str(self.min_id)
        if self.min_date is not None:
            query["min_date"] = _date(self.min_date)
        if self.max_date is not None:
            query["max_date"] = _date(self.max_date)
        if self.cameras:
            query["camera_id"] = ",".join(self.cameras)
        if self.events:
            query["event_id"] = ",".join(map(str, self.events))
        return query


def _date(moment: datetime) -> str:
    if moment.tzinfo is None:
        return moment.isoformat(timespec="seconds")
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def alarm_records(document: Any, where: str) -> list[AlarmRecord]:
    """The rows of an alarm list. An answer that is no list of numbered objects is a fault as a whole: no row of it can
    be told from another, and leaving one out would lose it.
    """
    if not isinstance(document, list):
        raise Fault(FaultClass.PROTOCOL, f"{where} answers the alarm list with something that is no list.")
    return [_alarm_record(row, where) for row in document]


def _alarm_record(row: Any, where: str) -> AlarmRecord:
    number = whole(row.get("id")) if isinstance(row, dict) else None
    if number is None or number < 0:
        raise Fault(FaultClass.PROTOCOL, f"{where} lists an alarm without a usable id.")
    return AlarmRecord(
        id=number,
        machine=text(row.get("idmachine"), 64),
        event=whole(row.get("idevent")),
        camera=text(row.get("idcamera"), 64),
        description=text(row.get("description_translation")) or text(row.get("description")),
        started=_instant(row.get("started")),
        snapshot_status=text(row.get("snapshot_status"), 32),
        video_status=text(row.get("video_status"), 32),
        raw=row,
    )


def _instant(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
        # Two days of margin, so that no later sum of it with an offset or a step of the walk leaves the calendar.
        return moment if 1970 <= moment.year < 9999 else None
    except (TypeError, ValueError):
        return None


def cameras(rows: Iterable[Raw]) -> list[Camera]:
    return [
        Camera(identity, text(row.get("alias")), truth(row.get("thermal")) is True, truth(row.get("active")), raw=row)
        for row in rows
        if (identity := text(row.get("id"), 64))
    ]


def switches(rows: Iterable[Raw]) -> list[Switch]:
    return [
        Switch(identity, text(row.get("alias")), truth(row.get("status")), raw=row)
        for row in rows
        if (identity := text(row.get("id"), 64))
    ]


def installation(document: Raw) -> Installation:
    return Installation(utc_offset(document.get("current_utc_offset")), raw=document)


CLOCK = re.compile(r"(?:UTC|GMT)?([+-]?)(\d{1,2})(?::(\d{2})|(\d{2}))?(?::\d{2})?")
NUMBER = re.compile(r"[+-]?\d{1,3}|[+-]?\d{5,6}|[+-]?\d{1,6}\.\d{1,6}|[1-9]\d{3}")
FURTHEST = timedelta(hours=14)


def utc_offset(value: Any) -> timedelta | None:
    """`current_utc_offset`, whose form the manual does not show: "+02:00", "+0200", "UTC+2", "Z", or a number of hours,
    minutes or seconds, told apart by size: no offset is more than 14 hours. None for anything else.
    """
    words = text(value, 20)
    if words in ("Z", "UTC", "GMT"):
        return timedelta()
    if NUMBER.fullmatch(words):
        return _measured(float(words))
    found = CLOCK.fullmatch(words)
    if found is None:
        return None
    size = timedelta(hours=int(found[2]), minutes=int(found[3] or found[4] or 0))
    return None if size > FURTHEST else -size if found[1] == "-" else size


def _measured(number: float) -> timedelta | None:
    for unit in (timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)):
        if abs(number) * unit <= FURTHEST:
            return number * unit
    return None


def as_utc(moment: datetime, offset: timedelta) -> datetime:
    """A device's instant in UTC; `offset` is what a naive one is read with."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone(offset))).astimezone(UTC)
