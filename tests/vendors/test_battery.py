"""What every source must stand, whatever the vendor. A vendor joins in `conftest.py`."""

from collections import Counter

import pytest
import trio

from agent.alarms.model import Alarm, Kind
from agent.faults import Fault, FaultClass
from agent.vendors.lab import Ill


def ids(alarms: list[Alarm]) -> list[str]:
    return [alarm.native_id for alarm in alarms]


def needed(hook: object) -> None:
    if not hook:
        pytest.skip("this vendor has no such thing")


async def test_a_fresh_alarm_is_reported_once(bench) -> None:
    (raised,) = bench.raise_many(1)
    alarms = await bench.poll_for(1)
    assert ids(alarms) == [raised]
    assert alarms[0].occurred_at.tzinfo is not None
    assert alarms[0].description
    assert await bench.poll() == []


async def test_alarms_come_in_the_order_they_were_raised(bench) -> None:
    raised = bench.raise_many(5)
    assert ids(await bench.poll_for(5)) == raised


async def test_a_backlog_beyond_one_page_arrives_whole_and_in_order(bench) -> None:
    needed(bench.vendor.backlog)
    raised = bench.raise_many(bench.vendor.backlog)
    assert ids(await bench.poll_for(len(raised))) == raised


async def test_a_restart_goes_on_from_the_stored_position(bench) -> None:
    first = bench.raise_many(3)
    assert ids(await bench.poll_for(3)) == first
    bench.restart()
    second = bench.raise_many(2)
    assert ids(await bench.poll_for(2)) == second


async def test_a_poll_that_was_not_journalled_is_repeated_and_unique(bench) -> None:
    bench.raise_many(3)
    before = bench.position
    lost = await bench.poll_for(3)
    bench.position = before
    again = await bench.poll_for(3)
    keys = Counter((alarm.epoch, alarm.native_id) for alarm in again)
    assert keys == Counter((alarm.epoch, alarm.native_id) for alarm in lost)
    assert max(keys.values()) == 1


async def test_a_crash_amid_a_backlog_loses_and_doubles_nothing(bench) -> None:
    needed(bench.vendor.backlog)
    raised = bench.raise_many(bench.vendor.backlog)
    with trio.fail_after(60):
        while len(bench.seen) < len(raised):
            await bench.poll_once()
            bench.restart()
    assert ids(bench.seen) == raised


async def test_sessions_that_expire_again_and_again_lose_nothing(bench) -> None:
    needed(bench.vendor.expire)
    raised: list[str] = []
    for _ in range(10):
        bench.vendor.expire(bench.simulator)
        raised += bench.raise_many(2)
        await bench.poll_for(2)
    assert ids(bench.seen) == raised


async def test_a_wrong_password_is_an_authentication_fault_without_the_password(bench) -> None:
    needed(bench.vendor.wrong_password)
    bench.restart(**bench.vendor.wrong_password)
    with pytest.raises(Fault) as caught:
        await bench.poll()
    assert caught.value.fault_class is FaultClass.AUTHENTICATION
    assert caught.value.hint
    for secret in bench.vendor.wrong_password.values():
        assert str(secret) not in str(caught.value)


@pytest.mark.parametrize("ill", [Ill.GARBAGE, Ill.HTML, Ill.WRONG_JSON, Ill.CLOSE, Ill.RESET, Ill.STATUS, Ill.HUGE])
async def test_a_sick_device_is_a_fault_and_costs_no_alarm(bench, ill: Ill) -> None:
    bench.laboratory.inject(ill)
    raised = bench.raise_many(2)
    for _ in range(2):
        with pytest.raises(Fault):
            await bench.poll()
    bench.laboratory.clear()
    assert ids(await bench.poll_for(2)) == raised


@pytest.mark.parametrize("ill", [Ill.STALL, Ill.DRIBBLE])
async def test_a_device_that_hangs_is_slow_and_costs_no_alarm(bench, ill: Ill) -> None:
    bench.laboratory.inject(ill)
    raised = bench.raise_many(2)
    bench.restart(timeout_s=0.3)
    with pytest.raises(Fault) as caught:
        await bench.poll()
    assert caught.value.fault_class is FaultClass.SLOW
    bench.laboratory.clear()
    bench.restart()
    assert ids(await bench.poll_for(2)) == raised


async def test_alarms_of_an_outage_arrive_when_it_ends(bench) -> None:
    bench.laboratory.close_port()
    raised = bench.raise_many(3)
    with pytest.raises(Fault) as caught:
        await bench.poll()
    assert caught.value.fault_class is FaultClass.REFUSED
    bench.laboratory.open_port()
    assert ids(await bench.poll_for(3)) == raised


async def test_a_wish_to_be_left_alone_is_passed_on(bench) -> None:
    bench.laboratory.inject(Ill.STATUS, status=503, retry_after_s=17)
    with pytest.raises(Fault) as caught:
        await bench.poll()
    assert caught.value.retry_after_s == 17


async def test_ids_that_begin_anew_are_noticed(bench) -> None:
    needed(bench.vendor.restart_ids)
    bench.raise_many(3)
    old = await bench.poll_for(3)
    bench.vendor.restart_ids(bench.simulator)
    raised = bench.raise_many(2)
    bench.restart()  # the check that a start makes; a running source makes it now and then
    alarms = await bench.poll_for(3)
    assert [alarm.kind for alarm in alarms if alarm.native_id not in raised] == [Kind.SYSTEM]
    assert [alarm.native_id for alarm in alarms if alarm.native_id in raised] == raised
    assert {alarm.epoch for alarm in alarms}.isdisjoint({alarm.epoch for alarm in old})
    later = bench.raise_many(1)
    assert ids(await bench.poll_for(1)) == later
