"""The words of the alarm path: what a source reports, what the journal keeps, what a sink delivers.

    device ─poll→ Source ─Poll(alarms, position)→ journal ─Delivery→ Sink ─acknowledged→ outbox row done

No I/O, and nothing of ours but the fault words is imported here.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

Position = dict[str, Any]
"""Where a source is: a small JSON document that the source owns and the journal stores beside the alarms."""


class Kind(StrEnum):
    INTRUSION = "intrusion"
    PERSON = "person"
    VEHICLE = "vehicle"
    MOVEMENT = "movement"
    TAMPER = "tamper"
    EXTERNAL_TRIGGER = "external_trigger"
    ARMED = "armed"
    DISARMED = "disarmed"
    ACCESS_DENIED = "access_denied"
    ACCESS_GRANTED = "access_granted"
    DOOR_FORCED = "door_forced"
    LOW_BATTERY = "low_battery"
    ENVIRONMENT = "environment"
    POWER = "power"
    CAMERA_LOST = "camera_lost"
    CAMERA_RESTORED = "camera_restored"
    SOURCE_LOST = "source_lost"
    SOURCE_RESTORED = "source_restored"
    SYSTEM = "system"
    OTHER = "other"


class Evidence(StrEnum):
    """The state of a snapshot or a video."""

    READY = "ready"  # the file is here
    RECORDING = "recording"  # the device still makes it, or it is not fetched yet
    UNAVAILABLE = "unavailable"  # there is none
    EXPIRED = "expired"  # it was here, or at the device, and has been removed


class Media(StrEnum):
    SNAPSHOT = "snapshot"
    VIDEO = "video"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One happening, as a source reports it.

    (`epoch`, `native_id`) is unique within a source for ever: `epoch` names the device's numbering (a unit's serial
    number, "" where there is one numbering) and changes when that restarts. `device` is the device's own id of the
    camera, door or zone ("" for the unit itself) and is the key of the configuration's `zones`. `armed` is None where
    the vendor does not say. `raw` is the vendor's object as received.
    """

    native_id: str
    kind: Kind
    occurred_at: datetime
    description: str
    device: str = ""
    device_name: str = ""
    restoral: bool = False
    armed: bool | None = None
    snapshot: Evidence = Evidence.UNAVAILABLE
    video: Evidence = Evidence.UNAVAILABLE
    raw: Mapping[str, Any] = field(default_factory=dict)
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class Poll:
    """The answer of one poll. `more` asks for the next poll at once (a backlog larger than one step)."""

    alarms: Sequence[Alarm]
    position: Position
    more: bool = False


class Source(Protocol):
    """A device. One method is a whole driver: the polling loop owns schedule, timeout, retries, metrics and logs.

    `poll(None)` is the first poll ever: the source applies its `start_from`. A poll that fails raises `Fault` and
    changes nothing. Constructors do no I/O.
    """

    async def poll(self, position: Position | None) -> Poll: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Device:
    """One camera, door, input, relay or zone that a source can list. `kind` is that word; `state` is for people."""

    id: str
    kind: str
    name: str
    state: str = ""


@runtime_checkable
class Probing(Protocol):
    async def probe(self) -> str:
        """Log in and read something for real; a sentence on what was found. Raises `Fault` with a hint."""
        ...


@runtime_checkable
class Acting(Protocol):
    actions: frozenset[str]

    async def act(self, action: str, target: str, raw: Mapping[str, Any] | None = None) -> str:
        """Do `action` to the device's own `target`; a sentence on what was done.

        For `acknowledge` of an alarm, `raw` is the alarm's object as received and `target` its native id. Raises
        `Refused`, `UnknownTarget`, `UnknownAction` or `Fault`.
        """
        ...


@runtime_checkable
class Listing(Protocol):
    async def devices(self) -> list[Device]:
        """Cameras, doors, zones, inputs and relays by their own ids, for set-up and console."""
        ...


@dataclass(frozen=True, slots=True)
class MediaStream:
    content_type: str
    chunks: AsyncIterator[bytes]


@runtime_checkable
class Filming(Protocol):
    def media(self, native_id: str, media: Media, epoch: str) -> AbstractAsyncContextManager[MediaStream | None]:
        """The snapshot or video of an alarm as a stream; None while it is recording.

        Raises `LookupError` for never: there is none, or `epoch` is not the device's present numbering.
        """
        ...

    def live(self, camera: str) -> AbstractAsyncContextManager[MediaStream]:
        """A camera's live pictures (multipart MJPEG, content type with its boundary)."""
        ...


@dataclass(frozen=True, slots=True)
class JournalledAlarm:
    """An alarm as the journal has it: numbered, timed, and with its place at the monitoring centre.

    `account` is the client's account as the receiver knows it ("" where none is configured), `zone` the zone number
    there (0 for the unit). Instants are aware and in UTC.
    """

    id: int
    source: str
    received_at: datetime
    account: str
    zone: int
    alarm: Alarm

    def as_json(self) -> dict[str, Any]:
        """The alarm object of the contract, without `deliveries`."""
        alarm = self.alarm
        return {
            "id": self.id,
            "source": self.source,
            "source_alarm_id": alarm.native_id,
            "kind": alarm.kind.value,
            "occurred_at": instant(alarm.occurred_at),
            "received_at": instant(self.received_at),
            "account": self.account,
            "zone": self.zone,
            "device": alarm.device_name or alarm.device,
            "description": alarm.description,
            "restoral": alarm.restoral,
            "armed": alarm.armed,
            "evidence": {"snapshot": alarm.snapshot.value, "video": alarm.video.value},
            "raw": dict(alarm.raw),
        }


@dataclass(slots=True)
class Delivery:
    """One alarm on its way to one sink.

    `memo` is what the sink noted at its first try (a sequence number, a body), durable from `note` on, so that a
    repeat after a crash is the same message. `attempts` counts the tries before this one. `following` is the account's
    next delivery where it is known already: what a sink can do for it while it waits for this one's acknowledgement.
    """

    id: int
    alarm: JournalledAlarm
    attempts: int
    memo: str | None
    note_memo: Callable[[str], Awaitable[None]]
    following: "Delivery | None" = None

    async def note(self, memo: str) -> None:
        await self.note_memo(memo)
        self.memo = memo


class Sink(Protocol):
    """A far end. `deliver` returns once it has acknowledged, raises `Rejected` where it never will, and anything else
    where it may later. `run` holds what lives between deliveries (connection, supervision) and never returns.
    `probe` asks the far end for a sign of life and says what was found; raises `Fault` with a hint.
    """

    name: str

    async def deliver(self, delivery: Delivery) -> None: ...

    async def run(self) -> None: ...

    async def probe(self) -> str: ...


def instant(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds, ending in Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[: -len("+00:00")] + "Z"


def parse_instant(text: str) -> datetime:
    """The inverse of `instant`; a text without a zone is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
