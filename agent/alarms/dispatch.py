"""The one delivery loop: oldest first per account; accept, reject or keep. A sink is one method; this is the rest.

    outbox ─accounts→ turn ─→ lane (one an account, at most 16 at once) ─deliver→ sink
                       ↑        │ acknowledged → written in groups, the lane goes on meanwhile
                       │        │ Rejected     → set aside, the lane goes on
                       └─ wait ─┴ Fault        → kept; the account waits, doubling up to a minute; others go on

A crash loses at most the last few acknowledgements, never an alarm: what was acknowledged and not yet written goes
out once more, and the memo that was durable before its first try makes it the same message.
"""

import logging
import sqlite3
import statistics
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol, runtime_checkable

import trio

from agent.alarms.acknowledgements import Acknowledgements
from agent.alarms.model import Delivery, JournalledAlarm, Sink, instant
from agent.alarms.outbox import Outbox, Row
from agent.alarms.schedule import backoff_s
from agent.faults import Fault, FaultClass, Rejected
from agent.metrics import Metrics
from agent.settings.sinks import SinkSettings

log = logging.getLogger("varde.dispatch")

ACCOUNTS_AT_ONCE = 16
BATCH = 200  # rows a lane takes at once, and the most before other accounts have their turn
RESCAN_S = 15.0  # held rows become due by themselves, and a lost ring costs no more than this
MEASURE_S = 0.5
FIRST_BACKOFF_S = 1.0
DISK_PAUSE_S = 2.0
_LINE_FAULTS = frozenset({FaultClass.UNREACHABLE, FaultClass.REFUSED, FaultClass.SLOW})


@runtime_checkable
class Numbering(Protocol):
    """A sink whose memo can be made before the first try, for many alarms at once.

    `first_memo(alarm, state)` may change `state`, the sink's durable document: memo and state stand or fall together.
    """

    def first_memo(self, alarm: JournalledAlarm, state: dict[str, Any]) -> str: ...


@runtime_checkable
class Supervised(Protocol):
    """A sink that knows by itself whether its far end answers: it calls `report(None)` or `report(fault)`."""

    def watch(self, report: Callable[[Fault | None], None]) -> None: ...


@runtime_checkable
class Doubled(Protocol):
    """A sink with a second far end for when the first does not answer."""

    @property
    def on_standby(self) -> bool: ...


class Dispatcher:
    """Delivers one sink's outbox for ever: `run` never returns, and runs the sink's own `run` beside it.

    `wake` after every commit that brought alarms; `retry(account)` after a row was made due by hand. The attributes
    are the sink's state for status, console and metrics: `state` is "starting", "up" or "down".
    """

    def __init__(
        self,
        settings: SinkSettings,
        sink: Sink,
        outbox: Outbox,
        metrics: Metrics,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings = settings
        self.sink = sink
        self.name = settings.name
        self.state = "starting"
        self.since = now()
        self.fault: Fault | None = None
        self.pending = 0
        self.rejected = 0
        self.largest = 0  # the most that has waited since nothing last did
        self.oldest_at: datetime | None = None
        self.last_acknowledged_at: datetime | None = None
        self.heartbeat = 0.0  # trio time of the last turn of the loop
        self._outbox = outbox
        self._now = now
        self._metrics = metrics
        self._acknowledgements = Acknowledgements(outbox)
        self._event = trio.Event()
        self._running: set[str] = set()
        self._turn: dict[str, None] = {}  # accounts with something due, in the order of their turn
        self._waiting: dict[str, tuple[float, Fault]] = {}  # account -> (trio time of its next try, why)
        self._answers = 0  # acknowledgements and rejections so far
        self._troubled: dict[str, int] = {}  # account that is kept -> the answers there were at its last try
        self._told: set[str] = set()  # troubled accounts that the log names
        self._measured = float("-inf")
        self._recent: deque[tuple[float, float]] = deque(maxlen=256)  # (trio time, seconds until acknowledged)
        self._rejections_logged = (float("-inf"), 0)
        self._count_ok = metrics.deliveries.labels(self.name, "ok")
        self._latency = metrics.delivery_latency_seconds.labels(self.name)
        self._supervised = isinstance(sink, Supervised)
        if isinstance(sink, Supervised):
            sink.watch(self._report)

    async def run(self) -> None:
        self.last_acknowledged_at = await self._outbox.last_acknowledged_at(self.name)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.sink.run)
                nursery.start_soon(self._acknowledgements.run)
                if not self._supervised:
                    nursery.start_soon(self._first_look)
                await self._schedule(nursery)
        finally:
            await self._acknowledgements.try_once()

    def wake(self) -> None:
        """New rows may be there."""
        self._event.set()

    def retry(self, account: str) -> None:
        """Do not wait any longer with this account."""
        self._waiting.pop(account, None)
        self.wake()

    def alive(self) -> bool:
        """False while the loop itself hangs, whatever the sink's far end does."""
        return trio.current_time() - self.heartbeat < 10 * RESCAN_S or not self.heartbeat

    def status(self) -> dict[str, Any]:
        """The sink's entry in `GET /api/v1/status`.

        `peak` is the most that has waited since nothing last did; `progress` the part of it that is through, 0 to 1.
        `kept` are the accounts whose oldest alarm waits for its next try, also while the others get through.
        """
        self.refresh()
        return {
            "name": self.name,
            "kind": self.settings.kind,
            "state": self.state,
            "since": instant(self.since),
            "pending": self.pending,
            "oldest_s": self._oldest_s(),
            "rejected": self.rejected,
            "kept": sorted(self._waiting),
            "on_standby": isinstance(self.sink, Doubled) and self.sink.on_standby,
            "peak": self.largest,
            "progress": round(1 - self.pending / self.largest, 4) if self.largest else 1.0,
            "per_second": self._per_second(),
            "last_acknowledged_at": instant(self.last_acknowledged_at) if self.last_acknowledged_at else None,
            "acknowledged_after_p50_s": self._median_s(),
            "error": self._error(),
        }

    def refresh(self) -> None:
        """Bring the gauges up to date; no I/O."""
        self._metrics.outbox_pending.labels(self.name).set(self.pending)
        self._metrics.outbox_oldest_seconds.labels(self.name).set(self._oldest_s())
        self._metrics.sink_up.labels(self.name).set(self.state == "up")

    # --- whose turn it is ---------------------------------------------------------------------------------------

    async def _schedule(self, nursery: trio.Nursery) -> None:
        while True:
            self._event = event = trio.Event()
            self.heartbeat = trio.current_time()
            accounts = await self._outbox.accounts(self.name)
            self._turn.update(dict.fromkeys(account for account in accounts if account not in self._turn))
            for account in self._waiting.keys() - self._running - set(accounts):
                del self._waiting[account]  # what it waited with is gone
            await self._measure()
            self._start_lanes(nursery)
            with trio.move_on_at(self._next_look()):
                await event.wait()

    def _start_lanes(self, nursery: trio.Nursery) -> None:
        now = trio.current_time()
        for account in list(self._turn):
            if len(self._running) >= ACCOUNTS_AT_ONCE:
                return
            if account in self._running or (account in self._waiting and self._waiting[account][0] > now):
                continue
            del self._turn[account]
            self._running.add(account)
            nursery.start_soon(self._lane, account)

    def _next_look(self) -> float:
        now = trio.current_time()
        return min([now + RESCAN_S, *(until for until, _ in self._waiting.values() if until > now)])

    async def _lane(self, account: str) -> None:
        try:
            await self._deliver_account(account)
            await self._acknowledgements.flush()
        except* sqlite3.Error as group:
            await self._disk_refuses(account, group)
        finally:
            self._running.discard(account)
            self.wake()

    async def _disk_refuses(self, account: str, group: BaseExceptionGroup[sqlite3.Error]) -> None:
        """The outbox cannot be written, so nothing more of this account is sent; what was sent is written first."""
        reason = next(iter(_leaves(group)))
        fault = Fault(FaultClass.REJECTED, f"The outbox cannot be written: {reason}.", hint="Check the disk.")
        until = trio.current_time() + DISK_PAUSE_S
        if account not in self._waiting or self._waiting[account][0] < until:
            self._waiting[account] = (until, fault)
        self._troubled.setdefault(account, self._answers)
        if account not in self._told:
            self._told.add(account)
            log.error("sink=%s account=%s its alarms are kept: %s", self.name, account or "-", fault)
        await self._acknowledgements.flush()

    async def _deliver_account(self, account: str) -> None:
        """The account's rows in order, until one is kept, none is left, or others have waited for their turn."""
        batch = await self._load(account, 0)
        while batch:
            async with trio.open_nursery() as nursery:
                ahead: list[Delivery] = []
                if len(batch) == BATCH:
                    nursery.start_soon(self._load_into, ahead, account, batch[-1].id)
                if not await self._deliver_all(account, batch):
                    return
            is_crowded = self._turn and len(self._running) >= ACCOUNTS_AT_ONCE
            batch = [] if is_crowded else ahead

    async def _deliver_all(self, account: str, batch: list[Delivery]) -> bool:
        """False where one is kept."""
        for delivery, following in zip(batch, [*batch[1:], None], strict=False):
            delivery.following = following
            if not await self._deliver(account, delivery):
                return False
            await self._acknowledgements.not_too_many()
        return True

    async def _load_into(self, ahead: list[Delivery], account: str, after: int) -> None:
        ahead += await self._load(account, after)

    async def _load(self, account: str, after: int) -> list[Delivery]:
        rows = await self._outbox.due(self.name, account, BATCH, after)
        memos = await self._memos(rows)
        return [
            Delivery(row.id, row.alarm, row.attempts, memos.get(row.id, row.memo), partial(self._outbox.note, row.id))
            for row in rows
        ]

    async def _memos(self, rows: list[Row]) -> dict[int, str]:
        if isinstance(self.sink, Numbering) and any(row.memo is None for row in rows):
            return await self._outbox.allot(self.name, rows, self.sink.first_memo)
        return {}

    # --- one try ------------------------------------------------------------------------------------------------

    async def _deliver(self, account: str, delivery: Delivery) -> bool:
        """One try; False where the alarm is kept and its account has to wait."""
        begun = trio.current_time()
        try:
            await self.sink.deliver(delivery)
        except Rejected as rejected:
            await self._set_aside(delivery, str(rejected))
        except Fault as fault:
            await self._keep(account, delivery, fault)
            return False
        except sqlite3.Error:
            raise  # the box's disk, not the sink's far end
        except Exception as error:
            # A defect of ours in one sink must not stop the others, nor lose the alarm, and must be seen.
            if account not in self._troubled:
                log.exception("sink=%s a delivery failed in our own code", self.name)
            await self._keep(
                account, delivery, Fault(FaultClass.PROTOCOL, f"{self.name}: {type(error).__name__} in the agent.")
            )
            return False
        else:
            self._acknowledged(account, delivery, begun)
        self._waiting.pop(account, None)
        return True

    def _acknowledged(self, account: str, delivery: Delivery, begun: float) -> None:
        now = self._now()
        self._acknowledgements.add(delivery.id, now)
        self._count_ok.inc()
        self._latency.observe(max(0.0, (now - delivery.alarm.received_at).total_seconds()))
        self.last_acknowledged_at = now
        self.pending = max(0, self.pending - 1)
        ended = trio.current_time()
        self._recent.append((ended, ended - begun))
        if self._troubled.pop(account, None) is not None:
            self._told.discard(account)
            log.info("sink=%s account=%s is delivered again", self.name, account or "-")
        self._answered()

    async def _set_aside(self, delivery: Delivery, reason: str) -> None:
        await self._outbox.reject(delivery.id, reason)
        self._metrics.deliveries.labels(self.name, FaultClass.REJECTED.value).inc()
        self.pending = max(0, self.pending - 1)
        self.rejected += 1
        self._answered()
        logged_at, unlogged = self._rejections_logged
        if trio.current_time() - logged_at >= 60:
            also = f", and {unlogged} more since the last such line" if unlogged else ""
            log.warning("sink=%s delivery=%d is set aside%s: %s", self.name, delivery.id, also, reason)
            self._rejections_logged = (trio.current_time(), 0)
        else:
            self._rejections_logged = (logged_at, unlogged + 1)

    async def _keep(self, account: str, delivery: Delivery, fault: Fault) -> None:
        wait_s = backoff_s(delivery.attempts + 1, fault, shortest_s=FIRST_BACKOFF_S)
        self._waiting[account] = (trio.current_time() + wait_s, fault)
        self._metrics.deliveries.labels(self.name, fault.fault_class.value).inc()
        if not self._supervised and not self._others_get_through(account):
            self._report(fault)
        self._troubled[account] = self._answers
        if account not in self._told and self.state != "down":
            self._told.add(account)
            log.warning("sink=%s account=%s its alarms are kept: %s", self.name, account or "-", fault)
        await self._outbox.keep(delivery.id, str(fault), self._now() + timedelta(seconds=wait_s))

    def _others_get_through(self, account: str) -> bool:
        """Whether it is this account and not the line: the far end has answered since the account's last failure.

        Without this, one alarm that a service cannot stomach takes the sink down, the next of another account brings
        it up, the first is tried again at once, and so on at the rate of the alarms.
        """
        before = self._troubled.get(account)
        return self.state == "up" and before is not None and before != self._answers

    # --- state --------------------------------------------------------------------------------------------------

    async def _first_look(self) -> None:
        """Know the state of a sink that only speaks when it has something to deliver."""
        try:
            await self.sink.probe()
        except Fault as fault:
            self._report(fault)
        except Exception:
            log.exception("sink=%s the first look failed in our own code", self.name)
        else:
            self._answered()

    def _answered(self) -> None:
        self._answers += 1
        if self.state != "up" and not self._supervised:
            self._report(None)

    def _report(self, fault: Fault | None) -> None:
        before, self.fault = self.state, fault
        self.state = "up" if fault is None else "down"
        if self.state == before:
            return
        lasted_s = (self._now() - self.since).total_seconds()
        self.since = self._now()
        self.refresh()
        if fault is not None:
            log.warning("sink=%s is down: %s", self.name, fault)
        elif before == "down":
            log.info("sink=%s is up again after %.0f s, %d waiting", self.name, lasted_s, self.pending)
            self._resume()

    def _resume(self) -> None:
        """The line is back: nobody waits any longer who only waited for it."""
        for account, (_, fault) in list(self._waiting.items()):
            if fault.fault_class in _LINE_FAULTS and fault.retry_after_s is None:
                del self._waiting[account]
        self.wake()

    async def _measure(self) -> None:
        if trio.current_time() - self._measured < MEASURE_S and self.pending > BATCH:
            return  # counting a long queue at every turn would cost more than sending it
        self._measured = trio.current_time()
        depth = await self._outbox.depth(self.name)
        self.pending, self.oldest_at, self.rejected = depth.pending, depth.oldest_at, depth.rejected
        self.largest = max(self.largest, self.pending) if self.pending else 0
        self.refresh()

    def _oldest_s(self) -> float:
        if self.oldest_at is None or not self.pending:
            return 0.0
        return round(max(0.0, (self._now() - self.oldest_at).total_seconds()), 3)

    def _per_second(self) -> float:
        """Acknowledged a second over the last ten."""
        now = trio.current_time()
        recent = [at for at, _ in self._recent if now - at <= 10]
        return round(len(recent) / max(now - recent[0], 0.1), 1) if recent else 0.0

    def _median_s(self) -> float | None:
        return round(statistics.median(took for _, took in self._recent), 4) if self._recent else None

    def _error(self) -> str | None:
        if self.fault is not None:
            return str(self.fault)
        kept = [str(fault) for account, (_, fault) in self._waiting.items()]
        return kept[0] if kept else None


async def retry(outbox: Outbox, dispatchers: Mapping[str, Dispatcher], row_id: int) -> bool:
    """Try a rejected or waiting delivery again now; False where there is no such one."""
    found = await outbox.retry(row_id)
    if found is None:
        return False
    sink, account = found
    if sink in dispatchers:
        dispatchers[sink].retry(account)
    return True


def _leaves(group: BaseExceptionGroup[sqlite3.Error]) -> Iterator[sqlite3.Error]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
