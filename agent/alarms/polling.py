"""The one polling loop: schedule, timeout, back-off, transitions, metrics. A source is one method; this is the rest.

              ok                    fault                   silent for lost_after_s
    starting ────→ up ────────────────────────→ down ──────────────────────→ down, source_lost journalled
                   ↑                             │                                        │
                   └─────────── ok ──────────────┴──────── ok, source_restored journalled ┘

A device is silent from the start of the first poll that it has not answered; the very first poll counts like any other.
"""

import logging
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import trio

from agent.alarms.history import LastHour
from agent.alarms.journal import Journal
from agent.alarms.model import Alarm, Kind, Poll, Position, Source, instant
from agent.alarms.schedule import Ticks, backoff_s
from agent.faults import Fault, FaultClass
from agent.metrics import Metrics
from agent.settings.sources import SourceSettings

log = logging.getLogger("varde.polling")

LONGEST_POLL_S = 120.0  # a backlog is walked in many requests, each with its own limit; the walk has this one
GRACE_S = 30.0
FIRST_POLL_WITHIN_S = 1.0
OWN_EPOCH = "varde"  # numbering of the alarms that the loop itself raises


class Poller:
    """Polls one source for ever. `run` never returns; the source is closed when it is cancelled.

    The attributes are the source's state for status, console and metrics: `state` is "starting", "up" or "down".
    """

    def __init__(
        self,
        settings: SourceSettings,
        source: Source,
        journal: Journal,
        metrics: Metrics,
        *,
        phase_s: float = 0.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings = settings
        self.source = source
        self.name = settings.name
        self.history = LastHour()
        self.state = "starting"
        self.since = now()
        self.polls = 0
        self.errors = 0
        self.last_poll_at: datetime | None = None
        self.last_alarm_at: datetime | None = None
        self.fault: Fault | None = None
        self.lost = False
        self._journal = journal
        self._metrics = metrics
        self._phase_s = phase_s
        self._now = now
        self._position: Position | None = None
        self._failures = 0
        self._silent_since: float | None = None
        self._due = float("inf")  # trio time by which the loop will have shown a sign of life
        self._count_ok = metrics.source_polls.labels(self.name, "ok")
        self._poll_seconds = metrics.source_poll_seconds.labels(self.name)
        self._up = metrics.source_up.labels(self.name, settings.kind)

    async def run(self) -> None:
        self._position = await self._journal.position(self.name)
        self.lost = await self._was_lost()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_silence)
                await self._poll_for_ever()
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(1):
                await self.source.aclose()

    def alive(self) -> bool:
        """Whether the loop turns: no poll, and no pause that it chose itself, lasts longer than it may."""
        return trio.current_time() <= self._due

    def status(self) -> dict[str, Any]:
        """The entry of `GET /api/v1/sources`."""
        return {
            "name": self.name,
            "kind": self.settings.kind,
            "state": self.state,
            "since": instant(self.since),
            "last_poll_at": instant(self.last_poll_at) if self.last_poll_at else None,
            "last_alarm_at": instant(self.last_alarm_at) if self.last_alarm_at else None,
            "polls": self.polls,
            "errors": self.errors,
            "error": str(self.fault) if self.fault else None,
        }

    async def _poll_for_ever(self) -> None:
        ticks = await self._first_tick()
        while True:
            wait_s = await self._once()
            now = trio.current_time()
            until = ticks.after(now) if wait_s is None else now + wait_s
            self._due = until + GRACE_S
            await trio.sleep_until(until)

    async def _first_tick(self) -> Ticks:
        """The rate of this source, at the moment of its first poll.

        A source that is asked seldom is asked soon all the same: with `start_from` "now", what is new counts from its
        first answer, and its state is not known before.
        """
        interval_s, begun = self.settings.poll_interval_s, trio.current_time()
        on_its_tick = begun + self._phase_s
        first = begun + self._phase_s * min(1.0, FIRST_POLL_WITHIN_S / interval_s)
        await trio.sleep_until(first)
        return Ticks(interval_s, on_its_tick if first == on_its_tick else on_its_tick - interval_s)

    async def _once(self) -> float | None:
        """One poll; seconds to wait before the next, None to keep to the rate."""
        begun = trio.current_time()
        self._due = begun + LONGEST_POLL_S + GRACE_S
        if self._silent_since is None:
            self._silent_since = begun
        try:
            with trio.fail_after(LONGEST_POLL_S):
                poll = await self.source.poll(self._position)
        except Fault as fault:
            return await self._failed(fault)
        except trio.TooSlowError:
            return await self._failed(Fault(FaultClass.SLOW, f"{self.name} has not answered for {LONGEST_POLL_S:g} s."))
        except Exception as error:
            # A device's answer that our own code trips over is the device's protocol fault to the outside and a defect
            # of ours in the log: it must be seen, and must not stop the other sources.
            if self._failures == 0:
                log.exception("source=%s an answer could not be understood", self.name)
            return await self._failed(
                Fault(
                    FaultClass.PROTOCOL, f"{self.name} gave an answer that is not understood ({type(error).__name__})."
                )
            )
        self._poll_seconds.observe(trio.current_time() - begun)
        return await self._answered(poll)

    async def _answered(self, poll: Poll) -> float | None:
        self.polls += 1
        self._count_ok.inc()
        self.last_poll_at = self._now()
        self._silent_since = None
        if not await self._keep(poll):
            return 1.0
        self.history.add(trio.current_time(), polls=1, alarms=len(poll.alarms))
        if self.state != "up":
            self._came_up()
        return 0.0 if poll.more else None

    async def _keep(self, poll: Poll) -> bool:
        """Journal what is new. False: the disk would not take it, and the same poll is repeated."""
        if not poll.alarms and poll.position == self._position:
            return True
        try:
            recorded = await self._journal.record(self.name, poll.alarms, poll.position, self.settings.place_of)
        except sqlite3.Error as error:
            if self.fault is None or self.state != "down":
                log.error("source=%s alarms cannot be journalled: %s. Check the disk's free space", self.name, error)
            self._go_down(Fault(FaultClass.REJECTED, f"The journal cannot be written: {error}."))
            return False
        self._position = poll.position
        if recorded:
            self.last_alarm_at = recorded[-1].received_at
        return True

    async def _failed(self, fault: Fault) -> float:
        self.errors += 1
        self._failures += 1
        self.history.add(trio.current_time(), errors=1)
        self._metrics.source_polls.labels(self.name, fault.fault_class.value).inc()
        if self.state != "down":
            log.warning("source=%s down fault=%s %s", self.name, fault.fault_class, fault)
        elif self.fault is None or fault.fault_class is not self.fault.fault_class:
            log.warning("source=%s still down, now fault=%s %s", self.name, fault.fault_class, fault)
        self._go_down(fault)
        return backoff_s(self._failures, fault, shortest_s=max(0.25, self.settings.poll_interval_s))

    def _go_down(self, fault: Fault) -> None:
        if self.state != "down":
            self.since = self._now()
        self.state = "down"
        self.fault = fault
        self._up.set(0)

    def _came_up(self) -> None:
        before, failures, since = self.state, self._failures, self.since
        self.state, self.fault, self.since, self._failures = "up", None, self._now(), 0
        self._up.set(1)
        if before == "down":
            seconds = (self.since - since).total_seconds()
            log.info("source=%s up again after %.1f s and %d failures", self.name, seconds, failures)
        else:
            log.info("source=%s up", self.name)

    async def _watch_silence(self) -> None:
        """Report the source as lost once it has been silent for `lost_after_s`, also while a poll still hangs, and as
        restored once it answers. In a task of its own, so that a full disk only postpones the report.
        """
        while True:
            await trio.sleep(0.1)
            silent_s = 0.0 if self._silent_since is None else trio.current_time() - self._silent_since
            if self.lost and self.state == "up":
                await self._raise(Kind.SOURCE_RESTORED, f"{self.name} answers again.")
            elif not self.lost and self._silent_since is not None and silent_s >= self.settings.lost_after_s:
                reason = str(self.fault) if self.fault else "It does not answer."
                await self._raise(Kind.SOURCE_LOST, f"{self.name} is lost. {reason}")

    async def _raise(self, kind: Kind, description: str) -> None:
        """Journal an alarm of the loop's own; kept for the next try where the disk will not take it."""
        moment = self._now()
        alarm = Alarm(
            native_id=f"{kind.value}-{instant(moment)}",
            kind=kind,
            occurred_at=moment,
            description=description,
            restoral=kind is Kind.SOURCE_RESTORED,
            epoch=OWN_EPOCH,
        )
        try:
            await self._journal.record(self.name, [alarm], None, self.settings.place_of)
        except sqlite3.Error:
            return
        self.lost = kind is Kind.SOURCE_LOST

    async def _was_lost(self) -> bool:
        """Whether the last word about this source, before this start, was that it is lost."""
        kinds = (Kind.SOURCE_LOST, Kind.SOURCE_RESTORED)
        pages = [await self._journal.alarms(source=self.name, kind=kind, newest_first=True, limit=1) for kind in kinds]
        newest = max((page[0] for page in pages if page), key=lambda entry: entry.id, default=None)
        return newest is not None and newest.alarm.kind is Kind.SOURCE_LOST
