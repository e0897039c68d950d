"""The service of the batches: when one runs, one at a time, and what is known of the last one and of the share.

schedule ─────┐
run_once ─────┼─ one at a time ─→ shipment.py ─→ share, store
results ──────┘                      every results_interval_s the results are read between batches
"""

import logging
import sqlite3
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import trio

from agent.alarms.model import instant
from agent.faults import Fault, FaultClass
from agent.metrics import Metrics
from agent.patriot import client_state, ledger
from agent.patriot.batch_views import list_batches
from agent.patriot.schedule import Schedule
from agent.patriot.share import open_share
from agent.patriot.share.base import Share
from agent.patriot.share.health import LOGIN_WINDOW_S, ShareHealth
from agent.patriot.shipment import Shipment
from agent.settings import Settings
from agent.store import Store

log = logging.getLogger("varde.xml_combine")

COUNT_INTERVAL_S = 2.0


@dataclass(frozen=True, slots=True)
class Batch:
    """One run. `outcome` is "ok" or a fault class; `id` is None where nothing was sent or tried."""

    id: int | None
    who: str
    started_at: str
    finished_at: str
    outcome: str
    clients: int = 0
    carried: int = 0
    detail: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Batches:
    """`share` None: none is configured, and nothing runs. Constructor without I/O."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        share: Share | None,
        metrics: Metrics,
        *,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._store = store
        self._share = share
        self._exchange: Settings | None = None
        self._metrics = metrics
        self._now = now
        self._lock = trio.Lock()
        self._publishing = trio.Lock()
        self._wake = trio.Event()
        self._recovered = False
        self._box_fails = False  # the last look failed on this box's own disk
        self._last: Batch | None = None
        combine = settings.combine
        self._schedule = Schedule(now, settings.site.zone, combine.minute, combine.every_s)
        self._use(settings, share)

    def _use(self, settings: Settings, share: Share | None) -> None:
        store, now, combine, paths, zone = self._store, self._now, settings.combine, settings.paths, settings.site.zone
        self._settings = settings
        self._share = share
        if share is not None and settings.share is not None:
            self._health = ShareHealth(settings.share.kind, share.place, now, self._share_heard)
            self._shipment = Shipment(store, share, settings.share, combine, paths.clients, paths.ready, zone, now)

    async def run(self) -> None:
        """Batches by the schedule, results in between, clients counted. For ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_time)
            nursery.start_soon(self._keep_looking)
            nursery.start_soon(self._keep_counting)

    async def run_once(self, who: str) -> Batch:
        """A batch now, after the one that is running. Never raises for a fault of the share: see `outcome`."""
        if self._share is None:
            raise Fault(FaultClass.REJECTED, "No share is configured.", hint="Add [share] to agent.toml.")
        async with self._lock:
            self._use_exchanged()
            self._last = await self._batch(who)
        self._metrics.batches.labels(self._last.outcome).inc()
        self._metrics.batch_clients.set(self._last.clients)
        return self._last

    def exchange(self, settings: Settings) -> None:
        """Another share in place of the one there is, or the same with another password: from the next look at it on.

        What is under way is not cut off, and nobody waits for a share that hangs. Call `retry_now` to have it soon.
        """
        self._exchange = settings

    def _use_exchanged(self) -> None:
        """The caller holds the lock, and every connection is closed between two who hold it."""
        if self._exchange is not None and self._exchange.share is not None:
            self._use(self._exchange, open_share(self._exchange.share))
            self._recovered = False
        self._exchange = None

    def retry_now(self) -> None:
        """After SIGHUP: ask the share again at once, a refused log-in too."""
        if self._share is not None:
            self._health.retry_now()
            self._wake.set()

    async def publish_again(self) -> None:
        """After a client was erased: it is not to stand in `client_state.json` until the next batch."""
        if self._settings.paths.client_state.exists():
            await self._publish()

    async def last(self) -> dict[str, Any] | None:
        """The last batch that was sent or tried, of an earlier life of the daemon too."""
        if self._last is not None and self._last.id is not None:
            return self._last.as_json()
        batches = await self._store.read(lambda connection: list_batches(connection, limit=1, newest_first=True))
        return batches[0] if batches else None

    def next_at(self) -> datetime | None:
        """When the next batch is due by the wall clock; None without a share."""
        return None if self._share is None else self._schedule.next_at

    def share_status(self) -> dict[str, Any] | None:
        """`{"kind", "place", "state": "starting"|"up"|"down", "since", "error", "unusable_files"}`."""
        if self._share is None:
            return None
        return {**self._health.status(), "unusable_files": self.unusable_files()}

    def unusable_files(self) -> list[dict[str, str]]:
        """Files below `out/clients` that are not sent, and why."""
        if self._share is None:
            return []
        return [{"path": path, "reason": known[2]} for path, known in sorted(self._shipment.gatherer.unusable.items())]

    async def _keep_time(self) -> None:
        while self._share is not None:
            await self._schedule.wait()
            await self.run_once("schedule")
        await trio.sleep_forever()

    async def _keep_looking(self) -> None:
        """Read the results between batches. After a refused log-in only as often as an account bears it."""
        while self._share is not None and self._settings.share is not None:
            self._wake = trio.Event()
            async with self._lock:
                self._use_exchanged()
                await self._look()
            results_interval_s = self._settings.share.results_interval_s
            pause_s = LOGIN_WINDOW_S if self._health.login_is_refused else results_interval_s
            with trio.move_on_after(pause_s):
                await self._wake.wait()
        await trio.sleep_forever()

    async def _keep_counting(self) -> None:
        """The gauge of clients by state follows what installers do, with a share or without."""
        while True:
            try:
                await self._count()
            except sqlite3.Error as error:
                log.debug("the clients could not be counted: %s", error)  # the disk's fault is told by who writes
            await trio.sleep(COUNT_INTERVAL_S)

    async def _count(self) -> None:
        states = await self._store.read(ledger.client_states)
        for state in ("new", "pending_import", "imported", "import_failed"):
            self._metrics.clients.labels(state).set(states.get(state, 0))

    async def _look(self) -> None:
        assert self._share is not None
        try:
            await self._recover()
            with self._health.asking():
                changed = await self._shipment.look()
            if changed:
                await self._publish()
            self._box_fails = False
        except Fault:
            pass  # told by the share's health
        except (sqlite3.Error, OSError) as error:
            if not self._box_fails:
                log.error("the results could not be kept: %s. Check the disk's free space", error)
            self._box_fails = True
        finally:
            await self._hang_up()

    async def _batch(self, who: str) -> Batch:
        assert self._share is not None
        started = instant(self._now())
        begun: list[int] = []
        try:
            await self._recover()
            with self._health.asking():
                batch_id, detail = await self._shipment.run(begun.append, who)
            await self._publish()
        except (Fault, sqlite3.Error, OSError) as error:
            return await self._failed(who, started, begun[-1] if begun else None, error)
        finally:
            await self._hang_up()
        if batch_id is None:
            return Batch(None, who, started, instant(self._now()), "ok", detail=detail)
        batch = await self._read_batch(batch_id)
        log.info("batch %d: %d clients sent, %d carried along, %s", batch_id, batch.clients, batch.carried, detail)
        return batch

    async def _failed(self, who: str, started: str, batch_id: int | None, error: Exception) -> Batch:
        """Everything stays as it is and goes out with a later batch."""
        outcome = error.fault_class.value if isinstance(error, Fault) else FaultClass.REJECTED.value
        finished, detail = instant(self._now()), str(error)
        log.error("batch failed (%s): %s", outcome, detail)
        try:
            batch_id = await self._store.write(
                lambda connection: ledger.record_failure(connection, batch_id, who, started, finished, outcome, detail)
            )
        except sqlite3.Error as disk:
            log.error("the failed batch could not be kept: %s", disk)
            return Batch(batch_id, who, started, finished, outcome, detail=detail)
        return await self._read_batch(batch_id)

    async def _read_batch(self, batch_id: int) -> Batch:
        row = await self._store.read(lambda connection: ledger.batch(connection, batch_id))
        return Batch(*row)

    async def _recover(self) -> None:
        if not self._recovered:
            await self._shipment.recover()
            self._recovered = True
            await self._publish()

    async def _publish(self) -> None:
        """`client_state.json` and the gauge, from the store."""
        paths, zone = self._settings.paths, self._settings.site.zone
        try:
            async with self._publishing:
                await self._store.read(lambda connection: client_state.write(connection, paths.client_state, zone))
        except OSError as error:
            log.error("%s cannot be written: %s", paths.client_state, error.strerror)
        await self._count()

    async def _hang_up(self) -> None:
        assert self._share is not None
        await self._share.close()

    def _share_heard(self, answers: bool) -> None:
        self._metrics.share_up.set(answers)
        if answers:
            self._metrics.share_last_success.set(self._now().timestamp())
