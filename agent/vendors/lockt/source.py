"""Lockt SecureAccess as a source: the event numbers followed, batteries watched, doors unlocked.

    poll ─→ events since the mark ─→ new, late, gap, restarted ──────────→ alarms, mark
         └→ now and then, when there is nothing new: doors, batteries, maintenance → alarms, batteries

Events come first and alone: what is only nice to know has its own short deadline and never fails a poll, since a list
of batteries that cannot be read must not make the site look dead, or hold an alarm back.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import trio

from agent.alarms.model import Alarm, Device, Kind, Poll, Position, parse_instant
from agent.faults import Fault, FaultClass, Refused, UnknownAction, UnknownTarget
from agent.settings.sources import LocktSource as Settings
from agent.vendors.lockt import batteries, following, maintenance, translation
from agent.vendors.lockt import reference as lockt
from agent.vendors.lockt.batteries import Batteries
from agent.vendors.lockt.client import LocktClient
from agent.vendors.lockt.errors import LocktRejected
from agent.vendors.lockt.following import Finding, Mark
from agent.vendors.lockt.models import Door, Event, Unlocked
from agent.vendors.lockt.values import as_stamp

log = logging.getLogger("varde.lockt")

SIDE_TIMEOUT_S = 3.0
SLOW_ROUNDS_S = 600.0  # doors and maintenance change by the day
MAX_SIDE_PAUSE_S = 300.0
OVERDUE_S = 60.0  # a site whose doors never rest must not starve its batteries
ASK_AGAIN_S = 60.0


class LocktSource:
    """`Source`, `Probing`, `Acting` and `Listing` of one SecureAccess account."""

    actions = frozenset({"unlock"})

    def __init__(self, settings: Settings, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._settings = settings
        self._now = now
        self._client = LocktClient(
            settings.url,
            settings.api_user,
            settings.api_key,
            timeout_s=settings.timeout_s,
            ca_file=settings.ca_file,
        )
        self._zone: tzinfo | None = None
        self._doors: dict[str, str] = {}  # name, folded → id
        self._windows: list[maintenance.Window] = []
        self._states_due = self._slow_due = self._doors_due = self._why_due = float("-inf")
        self._side_failures = 0

    async def aclose(self) -> None:
        await self._client.aclose()

    async def poll(self, position: Position | None) -> Poll:
        mark = Mark.of_json((position or {}).get("event"))
        known = Batteries.of_json((position or {}).get("batteries"))
        try:
            alarms, mark, more = await self._new_events(mark, first=position is None)
        except LocktRejected:
            raise
        except Fault as fault:
            raise await self._in_maintenance(fault) from None
        if not alarms or trio.current_time() > self._states_due + OVERDUE_S:
            found, known = await self._side_round(known)
            alarms += found
        return Poll(alarms, {"event": mark.as_json(), "batteries": known.as_json()}, more)

    async def probe(self) -> str:
        await self._client.ping()
        doors = await self._client.read(lockt.DOORS)
        about = await self._client.read(lockt.ABOUT)
        version = next((record.version for record in about if record.version), "of unknown version")
        return f"Lockt SecureAccess API {version} answers for a site of {len(doors)} doors."

    async def devices(self) -> list[Device]:
        doors = await self._client.read(lockt.DOORS)
        states = batteries.percent(await self._client.read(lockt.DOOR_STATES))
        return [Device(str(door.id), "door", door.name, _state(door, states.get(door.id))) for door in doors]

    async def act(self, action: str, target: str, raw: Mapping[str, Any] | None = None) -> str:
        if action not in self.actions:
            raise UnknownAction(f"Lockt offers unlock only, not {action}.")
        if not (target.isascii() and target.isdecimal() and len(target) <= 18):
            raise UnknownTarget("A door is named by its number at Lockt.")
        try:
            outcome = await self._client.unlock(int(target))
        except LocktRejected as error:
            if not await self._has_door(int(target)):
                raise UnknownTarget(f"Lockt has no door {target}.") from None
            raise Refused(error.words) from None
        if not outcome.unlocked:
            raise Refused(_reason(outcome))
        return f"{outcome.name or 'Door ' + target} is unlocked for a moment."

    # Events

    async def _new_events(self, mark: Mark, *, first: bool) -> tuple[list[Alarm], Mark, bool]:
        """Alarms of what is new, the mark after them, and whether there is more."""
        if first:
            fresh, mark = await self._first(mark)
            notices: list[Alarm] = []
        else:
            fresh, mark, notices = await self._since(mark)
        chunk = fresh[: following.CHUNK]
        alarms = notices + await self._translated(chunk, mark.epoch)
        return alarms, mark.past(chunk), len(fresh) > len(chunk)

    async def _first(self, mark: Mark) -> tuple[list[Event], Mark]:
        """The very first poll asks for the whole cache: there is no id to ask with, and a blank one means all."""
        cache = following.in_order(await self._client.events())
        if self._settings.start_from == "now":
            return [], mark.past(cache)
        if self._settings.start_from == "beginning":
            return cache, mark
        moment = parse_instant(self._settings.start_from)
        return following.split(mark, cache, following.recorded_since(moment, cache, await self._zone_of(cache)))

    async def _since(self, mark: Mark) -> tuple[list[Event], Mark, list[Alarm]]:
        events = following.in_order(await self._client.events(mark.ask_from))
        finding = following.judge(mark, events)
        if finding in (Finding.UNCLEAR, Finding.RESTARTED):
            events = following.in_order(await self._client.events())
            finding = following.judge_whole(mark, events)
        if finding is Finding.RESTARTED:
            return await self._restarted(mark, events)
        notices = [self._gap(mark, events[0])] if finding is Finding.GAP else []
        return following.above(mark, events), mark, notices

    async def _restarted(self, mark: Mark, cache: list[Event]) -> tuple[list[Event], Mark, list[Alarm]]:
        """Anchor in the new numbering, by the one thing that the two have in common: the cloud's clock."""
        zone = await self._zone_of(cache)
        last = as_stamp(mark.at)
        fresh = following.recorded_since(last.at(zone), cache, zone) if last else cache
        log.warning("source=%s event numbers began again", self._settings.name)
        anew = mark.renumbered()
        notice = self._notice(
            f"restart-{anew.restarts}",
            f"Lockt's event numbers began again below {mark.id}: events from between may be missing.",
            anew.epoch,
        )
        return *following.split(anew, cache, fresh), [notice]

    def _gap(self, mark: Mark, oldest: Event) -> Alarm:
        log.warning("source=%s events may be missing between %d and %d", self._settings.name, mark.id, oldest.id)
        return self._notice(
            f"gap-{mark.id}-{oldest.id}",
            f"Lockt has forgotten events before they were read: between {mark.id} and {oldest.id} some may be missing.",
            mark.epoch,
        )

    def _notice(self, native_id: str, description: str, epoch: str) -> Alarm:
        return Alarm(native_id, Kind.SYSTEM, self._now(), description, epoch=epoch)

    async def _translated(self, events: Sequence[Event], epoch: str) -> list[Alarm]:
        if not events:
            return []
        await self._know_doors(events)
        zone, now = await self._zone_of(events), self._now()
        return [
            translation.to_alarm(
                event,
                kind=translation.kind_of(event, self._settings.codes),
                device=self._device(event),
                zone=zone,
                now=now,
                epoch=epoch,
            )
            for event in events
        ]

    def _device(self, event: Event) -> str:
        """What `zones` knows the door by: its name where the configuration uses names, else its id."""
        if event.device in self._settings.zones:
            return event.device
        return self._doors.get(_folded(event.device), event.device)

    async def _know_doors(self, events: Sequence[Event]) -> None:
        """Read the doors when an event names one that is not known, at most once a while."""
        unknown = any(event.device and _folded(event.device) not in self._doors for event in events)
        if not unknown or trio.current_time() < self._doors_due:
            return
        self._doors_due = trio.current_time() + ASK_AGAIN_S
        try:
            with _briefly():
                await self._read_doors()
        except Fault:
            pass  # the door's name has to do

    async def _zone_of(self, events: Sequence[Event]) -> tzinfo:
        """The zone of times in the local form; asked for once, and only where there are such times."""
        stamps = [stamp for event in events for stamp in (event.event_time, event.db_time) if stamp]
        if self._zone is None and any(stamp.is_local for stamp in stamps):
            try:
                with _briefly():
                    self._zone = await self._system_zone()
            except Fault:
                return UTC  # an alarm with a time some hours off is better than none
        return self._zone or UTC

    async def _system_zone(self) -> tzinfo:
        system = await self._client.system_time()
        if system is None:
            return UTC
        try:
            return ZoneInfo(system.timezone)
        except (ValueError, OSError, KeyError):
            hours = system.offset if system.offset is not None and abs(system.offset) <= 14 else 0.0
            return timezone(timedelta(hours=hours))

    # What is read now and then

    async def _side_round(self, known: Batteries) -> tuple[list[Alarm], Batteries]:
        """Batteries, doors and maintenance, when they are due. Never fails; says once that it cannot."""
        now = trio.current_time()
        if now < self._states_due:
            return [], known
        self._states_due = now + self._settings.state_interval_s
        found: tuple[list[Alarm], Batteries] = ([], known)
        try:
            with _briefly():
                found = await self._battery_round(known)
                await self._slow_round()
        except Fault as fault:
            self._side_failed(fault)
            return found
        if self._side_failures:
            log.info("source=%s batteries and doors can be read again", self._settings.name)
        self._side_failures = 0
        return found

    async def _battery_round(self, known: Batteries) -> tuple[list[Alarm], Batteries]:
        if not self._settings.low_battery:
            return [], known
        states = await self._client.read(lockt.DOOR_STATES)
        return batteries.observe(states, self._settings.low_battery, known, self._now())

    async def _slow_round(self) -> None:
        if trio.current_time() < self._slow_due:
            return
        self._slow_due = trio.current_time() + SLOW_ROUNDS_S
        await self._read_doors()
        await self._read_maintenance()

    async def _read_maintenance(self) -> None:
        known = self._windows
        self._windows = maintenance.windows(await self._client.read(lockt.MAINTENANCE), self._zone or UTC)
        for window in (each for each in self._windows if each not in known):
            log.info("source=%s maintenance announced until %s", self._settings.name, window.ends.isoformat())

    def _side_failed(self, fault: Fault) -> None:
        if not self._side_failures:
            log.warning("source=%s batteries or doors cannot be read: %s", self._settings.name, fault)
        self._side_failures += 1
        wait_s = min(self._settings.state_interval_s * 2 ** min(self._side_failures, 8), MAX_SIDE_PAUSE_S)
        self._states_due = trio.current_time() + max(wait_s, fault.retry_after_s or 0.0)

    async def _read_doors(self) -> None:
        doors = await self._client.read(lockt.DOORS)
        names = [_folded(door.name) for door in doors]
        # A name that two doors share says which of them no longer, so it stays a name.
        self._doors = {name: str(door.id) for name, door in zip(names, doors, strict=True) if names.count(name) == 1}

    async def _has_door(self, door: int) -> bool:
        try:
            return any(each.id == door for each in await self._client.read(lockt.DOORS))
        except Fault:
            return True  # then it is for the vendor's words to say

    async def _in_maintenance(self, fault: Fault) -> Fault:
        """The same fault, with the announced maintenance as its reason where there is one."""
        if fault.fault_class not in (FaultClass.REFUSED, FaultClass.PROTOCOL, FaultClass.UNREACHABLE):
            return fault
        now = self._now()
        if not any(window.holds(now) for window in self._windows):
            await self._ask_why()
        window = next((each for each in self._windows if each.holds(now)), None)
        if window is None:
            return fault
        return Fault(
            fault.fault_class,
            f"{fault.message} Lockt announced maintenance until {window.ends:%Y-%m-%d %H:%M} UTC.",
            hint=fault.hint,
            retry_after_s=max(fault.retry_after_s or 0.0, window.pause_s(now)),
        )

    async def _ask_why(self) -> None:
        """Read the announcements after a failure, in case they are newer than what is known."""
        if trio.current_time() < self._why_due:
            return
        self._why_due = trio.current_time() + ASK_AGAIN_S
        try:
            with _briefly():
                await self._read_maintenance()
        except Fault:
            pass  # the failure speaks for itself


@contextmanager
def _briefly() -> Iterator[None]:
    """The short deadline of what must not hold a poll up; too slow is a `Fault` like the others."""
    try:
        with trio.fail_after(SIDE_TIMEOUT_S):
            yield
    except trio.TooSlowError:
        raise Fault(FaultClass.SLOW, f"Lockt gives no whole answer within {SIDE_TIMEOUT_S:g} s.") from None


def _folded(name: str) -> str:
    return " ".join(name.split()).casefold()


def _state(door: Door, level: float | None) -> str:
    parts = ["" if door.enabled else "disabled", "" if level is None else f"battery {level:g} %"]
    return ", ".join(part for part in parts if part)


def _reason(outcome: Unlocked) -> str:
    return " ".join(error for error in outcome.errors if error) or f"Lockt says: {outcome.status or 'not unlocked'}."
