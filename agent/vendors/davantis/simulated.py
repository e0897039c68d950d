"""The state of a simulated DAVANTIS device: its alarms, inputs, relays and tokens, and the oddities it can be given.

Pure but for its two clocks; `simulator.py` puts HTTP in front.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal

CAMERAS = {1: "Gate north", 2: "Loading bay", 3: "Car park", 4: "Fence east"}
INPUT_CAMERAS = {1: (1, 2), 2: (3, 4)}
RELAYS = {1: "light", 2: "sound", 3: "other"}
ALARMS_KEPT = 50_000

EVENTS: dict[str, tuple[int, str, str]] = {
    "intrusion": (11, "detected.intruder", "Intruder detected"),
    "person": (2, "detected.person", "Person detected"),
    "vehicle": (3, "detected.vehicle", "Vehicle detected"),
    "movement": (1, "detected.movement", "Movement detected"),
    "external_trigger": (18, "detected.trigger", "External trigger"),
    "other": (7, "detected.other", "Other object detected"),
    "tamper": (10, "detected.sabotage", "Camera sabotage"),
    "armed": (102, "system.armed", "System armed"),
    "disarmed": (102, "system.disarmed", "System disarmed"),
    "camera_lost": (0, "system.camera.lost", "Camera signal lost"),
    "camera_restored": (0, "system.camera.recovered", "Camera signal recovered"),
    "system": (0, "system.started", "System started"),
}
"""kind -> event id, translation key, text"""

SYSTEM_EVENTS = (0, 10, 102)
OF_THE_UNIT = ("armed", "disarmed", "system")


@dataclass
class Quirks:
    """What differs between devices, or may: change any of it at any time."""

    cap: int = 300
    inclusive_min_id: bool = False
    inclusive_dates: bool = True
    order: Literal["time", "id"] = "time"
    form: Literal["both", "clean", "question"] = "both"
    """which form of the log-in is understood"""
    token_life_s: float = 3599.0
    token_fault_status: int = 401
    recording_s: float = 10.0
    """how long a video is `recording`; a snapshot is ready a tenth of that later than its alarm, at most 0.5 s"""
    relay_s: float = 30.0
    hardware_inputs: frozenset[int] = frozenset({2})
    zoneless: bool = False
    """instants without a zone, in local time"""
    utc_offset: timedelta = timedelta(hours=1)
    offset_form: Callable[[timedelta], Any] | None = None
    """how `current_utc_offset` is written; None: "+01:00" """


@dataclass(slots=True)
class SimulatedAlarm:
    id: int
    machine: str
    event: int
    camera: int
    key: str
    words: str
    started: datetime
    armed: bool
    raised_at: float
    media: bool


@dataclass
class Device:
    """One unit. `clock` is monotonic seconds, `now` the wall clock in UTC."""

    machine: str = "SIM0000001"
    quirks: Quirks = field(default_factory=Quirks)
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    next_id: int = 20_001
    alarms: list[SimulatedAlarm] = field(default_factory=list)
    inputs: dict[int, bool] = field(default_factory=lambda: dict.fromkeys(INPUT_CAMERAS, True))
    relays_off_at: dict[int, float] = field(default_factory=dict)
    access: dict[str, float] = field(default_factory=dict)
    refresh: set[str] = field(default_factory=set)

    # --- happenings ----------------------------------------------------------------------------------------------

    def happen(
        self,
        kind: str = "intrusion",
        *,
        camera: int | None = None,
        armed: bool | None = None,
        started: datetime | None = None,
        event: int | None = None,
        description: str | None = None,
        media: bool | None = None,
    ) -> SimulatedAlarm:
        """An alarm; what is not given follows from the kind, from the arming and from now."""
        number, key, words = EVENTS.get(kind, (99, f"event.{kind}", kind.replace("_", " ").capitalize()))
        event = number if event is None else event
        if camera is None:
            camera = 0 if kind in OF_THE_UNIT else 1 + self.next_id % len(CAMERAS)
        alarm = SimulatedAlarm(
            id=self.next_id,
            machine=self.machine,
            event=event,
            camera=camera,
            key=description or key,
            words=description or words,
            started=(started or self.now()).replace(microsecond=0),
            armed=self.is_armed(camera) if armed is None else armed,
            raised_at=self.clock(),
            media=(camera != 0 and event not in SYSTEM_EVENTS) if media is None else media,
        )
        self.next_id += 1
        self.alarms.append(alarm)
        del self.alarms[:-ALARMS_KEPT]
        return alarm

    def reset_ids(self, first: int = 1) -> None:
        """A new disk: no alarms, and the ids begin again."""
        self.alarms.clear()
        self.next_id = first

    def replace_unit(self, machine: str, first: int = 1) -> None:
        """Another unit at the same address: other ids, and none of the tokens are known."""
        self.machine = machine
        self.reset_ids(first)
        self.forget_tokens()

    # --- lists ---------------------------------------------------------------------------------------------------

    def is_armed(self, camera: int) -> bool:
        """Camera 0 is always armed."""
        return all(self.inputs[number] for number, cameras in INPUT_CAMERAS.items() if camera in cameras)

    def select(self, query: Mapping[str, str]) -> list[SimulatedAlarm]:
        """What `GET /alarms` lists. Raises ValueError for a filter that cannot be read."""
        chosen = list(self._matching(query))
        if self.quirks.order == "time":
            chosen.sort(key=lambda alarm: (alarm.started, alarm.id), reverse=True)
        return chosen[: self.quirks.cap]

    def _matching(self, query: Mapping[str, str]) -> Iterator[SimulatedAlarm]:
        lowest = int(query.get("min_id", -1)) + (0 if self.quirks.inclusive_min_id else 1)
        since, until = self._instant(query.get("min_date")), self._instant(query.get("max_date"))
        cameras, events = _numbers(query.get("camera_id")), _numbers(query.get("event_id"))
        edge = timedelta() if self.quirks.inclusive_dates else timedelta(microseconds=1)
        for alarm in reversed(self.alarms):
            if alarm.id < lowest:
                return
            if (since and alarm.started < since + edge) or (until and alarm.started > until - edge):
                continue
            if (cameras and alarm.camera not in cameras) or (events and alarm.event not in events):
                continue
            if "cra" in query and query["cra"] != ("yes" if alarm.armed else "no"):
                continue
            if "cra" in query and (alarm.camera == 0 or alarm.event in SYSTEM_EVENTS):
                continue
            yield alarm

    def _instant(self, value: str | None) -> datetime | None:
        if value is None:
            return None
        moment = datetime.fromisoformat(value)
        return moment if moment.tzinfo else moment.replace(tzinfo=timezone(self.quirks.utc_offset))

    def find(self, number: int) -> SimulatedAlarm | None:
        return next((alarm for alarm in reversed(self.alarms) if alarm.id == number), None)

    # --- media ---------------------------------------------------------------------------------------------------

    def snapshot_status(self, alarm: SimulatedAlarm) -> str:
        return self._status(alarm, min(0.5, self.quirks.recording_s / 10))

    def video_status(self, alarm: SimulatedAlarm) -> str:
        return self._status(alarm, self.quirks.recording_s)

    def _status(self, alarm: SimulatedAlarm, takes_s: float) -> str:
        if not alarm.media:
            return "unavailable"
        return "ready" if self.clock() >= alarm.raised_at + takes_s else "recording"

    # --- inputs and relays ---------------------------------------------------------------------------------------

    def set_input(self, number: int, armed: bool) -> bool:
        """Whether the input may be set; arming and disarming is an event."""
        if number in self.quirks.hardware_inputs:
            return False
        if self.inputs[number] != armed:
            self.inputs[number] = armed
            self.happen("armed" if armed else "disarmed")
        return True

    def set_relay(self, number: int, on: bool) -> None:
        self.relays_off_at[number] = self.clock() + (self.quirks.relay_s if on else 0)

    def relay_is_on(self, number: int) -> bool:
        return self.clock() < self.relays_off_at.get(number, float("-inf"))

    # --- tokens --------------------------------------------------------------------------------------------------

    def new_tokens(self) -> tuple[str, str]:
        access, refresh = secrets.token_hex(8), secrets.token_hex(8)
        self.access[access] = self.clock() + self.quirks.token_life_s
        self.refresh.add(refresh)
        return access, refresh

    def expire_tokens(self) -> None:
        """Every access token runs out now; refresh tokens stay good."""
        self.access = dict.fromkeys(self.access, float("-inf"))

    def forget_tokens(self) -> None:
        """What a restart may do: access and refresh tokens are unknown."""
        self.access.clear()
        self.refresh.clear()

    def token_fault(self, token: str) -> str | None:
        """The errorcode for a token, None for a good one."""
        expires = self.access.get(token)
        if expires is None:
            return "keymanagement.service.invalid_access_token"
        return "keymanagement.service.access_token_expired" if self.clock() >= expires else None


def _numbers(value: str | None) -> set[int]:
    return {int(part) for part in value.split(",")} if value else set()
