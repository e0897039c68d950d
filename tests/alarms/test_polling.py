"""The polling loop: rate, back-off, transitions, lost and restored; on a clock that jumps."""

import itertools
import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
import trio.testing

from agent.alarms.model import Alarm, JournalledAlarm, Kind, Poll, Position
from agent.alarms.polling import Poller
from agent.faults import Fault, FaultClass
from agent.metrics import Metrics
from agent.settings.sources import DavantisSource

START = datetime(2026, 1, 1, tzinfo=UTC)
REFUSED = Fault(FaultClass.REFUSED, "It refuses the connection.")


def wall() -> datetime:
    return START + timedelta(seconds=trio.current_time())


def settings(**changes: Any) -> DavantisSource:
    base = {"name": "yard", "kind": "davantis", "url": "http://192.0.2.1", "username": "u", "account": "9998"}
    return DavantisSource.model_validate({**base, "poll_interval_s": 1.0, **changes})


def alarm(native_id: str) -> Alarm:
    return Alarm(native_id, Kind.PERSON, START, "somebody", device="3")


@dataclass
class FakeJournal:
    """The journal's promises in memory: unique alarms, the position beside them, failing when told to."""

    entries: list[JournalledAlarm] = field(default_factory=list)
    positions: dict[str, Position] = field(default_factory=dict)
    error: Exception | None = None

    async def position(self, source: str) -> Position | None:
        return self.positions.get(source)

    async def alarms(self, *, source: str, kind: Kind, newest_first: bool, limit: int) -> list[JournalledAlarm]:
        return [entry for entry in reversed(self.entries) if entry.alarm.kind is kind][:limit]

    async def record(
        self, source: str, alarms: Sequence[Alarm], position: Position | None, place: Callable[[str], tuple[str, int]]
    ) -> list[JournalledAlarm]:
        if self.error is not None:
            raise self.error
        known = {(entry.alarm.epoch, entry.alarm.native_id) for entry in self.entries}
        fresh = [
            JournalledAlarm(len(self.entries) + index + 1, source, wall(), *place(one.device), one)
            for index, one in enumerate(one for one in alarms if (one.epoch, one.native_id) not in known)
        ]
        self.entries += fresh
        if position is not None:
            self.positions[source] = position
        return fresh

    def kinds(self) -> list[Kind]:
        return [entry.alarm.kind for entry in self.entries]


@dataclass
class FakeSource:
    """Answers from `answer`, remembering when it was asked and from where."""

    answer: Callable[["FakeSource"], Any] = lambda source: Poll([], {"polls": 0})
    asked_at: list[float] = field(default_factory=list)
    positions: list[Position | None] = field(default_factory=list)
    takes_s: float = 0.0
    closed: bool = False

    async def poll(self, position: Position | None) -> Poll:
        self.asked_at.append(trio.current_time())
        self.positions.append(position)
        await trio.sleep(self.takes_s)
        result = self.answer(self)
        if isinstance(result, BaseException):
            raise result
        assert isinstance(result, Poll)
        return result

    async def aclose(self) -> None:
        self.closed = True


@asynccontextmanager
async def polled(source: FakeSource, journal: FakeJournal, *, phase_s: float = 0.0, **changes: Any):  # type: ignore[no-untyped-def]
    metrics = Metrics()
    metrics.add_source("yard", "davantis")
    poller = Poller(settings(**changes), source, journal, metrics, phase_s=phase_s, now=wall)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        yield poller
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("phase_s", [0.0, 0.4, 29.0])
async def test_the_first_poll_comes_soon_however_seldom_the_others(
    autojump_clock: trio.testing.MockClock, phase_s: float
) -> None:
    """What is new counts from it; the ticks that follow are spread over the interval."""
    source = FakeSource()
    async with polled(source, FakeJournal(), phase_s=phase_s, poll_interval_s=30.0):
        await trio.sleep(100)
    assert source.asked_at[0] <= 1.0
    assert source.asked_at[-1] % 30 == pytest.approx(phase_s)
    assert len(source.asked_at) in (4, 5) and len(set(source.asked_at)) == len(source.asked_at)


async def test_the_rate_holds_without_drift(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource(takes_s=0.3)
    async with polled(source, FakeJournal()):
        await trio.sleep(100.5)
    assert source.asked_at == pytest.approx(range(101))
    assert source.closed


async def test_polls_that_take_too_long_are_skipped_not_made_up_for(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource(takes_s=2.5)
    async with polled(source, FakeJournal(), lost_after_s=100):
        await trio.sleep(12.1)
    assert source.asked_at == pytest.approx([0, 3, 6, 9, 12])


async def test_a_backlog_is_asked_for_at_once(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource(lambda s: Poll([alarm(str(len(s.asked_at)))], {"n": len(s.asked_at)}, len(s.asked_at) < 5))
    journal = FakeJournal()
    async with polled(source, journal):
        await trio.sleep(0.5)
    assert source.asked_at == [0] * 5
    assert [entry.alarm.native_id for entry in journal.entries] == ["1", "2", "3", "4", "5"]
    assert source.positions == [None, {"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}]


async def test_a_restart_goes_on_where_it_was(autojump_clock: trio.testing.MockClock) -> None:
    journal = FakeJournal(positions={"yard": {"mark": 41}})
    source = FakeSource(lambda s: Poll([], {"mark": 42}))
    async with polled(source, journal):
        await trio.sleep(0.5)
    assert source.positions == [{"mark": 41}]
    assert journal.positions == {"yard": {"mark": 42}}


async def test_an_alarm_has_its_place(autojump_clock: trio.testing.MockClock) -> None:
    journal = FakeJournal()
    async with polled(FakeSource(lambda s: Poll([alarm("1")], {})), journal, zones={"3": 12}):
        await trio.sleep(0.5)
    assert [(entry.account, entry.zone) for entry in journal.entries] == [("9998", 12)]


async def test_failures_back_off_to_a_minute_and_reset(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource(lambda s: REFUSED)
    async with polled(source, FakeJournal()) as poller:
        await trio.sleep(1000)
        gaps = [after - before for before, after in itertools.pairwise(source.asked_at)]
        assert gaps[0] < 1.3 and all(gap <= 72.1 for gap in gaps)
        assert all(gap >= 47 for gap in gaps[-5:])
        source.answer = lambda s: Poll([], {})
        await trio.sleep(80)
        assert poller.state == "up" and poller.fault is None
        source.answer = lambda s: REFUSED
        asked = len(source.asked_at)
        await trio.sleep(12)
        assert len(source.asked_at) - asked >= 3


async def test_a_wrong_password_is_not_tried_again_quickly(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource(lambda s: Fault(FaultClass.AUTHENTICATION, "The password is wrong."))
    async with polled(source, FakeJournal()):
        await trio.sleep(230)
        assert len(source.asked_at) == 1


async def test_a_device_that_says_when_to_come_again_is_believed(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource(lambda s: Fault(FaultClass.REJECTED, "Too many requests.", retry_after_s=500))
    async with polled(source, FakeJournal()):
        await trio.sleep(390)
        assert len(source.asked_at) == 1


async def test_lost_and_restored_are_each_told_once(autojump_clock: trio.testing.MockClock) -> None:
    journal, source = FakeJournal(), FakeSource()
    async with polled(source, journal, lost_after_s=5):
        await trio.sleep(3)
        source.answer = lambda s: REFUSED
        await trio.sleep(60)
        assert journal.kinds() == [Kind.SOURCE_LOST]
        source.answer = lambda s: Poll([], {"polls": 0})
        await trio.sleep(90)
    assert journal.kinds() == [Kind.SOURCE_LOST, Kind.SOURCE_RESTORED]
    assert [entry.alarm.restoral for entry in journal.entries] == [False, True]


async def test_a_flap_shorter_than_the_limit_is_none(autojump_clock: trio.testing.MockClock) -> None:
    journal = FakeJournal()
    source = FakeSource(lambda s: REFUSED if 3 <= len(s.asked_at) <= 4 else Poll([], {}))
    async with polled(source, journal, lost_after_s=30) as poller:
        await trio.sleep(120)
        assert poller.errors == 2 and poller.state == "up"
    assert journal.entries == []


async def test_a_device_that_hangs_is_lost_while_it_hangs(autojump_clock: trio.testing.MockClock) -> None:
    journal, source = FakeJournal(), FakeSource(takes_s=50)
    async with polled(source, journal, lost_after_s=5):
        await trio.sleep(6)
        assert journal.kinds() == [Kind.SOURCE_LOST]


async def test_lost_before_a_restart_is_restored_after_it(autojump_clock: trio.testing.MockClock) -> None:
    journal = FakeJournal()
    async with polled(FakeSource(lambda s: REFUSED), journal):
        await trio.sleep(30)
    async with polled(FakeSource(), journal):
        await trio.sleep(3)
    assert journal.kinds() == [Kind.SOURCE_LOST, Kind.SOURCE_RESTORED]


async def test_transitions_are_logged_not_attempts(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "varde")
    source = FakeSource(lambda s: REFUSED if len(s.asked_at) > 3 else Poll([], {}))
    async with polled(source, FakeJournal()):
        await trio.sleep(1000)
        source.answer = lambda s: Poll([], {})
        await trio.sleep(100)
    lines = [record.getMessage() for record in caplog.records if record.name == "varde.polling"]
    assert len(lines) == 3
    assert "up" in lines[0] and "down fault=refused" in lines[1] and "up again after" in lines[2]


async def test_a_full_disk_repeats_the_poll_and_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    journal = FakeJournal(error=sqlite3.OperationalError("database or disk is full"))
    source = FakeSource(lambda s: Poll([alarm("1")], {"mark": 1}))
    async with polled(source, journal) as poller:
        await trio.sleep(5)
        assert poller.state == "down" and "disk is full" in str(poller.fault)
        assert set(map(str, source.positions)) == {"None"}
        journal.error = None
        await trio.sleep(5)
        assert poller.state == "up"
    assert [entry.alarm.native_id for entry in journal.entries] == ["1"]


async def test_our_own_mistake_with_an_answer_stops_nobody(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    source = FakeSource(lambda s: KeyError("x") if len(s.asked_at) < 3 else Poll([], {}))
    async with polled(source, FakeJournal()) as poller:
        await trio.sleep(20)
        assert poller.state == "up" and poller.errors == 2
    assert len([record for record in caplog.records if record.exc_info]) == 1


async def test_the_metrics_tell_the_outcome(autojump_clock: trio.testing.MockClock) -> None:
    source = FakeSource(lambda s: REFUSED if len(s.asked_at) == 2 else Poll([], {}))
    async with polled(source, FakeJournal()) as poller:
        await trio.sleep(4.5)
        value = poller._metrics.registry.get_sample_value
        assert value("varde_source_polls_total", {"source": "yard", "outcome": "refused"}) == 1
        assert value("varde_source_polls_total", {"source": "yard", "outcome": "ok"}) == poller.polls > 2
        assert value("varde_source_up", {"source": "yard", "kind": "davantis"}) == 1


async def test_alive_is_about_the_loop_not_the_device(autojump_clock: trio.testing.MockClock) -> None:
    async with polled(FakeSource(takes_s=5), FakeJournal()) as poller:
        for _ in range(60):
            await trio.sleep(10)
            assert poller.alive()
        poller._due = trio.current_time() - 1
        assert not poller.alive()
