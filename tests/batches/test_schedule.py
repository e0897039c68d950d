"""The schedule, by a clock of its own: steps and daylight saving make neither a burst nor a gap."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import trio

from agent.patriot.schedule import Schedule

OSLO = ZoneInfo("Europe/Oslo")


class Clock:
    """A wall clock that goes with trio's, and can be set."""

    def __init__(self, start: datetime) -> None:
        self.start = start
        self.set_by = timedelta()

    def __call__(self) -> datetime:
        return self.start + self.set_by + timedelta(seconds=trio.current_time() - self.began)

    @property
    def began(self) -> float:
        self._began = getattr(self, "_began", trio.current_time())
        return self._began


@pytest.fixture
async def clock() -> Clock:
    made = Clock(datetime(2025, 3, 29, 20, 30, tzinfo=UTC))
    made()
    return made


async def runs(schedule: Schedule, clock: Clock, hours: float) -> list[datetime]:
    found: list[datetime] = []
    with trio.move_on_after(hours * 3600):
        while True:
            await schedule.wait()
            found.append(clock())
    return found


async def test_every_hour_at_its_minute_over_the_begin_of_daylight_saving(clock, autojump_clock):
    found = await runs(Schedule(clock, OSLO, 59), clock, 8)
    assert [moment.minute for moment in found] == [59] * 8
    assert len({moment.hour for moment in found}) == 8


async def test_a_zone_of_half_hours(clock, autojump_clock):
    found = await runs(Schedule(clock, ZoneInfo("Asia/Kolkata"), 15), clock, 3)
    assert [moment.minute for moment in found] == [45, 45, 45]


async def test_next_at_is_the_next_due_moment(clock, autojump_clock):
    schedule = Schedule(clock, OSLO, 59)
    assert schedule.next_at == datetime(2025, 3, 29, 20, 59, tzinfo=UTC)
    await schedule.wait()
    assert schedule.next_at == datetime(2025, 3, 29, 21, 59, tzinfo=UTC)


async def test_a_step_forward_over_many_hours_makes_one_batch(clock, autojump_clock):
    schedule = Schedule(clock, OSLO, 59)
    await schedule.wait()
    await trio.sleep(600)
    clock.set_by = timedelta(hours=100)
    found = await runs(schedule, clock, 1.4)
    assert len(found) == 2  # the one met by the step, and the next regular one


async def test_a_step_back_does_not_starve(clock, autojump_clock):
    schedule = Schedule(clock, OSLO, 59)
    await schedule.wait()
    clock.set_by = -timedelta(hours=100)
    assert len(await runs(schedule, clock, 3.2)) == 3


async def test_a_small_step_back_does_not_repeat_a_batch(clock, autojump_clock):
    schedule = Schedule(clock, OSLO, 59)
    await schedule.wait()
    clock.set_by = -timedelta(seconds=30)
    assert len(await runs(schedule, clock, 0.9)) == 0


async def test_a_clock_that_is_set_back_again_and_again(clock, autojump_clock):
    schedule = Schedule(clock, OSLO, 59)
    found = 0

    async def keep_setting() -> None:
        while True:
            await trio.sleep(600)
            clock.set_by -= timedelta(seconds=600)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_setting)
        found = len(await runs(schedule, clock, 10))
        nursery.cancel_scope.cancel()
    assert 8 <= found <= 10


async def test_a_clock_that_leaps_forward_again_and_again_makes_no_burst(clock, autojump_clock):
    schedule = Schedule(clock, OSLO, 59)

    async def keep_leaping() -> None:
        while True:
            await trio.sleep(60)
            clock.set_by += timedelta(hours=1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_leaping)
        found = len(await runs(schedule, clock, 1))
        nursery.cancel_scope.cancel()
    assert 10 <= found <= 13


async def test_every_so_many_seconds(clock, autojump_clock):
    found = await runs(Schedule(clock, OSLO, 59, every_s=5), clock, 1)
    assert len(found) == 719
