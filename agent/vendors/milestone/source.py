"""XProtect as a source: new alarms by sweeping what was updated lately, or everything, and ids to tell new from known.

    poll ─▶ filters probed? ─▶ sweep(lastUpdatedTime > watermark - overlap)      the server honours filters
                            └▶ sweep(everything, newest first: until all is known)  it ignores them
                                 │ complete
                                 └▶ watermark = newest lastUpdatedTime seen

Facts. No cursor; filters of the Alarms API are undocumented and may be ignored or refused; offset pages shift. See
`sweep.py` for pages and `place.py` for what counts as new. Decisions. Whether filters work is tried once, with an
instant to come (nothing may be found) and with one just before a known row's (that row must be found), and said in
the log. The watermark moves after a complete sweep only. A long sweep continues in the next poll, so that a backlog
does not look like a silent server; alarms wait for its end, so that they come oldest first, unless it fails or finds
very many. A poll that the journal did not take starts it again. Every few minutes a sweep looks further back than
the overlap.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import trio

from agent.alarms.model import Alarm, Device, Poll, Position, parse_instant
from agent.faults import Fault, FaultClass, Refused, UnknownAction, UnknownTarget
from agent.settings.sources import MilestoneSource as MilestoneSettings
from agent.vendors.milestone import records
from agent.vendors.milestone.client import MilestoneClient, MilestoneFault, gt
from agent.vendors.milestone.kinds import kind_of
from agent.vendors.milestone.place import Past, Place
from agent.vendors.milestone.records import AlarmRecord, Level
from agent.vendors.milestone.sweep import Paging, Sweep

log = logging.getLogger("varde.milestone")

POLL_BUDGET_S = 2.0
ALARMS_A_POLL = 500
HELD_AT_MOST = 5000
"""Alarms kept for their order until a sweep is complete; more are handed out as they come."""
NAMES_BUDGET_S = 1.0
OVERLAP = timedelta(seconds=30)
WIDE_OVERLAP = timedelta(hours=1)
WIDE_EVERY_S = 300.0
CLOCK_SLACK = timedelta(minutes=2)
"""How far apart the clocks of XProtect's servers may be before one of them is called wrong."""
FAR_FUTURE = datetime(2999, 1, 1, tzinfo=UTC)
REREADS = 6
REREAD_EVERY_S = 0.5

ACTIONS = {"acknowledge": records.IN_PROGRESS, "close": records.CLOSED}


class MilestoneSource:
    """Implements Source, Probing, Acting and Listing."""

    actions = frozenset(ACTIONS)

    def __init__(self, settings: MilestoneSettings) -> None:
        self._settings = settings
        self._client = MilestoneClient(
            settings.url,
            settings.username,
            settings.password,
            grant=settings.grant,
            idp_url=settings.idp_url,
            timeout_s=settings.timeout_s,
            ca_file=settings.ca_file,
        )
        self._paging = Paging(settings.page_size)
        self._filters: bool | None = None
        self._sweep: Sweep | None = None
        self._past = Past()
        self._given: Position | None = None
        self._wide_due = -float("inf")
        self._cameras: dict[str, str] = {}
        self._cameras_due = -float("inf")
        self._states: list[Level] = []

    async def aclose(self) -> None:
        await self._client.aclose()

    # What is new

    async def poll(self, position: Position | None) -> Poll:
        given, self._given = self._given, None  # a poll that is broken off in whatever way is not continued
        if position is None or position != given:
            self._sweep = None  # the journal is not where the last poll left it
        if self._filters is None:
            self._filters = await self._honours_filters()
        place = Place.of(position) if position is not None else Place(self._start())
        try:
            await self._read(place)
        except Fault:
            if self._sweep is None or not self._sweep.found:
                raise
            # What was found before the fault is not held back by it; the next poll meets the fault again.
            broken, self._sweep = self._sweep, None
            return await self._hand_out(place, broken, more=True)
        sweep = self._sweep
        assert sweep is not None
        if not sweep.complete and len(sweep.found) < HELD_AT_MOST:
            self._given = place.position()
            return Poll((), self._given, more=True)
        return await self._hand_out(place, sweep)

    async def _hand_out(self, place: Place, sweep: Sweep, more: bool = False) -> Poll:
        """The oldest alarms that a sweep has found, and its end once all of a complete one are out."""
        records = sorted(sweep.found.values(), key=_age)[:ALARMS_A_POLL]
        alarms = await self._alarms(records)
        for record in records:
            place.remember(record)
            sweep.hand_out(record)
        if sweep.complete and not sweep.found:
            self._sweep = None
            self._complete(place, sweep)
        self._given = place.position()
        return Poll(alarms, self._given, more or self._sweep is not None)

    def _start(self) -> datetime | None:
        """Before which alarms are history. "now" is the server's: the end of the second it answers in."""
        start = self._settings.start_from
        if start == "beginning":
            return None
        if start != "now":
            return parse_instant(start)
        return (self._client.server_time or datetime.now(UTC)).replace(microsecond=0) + timedelta(seconds=1)

    async def _read(self, place: Place) -> None:
        """Sweep on, until complete or until this poll has done enough."""
        deadline = trio.current_time() + POLL_BUDGET_S
        if self._sweep is None:
            self._sweep = self._new_sweep(place)
        sweep = self._sweep
        while not sweep.complete and len(sweep.found) < HELD_AT_MOST:
            asked = self._paging.size
            filters = {"lastUpdatedTime": gt(sweep.bound)} if sweep.filtered and sweep.bound else {}
            rows = await self._client.alarms(sweep.page, asked, filters)
            sweep.take(rows, self._find(place, sweep, rows), asked)
            if trio.current_time() > deadline:
                return

    def _new_sweep(self, place: Place) -> Sweep:
        wide = trio.current_time() >= self._wide_due
        if place.baseline or place.watermark is None:
            self._past = Past()
            return Sweep(self._paging, None, filtered=False, stop_before=None)
        bound = place.watermark - (WIDE_OVERLAP if wide else OVERLAP)
        if wide:
            self._wide_due = trio.current_time() + WIDE_EVERY_S
        server_time = self._client.server_time
        if server_time and place.watermark > server_time + CLOCK_SLACK:
            # The clock went back: what is raised now lies before the watermark. Look at everything once.
            log.warning("source=%s the server's clock went back; reading all its alarms", self._settings.name)
            place.watermark = server_time
            return Sweep(self._paging, None, filtered=False, stop_before=None)
        if self._filters:
            return Sweep(self._paging, bound, filtered=True, stop_before=None)
        early = self._paging.newest_first and not wide
        return Sweep(self._paging, bound, filtered=False, stop_before=bound if early else None)

    def _find(self, place: Place, sweep: Sweep, rows: Sequence[AlarmRecord]) -> int:
        """Note a page's new alarms, or in a baseline its history; how many were not known before."""
        server_time = self._client.server_time or datetime.now(UTC)
        if sweep.page == 0 and not sweep.page_0_again:
            sweep.began = server_time
        before = sweep.count + self._past.count
        for row in rows:
            sweep.note(row.updated or row.time, server_time + CLOCK_SLACK)
            if sweep.filtered and sweep.bound and row.updated and row.updated < sweep.bound - OVERLAP:
                self._filters = None  # it did honour them once; find out anew with the next poll
            if place.counts(row, self._past):
                sweep.add(row)
        return sweep.count + self._past.count - before

    def _complete(self, place: Place, sweep: Sweep) -> None:
        """The watermark stays behind the last pass's beginning: what came in meanwhile may lie on a page before."""
        if sweep.newest and sweep.began:
            newest = min(sweep.newest, sweep.began + timedelta(seconds=1))  # its clock is told to the second
            place.watermark = max(newest, place.watermark or newest)
        if place.baseline:
            place.end_baseline(self._past)
            log.info("source=%s %d alarms were there before", self._settings.name, len(place.history))

    async def _honours_filters(self) -> bool | None:
        """Whether `lastUpdatedTime` filters; None while there is no alarm to try it on."""
        rows = await self._client.alarms(0, 1)
        known = next((row.updated for row in rows if row.updated), None)
        if not rows:
            return None
        honoured = False
        if known is not None:
            try:
                honoured = not await self._client.alarms(0, 1, {"lastUpdatedTime": gt(FAR_FUTURE)}) and bool(
                    await self._client.alarms(0, 1, {"lastUpdatedTime": gt(known - timedelta(seconds=1))})
                )
            except MilestoneFault as fault:
                if fault.fault_class is not FaultClass.REJECTED:
                    raise
        log.info("source=%s mode=%s", self._settings.name, "filter" if honoured else "full sweeps")
        return honoured

    # From a record to an alarm

    async def _alarms(self, fresh: list[AlarmRecord]) -> list[Alarm]:
        if any(row.camera and row.camera not in self._cameras for row in fresh):
            await self._learn_cameras()
        return [self._alarm(row) for row in fresh]

    def _alarm(self, row: AlarmRecord) -> Alarm:
        texts = dict.fromkeys(filter(None, (row.name, row.message, row.description, row.location)))
        return Alarm(
            native_id=row.id,
            kind=kind_of(row),
            occurred_at=row.time or row.updated or datetime.now(UTC),
            description=": ".join(texts) or "Alarm",
            device=row.camera,
            device_name=self._cameras.get(row.camera, ""),
            raw=row.raw,
        )

    async def _learn_cameras(self) -> None:
        """Names for what people read. An alarm never waits for them long."""
        if trio.current_time() < self._cameras_due:
            return
        self._cameras_due = trio.current_time() + self._settings.state_interval_s
        with trio.move_on_after(NAMES_BUDGET_S):
            try:
                self._cameras = {camera.id: camera.name for camera in await self._client.cameras()}
            except Fault as fault:
                log.debug("source=%s cameras cannot be listed: %s", self._settings.name, fault)

    # Probing, acting, listing

    async def probe(self) -> str:
        await self._client.login()
        await self._client.alarms(0, 1)
        honoured = await self._honours_filters()
        cameras = len(await self._client.cameras())
        mode = {True: "it filters", False: "it does not filter, so all alarms are swept", None: "no alarm yet"}[
            honoured
        ]
        return f"Logged in to XProtect {await self._version()}; {cameras} cameras; alarms can be read ({mode})."

    async def _version(self) -> str:
        try:
            return str((await self._client.uris()).get("ProductVersion") or "")[:40]
        except Fault:
            return ""

    async def act(self, action: str, target: str, raw: Mapping[str, Any] | None = None) -> str:
        if action not in ACTIONS:
            raise UnknownAction(f"XProtect does not offer {action}.")
        wanted = ACTIONS[action]
        before = await self._existing(target)
        try:
            if (done := _done_before(before, wanted)) is not None:
                return done
            await self._change(target, wanted)
            after = await self._reread(target, wanted)
        except MilestoneFault as fault:
            if fault.fault_class is FaultClass.REJECTED or fault.status == 403:
                raise Refused(fault.said or fault.message) from None
            raise
        if _level(after) != wanted:
            raise Refused("XProtect accepted the change and still shows the alarm in its old state")
        return f"The alarm is {'closed' if action == 'close' else 'acknowledged'} in XProtect."

    async def _existing(self, target: str) -> AlarmRecord:
        try:
            return await self._client.alarm(target)
        except MilestoneFault as fault:
            if fault.status in (400, 404):  # 400: what is no id at all
                raise UnknownTarget(f"XProtect has no alarm {target[:60]}.") from None
            raise

    async def _change(self, target: str, wanted: int) -> None:
        state = await self._state_id(wanted)
        try:
            await self._client.update(target, state=state)
        except MilestoneFault as fault:
            self._states = []  # states can be replaced while we run
            if fault.status != 400 or (anew := await self._state_id(wanted)) == state:
                raise
            await self._client.update(target, state=anew)

    async def _reread(self, target: str, wanted: int) -> AlarmRecord:
        """202 means accepted: the alarm as it is once the change shows, or after the last look."""
        for _ in range(REREADS):
            after = await self._client.alarm(target)
            if _level(after) == wanted:
                break
            await trio.sleep(REREAD_EVERY_S)
        return after

    async def _state_id(self, wanted: int) -> str:
        """The id of a state by its level: names are localised. Read anew where it is not known."""
        for fetch in (False, True):
            if fetch:
                self._states = await self._client.states()
            for state in self._states:
                if state.level == wanted and state.id:
                    return state.id
        raise Refused(f"XProtect has no alarm state of level {wanted} any more")

    async def devices(self) -> list[Device]:
        words = {True: "enabled", False: "disabled", None: ""}
        return [
            Device(camera.id, "camera", camera.name, words[camera.enabled]) for camera in await self._client.cameras()
        ]


def _age(record: AlarmRecord) -> tuple[datetime, int]:
    return record.time or record.updated or FAR_FUTURE, record.local_id or 0


def _level(record: AlarmRecord) -> int | None:
    return record.state.level if record.state else None


def _done_before(before: AlarmRecord, wanted: int) -> str | None:
    """What to say where nothing is to do; raises `Refused` where the change would undo somebody's work."""
    level = _level(before)
    if level == records.CLOSED:
        if wanted == records.CLOSED:
            return "The alarm was closed already."
        raise Refused("the alarm is closed already; to acknowledge it would open it again")
    if wanted == records.IN_PROGRESS and level in (records.IN_PROGRESS, records.ON_HOLD):
        return "The alarm was acknowledged already."
    return None
