"""Ticks and back-off are pure."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.alarms.history import LastHour
from agent.alarms.schedule import Ticks, backoff_s, phase
from agent.faults import Fault, FaultClass

SLOW = Fault(FaultClass.SLOW, "slow")


@given(st.floats(0.05, 100), st.lists(st.floats(0, 1000), max_size=30))
def test_ticks_never_burst_and_never_leave_the_rate(interval_s: float, delays: list[float]) -> None:
    ticks, now = Ticks(interval_s, 0.0), 0.0
    for delay in delays:
        now = max(now, ticks.next) + delay
        due = ticks.after(now)
        assert due >= now - 1e-6 * max(1.0, now)
        assert due - now <= interval_s * (1 + 1e-9) + 1e-6 * max(1.0, now)
        assert due / interval_s == pytest.approx(round(due / interval_s), abs=1e-4)


def test_sources_spread_over_their_interval() -> None:
    phases = sorted(phase(index, 1.0) for index in range(20))
    gaps = [after - before for before, after in itertools.pairwise(phases)]
    assert max(gaps) < 0.12 and all(0 <= one < 1 for one in phases)


def test_back_off_doubles_to_its_cap() -> None:
    waits = [backoff_s(failures, SLOW, jitter=0.5) for failures in range(1, 12)]
    assert waits[:4] == [0.5, 1.0, 2.0, 4.0] and waits[-1] == 60.0


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_back_off_is_bounded_for_ever(failures: int, jitter: float) -> None:
    assert 0 < backoff_s(failures, SLOW, jitter=jitter) <= 72.1


def test_the_last_hour_forgets_the_hour_before() -> None:
    hour = LastHour()
    hour.add(10.0, alarms=2, polls=4)
    hour.add(70.0, alarms=1, polls=8)
    assert hour.alarms_by_minute(70.0)[-2:] == [2, 1]
    assert hour.polls_per_second(80.0) == pytest.approx(12 / 80)
    hour.add(10.0 + 3600, polls=1)
    assert sum(hour.alarms_by_minute(10.0 + 3600)) == 1
    assert sum(hour.alarms_by_minute(10.0 + 7200)) == 0
