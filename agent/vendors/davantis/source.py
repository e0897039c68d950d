"""A DAVANTIS device as a source of alarms: what is new since the mark.

    poll ─▶ time to check? ── the newest ids without a filter ──▶ numbering restarted, or another unit
      │                                                              └▶ supervision alarm, new mark, new epoch
      ▼
    GET /alarms?min_id=mark ──204──▶ nothing new (the usual case: one request)
      │ rows
      ▼
    ask until complete ─▶ GET /alarms?cra=yes&min_id=mark (which of them count as armed) ─▶ alarms, oldest first

Facts (manual; traps). `cra=yes` hides the system's own events; nothing in a row says armed or not; `min_id` may or may
not include its own id; ids may restart with a new disk, and then `min_id` answers 204 for ever.

Decisions. One question without `cra` covers both streams while nothing happens, which is nearly always, and one mark
serves both, so that no alarm can come twice; `cra=yes` is asked only once there are rows whose arming matters. The
mark moves over complete walks only. A walk longer than `POLL_BUDGET_S` continues in the next poll, so that a backlog
does not look like a silent device; a crash starts it again. Ids are compared, never counted on to be the first row's.
"""

import bisect
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import trio

from agent.alarms.model import Alarm, Device, Kind, Media, MediaStream, Poll, Position, parse_instant
from agent.faults import Fault, UnknownAction, UnknownTarget
from agent.settings import sources as settings_of
from agent.vendors.davantis.client import DavantisClient, NotReady
from agent.vendors.davantis.facts import SiteFacts
from agent.vendors.davantis.place import Place
from agent.vendors.davantis.reading import DETECTIONS, alarm_of, is_system
from agent.vendors.davantis.records import AlarmFilter, AlarmRecord, Installation, Switch
from agent.vendors.davantis.walk import SECOND, Walk

log = logging.getLogger("varde.davantis")

POLL_BUDGET_S = 2.0
ALARMS_A_POLL = 500
RECENT_KEPT = 2000
FAR_FUTURE = timedelta(days=1)
NEVER = float("-inf")


@dataclass(slots=True)
class _Catch:
    """The rows above a place's mark while they are fetched, and until the last of them is handed out."""

    place: Place
    every: Walk
    armed: Walk | None = None
    ids: list[int] | None = None  # in order, once both walks are complete


class DavantisSource:
    """Source, Probing, Acting, Listing and Filming. `clock` is monotonic seconds, `now` the wall clock."""

    actions = frozenset({"arm", "disarm", "relay_on", "relay_off"})

    def __init__(
        self,
        settings: settings_of.DavantisSource,
        *,
        clock: Callable[[], float] = trio.current_time,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings = settings
        self.client = DavantisClient(
            settings.url,
            settings.username,
            settings.password,
            timeout_s=settings.timeout_s,
            ca_file=settings.ca_file,
        )
        self._clock = clock
        self._now = now
        self._facts = SiteFacts(
            self.client,
            settings.name,
            interval_s=settings.state_interval_s,
            timeout_s=max(0.25, min(2.0, settings.lost_after_s / 4)),  # both together stay below what counts as silence
            clock=clock,
        )
        self._check_at = NEVER
        self._place: Place | None = None  # where the last poll began
        self._catch: _Catch | None = None
        self._recent: OrderedDict[int, datetime | None] = OrderedDict()

    async def aclose(self) -> None:
        await self.client.aclose()

    # --- what is new ---------------------------------------------------------------------------------------------

    async def poll(self, position: Position | None) -> Poll:
        try:
            return await (self._first() if position is None else self._next(position, Place.of(position)))
        except Fault:
            self._check_at = NEVER  # a device that was away may come back as another one
            raise

    async def _first(self) -> Poll:
        start = self.settings.start_from
        rows = await self.client.alarms()
        await self._facts.read()
        if start == "now":
            place = self._after(Place(), rows)
        elif start == "beginning" or not rows:
            place = Place()
        else:
            place = Place(since=parse_instant(start))
        self._check_at = self._clock() + self.settings.state_interval_s
        return Poll((), place.position(), more=start != "now" and bool(rows))

    async def _next(self, position: Position, place: Place) -> Poll:
        self._place = place
        # Half of what counts as silence, so that a long walk is never taken for a lost device.
        deadline = self._clock() + min(POLL_BUDGET_S, self.settings.lost_after_s / 2)
        if self._clock() >= self._check_at and (restart := await self._check(place)):
            return restart
        if self._facts.never_read:
            await self._facts.read()
        catch = self._catch_from(place)
        while question := self._question(catch):
            walk, wanted = question
            walk.take(await self.client.alarms(wanted))
            if self._clock() > deadline and self._question(catch):
                return Poll((), position, more=True)
        return await self._hand_out(position, place, catch)

    def _catch_from(self, place: Place) -> _Catch:
        """The catch that this place belongs to, or a new one: the journal may not have taken the last poll."""
        catch = self._catch
        if catch is None or place.generation != catch.place.generation or not self._continues(place, catch):
            catch = self._catch = _Catch(place, self._walk(place, armed=None))
        return catch

    def _continues(self, place: Place, catch: _Catch) -> bool:
        if place.mark == catch.place.mark:
            return True
        return catch.ids is not None and catch.place.mark < place.mark < catch.ids[-1]

    def _walk(self, place: Place, armed: bool | None) -> Walk:
        by_id = place.mark >= 0
        wanted = AlarmFilter(armed=armed, min_id=place.mark if by_id else None, min_date=None if by_id else place.since)
        return Walk(wanted, place.mark, utc=self._facts.utc, cameras=self._facts.camera_names)

    def _question(self, catch: _Catch) -> tuple[Walk, AlarmFilter] | None:
        """What is still to be asked, and which walk wants to know."""
        if wanted := catch.every.next:
            return catch.every, wanted
        matters = any(row.event in DETECTIONS or not self.settings.system_events for row in catch.every.rows.values())
        if catch.armed is None and matters:
            catch.armed = self._walk(catch.place, armed=True)
        if catch.armed and (wanted := catch.armed.next):
            return catch.armed, wanted
        return None

    async def _hand_out(self, position: Position, place: Place, catch: _Catch) -> Poll:
        """The next alarms of a complete catch, oldest first."""
        rows = catch.every.rows
        if not rows:
            self._catch = None
            return await self._nothing_new(position, place)
        unknown = {row.machine for row in rows.values()} - {"", *place.machines}
        if unknown and place.machines and (restart := await self._check(place)):
            return restart
        if catch.ids is None:
            catch.ids = sorted(rows)
        begin = bisect.bisect_right(catch.ids, place.mark)
        ids = catch.ids[begin : begin + ALARMS_A_POLL]
        chunk = [rows[number] for number in ids]
        alarms = [self._alarm(place, row, catch.armed) for row in chunk if self._counts(row, catch)]
        if begin == 0:
            alarms += self._gap_alarms(place, catch)
        more = begin + len(ids) < len(catch.ids)
        if not more:
            self._catch = None
        return Poll(alarms, self._after(place, chunk).position(), more)

    async def _nothing_new(self, position: Position, place: Place) -> Poll:
        """Time for what can wait. Where only a date is known so far, the ids of before that date make the mark."""
        since = place.since
        if place.mark < 0 and since is not None:
            rows = await self.client.alarms()
            if rows and all(row.started and self._facts.utc(row.started) < since for row in rows):
                return Poll((), self._after(place, rows).position())
        elif self._facts.due:
            await self._facts.read()
        return Poll((), position)

    def _counts(self, row: AlarmRecord, catch: _Catch) -> bool:
        since = catch.place.since if catch.place.mark < 0 else None
        if since and row.started and self._facts.utc(row.started) < since:
            return False
        if not self.settings.armed_only or (is_system(row) and self.settings.system_events):
            return True
        armed = _armed(row, catch.armed)
        return armed is True or (armed is None and not is_system(row))

    def _alarm(self, place: Place, row: AlarmRecord, armed: Walk | None) -> Alarm:
        self._recent[row.id] = row.started
        if len(self._recent) > RECENT_KEPT:
            self._recent.popitem(last=False)
        return alarm_of(
            row,
            epoch=place.epoch(row.machine),
            occurred_at=self._facts.utc(row.started) if row.started else self._now(),
            armed=_armed(row, armed),
            camera_name=self._facts.camera_names.get(row.camera, ""),
        )

    def _after(self, place: Place, rows: Iterable[AlarmRecord]) -> Place:
        """The place once `rows` are journalled."""
        rows = sorted(rows, key=lambda row: row.id)
        if not rows:
            return place
        place = replace(place.with_machines(row.machine for row in rows), mark=rows[-1].id, since=None)
        instants = {row.id: self._instant(row) for row in rows}
        newest = max((moment for moment in instants.values() if moment), default=None)
        if newest is None:
            return place
        return place.seen_until(newest, [number for number, moment in instants.items() if moment == newest])

    def _instant(self, row: AlarmRecord) -> datetime | None:
        """When a row began, in UTC and in the milliseconds that a position keeps."""
        if row.started is None:
            return None
        moment = self._facts.utc(row.started)
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    # --- supervision of the numbering ----------------------------------------------------------------------------

    async def _check(self, place: Place) -> Poll | None:
        """Ask without a filter: a poll that starts a new numbering, where the device has one."""
        rows = await self.client.alarms()
        self._check_at = self._clock() + self.settings.state_interval_s
        if not rows or (place.mark < 0 and not place.machines):
            return None
        machines = {row.machine for row in rows} - {""}
        replaced = bool(machines and place.machines) and machines.isdisjoint(place.machines)
        restarted = max(row.id for row in rows) < place.mark or any(self._is_reused(row, place) for row in rows)
        if not replaced and not restarted:
            return None
        return self._restarted(place, rows, replaced)

    def _is_reused(self, row: AlarmRecord, place: Place) -> bool:
        """Whether an id at or below the mark stands on a row later than all that were seen. An instant without a zone
        proves nothing: it moves when the clocks change.
        """
        if row.id > place.mark or row.started is None or row.started.tzinfo is None or place.newest is None:
            return False
        return place.newest < self._facts.utc(row.started)

    def _restarted(self, place: Place, rows: list[AlarmRecord], replaced: bool) -> Poll:
        """Anchor anew by date: rows of before the last known instant are history, the others are alarms."""
        if place.newest and place.newest > self._now() + FAR_FUTURE:
            place = replace(place, newest=None)  # a clock that once ran ahead: no anchor, so everything counts
        history = [row.id for row in rows if (moment := self._instant(row)) and place.knows(row.id, moment)]
        new = replace(
            Place(newest=place.newest) if replaced else place.with_machines(row.machine for row in rows),
            mark=max(history, default=-1),
            since=place.newest,
            generation=place.generation + 1,
        )
        if replaced:
            new = new.with_machines(row.machine for row in sorted(rows, key=lambda row: row.id))
        self._catch = None
        self._recent.clear()
        what = "Another unit answers" if replaced else "The device counts its alarms anew"
        log.warning("source=%s %s, generation=%d", self.settings.name, what.lower(), new.generation)
        alarm = self._own_alarm(
            new,
            f"restart-{new.generation}",
            f"{what}: alarms since the last one reported are fetched by date; some may be missing.",
        )
        return Poll([alarm], new.position(), more=True)

    def _gap_alarms(self, place: Place, catch: _Catch) -> list[Alarm]:
        seconds = sorted({self._facts.utc(gap) for gap in catch.every.gaps})[:1]
        return [
            self._own_alarm(
                place,
                f"gap-{place.mark}-{max(catch.every.rows)}",
                f"The device holds more alarms around {moment:%Y-%m-%d %H:%M:%S} UTC than it lists; some are missing.",
            )
            for moment in seconds
        ]

    def _own_alarm(self, place: Place, native_id: str, description: str) -> Alarm:
        return Alarm(
            native_id=native_id,
            kind=Kind.SYSTEM,
            occurred_at=self._now(),
            description=description,
            epoch=place.epoch(""),
        )

    # --- evidence ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def media(self, native_id: str, media: Media, epoch: str) -> AsyncIterator[MediaStream | None]:
        if not native_id.isdecimal():
            raise LookupError("an alarm of our own has no pictures")
        if self._place is not None and not self._place.is_present(epoch):
            # The number belongs to the device that stood here before; asked now it would give a stranger's picture.
            raise LookupError("the device's numbers have begun again since")
        fetch = self.client.snapshot if media is Media.SNAPSHOT else self.client.video
        ready = False
        try:
            async with fetch(native_id) as stream:
                ready = True
                yield stream
        except NotReady:
            if ready:
                raise
        if not ready:
            await self._expect(int(native_id), media)
            yield None

    async def _expect(self, number: int, media: Media) -> None:
        """Raise LookupError where the file will never come. 404 says so of neither; the alarm's row does."""
        started = self._recent.get(number)
        wanted = AlarmFilter(min_id=max(0, number - 1), max_date=started + 2 * SECOND if started else None)
        page = await self.client.alarms(wanted)
        row = next((row for row in page if row.id == number), None)
        if row is None:
            if started is None and len(page) > 1:
                return  # the row may lie beyond the page
            raise LookupError("the device does not know the alarm any more")
        status = row.snapshot_status if media is Media.SNAPSHOT else row.video_status
        if status == "unavailable" or not status:
            raise LookupError("the device has none")

    @asynccontextmanager
    async def live(self, camera: str) -> AsyncIterator[MediaStream]:
        try:
            async with self.client.live(camera) as stream:
                yield stream
        except NotReady:
            raise LookupError(f"the device has no camera {camera}") from None

    # --- set-up and actions --------------------------------------------------------------------------------------

    async def probe(self) -> str:
        site = await self.client.installation()
        cameras = await self.client.cameras()
        names = ", ".join(camera.alias or camera.id for camera in cameras[:8]) + (" …" if len(cameras) > 8 else "")
        newest = max(await self.client.alarms(), key=lambda row: row.id, default=None)
        unit = f", unit {newest.machine}" if newest and newest.machine else ""
        return f"DAVANTIS device{unit} with {len(cameras)} cameras ({names}); {_clock(site)}."

    async def devices(self) -> list[Device]:
        cameras = [Device(camera.id, "camera", camera.alias) for camera in await self.client.cameras()]
        inputs = [
            Device(item.id, "input", item.alias, _state(item, "armed", "disarmed"))
            for item in await self.client.inputs()
        ]
        relays = [
            Device(item.id, "relay", item.alias, _state(item, "on", "off")) for item in await self.client.relays()
        ]
        return [*cameras, *inputs, *relays]

    async def act(self, action: str, target: str, raw: Mapping[str, Any] | None = None) -> str:
        if action not in self.actions:
            raise UnknownAction(f"a DAVANTIS device offers {', '.join(sorted(self.actions))}")
        relay = action.startswith("relay")
        known = await (self.client.relays() if relay else self.client.inputs())
        item = next((item for item in known if item.id == target), None)
        if item is None:
            word = "relay" if relay else "input"
            raise UnknownTarget(f"the device has no {word} {target}; it has {', '.join(i.id for i in known) or 'none'}")
        if relay:
            await self.client.set_relay(item.id, action == "relay_on")
            return f"Relay {item.id} ({item.alias or 'no name'}) is switched {'on' if action == 'relay_on' else 'off'}."
        await self.client.set_input(item.id, action == "arm")
        return f"Input {item.id} is {action}ed."


def _state(item: Switch, on: str, off: str) -> str:
    return "" if item.status is None else on if item.status else off


def _armed(row: AlarmRecord, armed: Walk | None) -> bool | None:
    """Whether the row was listed with `cra=yes`. None for the system's own events, which that filter may hide, and
    where not every armed row could be listed.
    """
    if armed is None:
        return None
    if row.id in armed.rows:
        return True
    return None if armed.gaps or is_system(row) else False


def _clock(site: Installation) -> str:
    """The device's offset in words for people."""
    if site.utc_offset is None:
        return "it does not say what time zone its clock is in"
    minutes = int(site.utc_offset.total_seconds() // 60)
    return f"its clock is UTC{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
