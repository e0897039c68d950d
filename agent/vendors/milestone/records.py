"""What the Alarms API answers with, as types: alarms, states, priorities, cameras.

Facts. `state` and `priority` are objects on read and plain ids on write; names are localised and editable, so only
the level counts: New 1, In progress 4, On hold 9, Closed 11, priorities 1 High to 3 Low. Instants carry three or
seven fractional digits. `source` is "cameras/<id>". Decision: a reader takes object, string or number for a level,
and a row without an id is no alarm.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agent.vendors import wire

NEW, IN_PROGRESS, ON_HOLD, CLOSED = 1, 4, 9, 11


@dataclass(frozen=True, slots=True)
class Level:
    """An alarm state or priority: `id` is what a PATCH takes, `level` what it means."""

    id: str
    level: int | None
    name: str


@dataclass(frozen=True, slots=True)
class Camera:
    id: str
    name: str
    enabled: bool | None


@dataclass(frozen=True, slots=True)
class AlarmRecord:
    """One alarm. `time` is when it happened, `updated` when it was last touched, by insertion or by an operator."""

    id: str
    name: str = ""
    message: str = ""
    camera: str = ""
    time: datetime | None = None
    updated: datetime | None = None
    local_id: int | None = None
    type: str = ""
    state: Level | None = None
    priority: Level | None = None
    description: str = ""
    location: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict)


def alarm_record(row: Mapping[str, Any]) -> AlarmRecord | None:
    alarm_id = wire.text(row.get("id"), 100)
    if not alarm_id:
        return None
    data = wire.table(row.get("data"))
    camera = wire.text(row.get("cameraId"), 100) or wire.text(row.get("source"), 120).rpartition("/")[2]
    return AlarmRecord(
        alarm_id,
        wire.text(row.get("name")),
        wire.text(row.get("message")),
        camera,
        moment(row.get("time")),
        moment(row.get("lastUpdatedTime")),
        wire.whole(row.get("localId")),
        wire.text(row.get("legacyType")),
        level(row.get("state")),
        level(row.get("priority")),
        wire.text(data.get("description")),
        wire.text(data.get("location")),
        row,
    )


def level(value: Any) -> Level | None:
    """A state or priority, as object, as plain level, or as a plain id."""
    if isinstance(value, dict):
        return Level(wire.text(value.get("id"), 100), wire.whole(value.get("level")), wire.text(value.get("name")))
    number = wire.whole(value)
    if number is not None:
        return Level("", number, "")
    return Level(wire.text(value, 100), None, "") if wire.text(value) else None


def camera(row: Mapping[str, Any]) -> Camera | None:
    camera_id = wire.text(row.get("id"), 100)
    name = wire.text(row.get("displayName")) or wire.text(row.get("name"))
    return Camera(camera_id, name, wire.truth(row.get("enabled"))) if camera_id else None


def moment(value: Any) -> datetime | None:
    """An instant in UTC; without a zone it is UTC. None for what is none, .NET's year 1 included."""
    try:
        parsed = datetime.fromisoformat(wire.text(value, 40))
        parsed = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return parsed if parsed.year > 1970 else None
