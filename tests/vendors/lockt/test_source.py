"""The source against the simulated cloud: every happening once, and nothing lost in silence."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio

from agent.alarms.model import Acting, Kind, Listing, Probing, instant
from agent.faults import Fault, FaultClass, Refused, UnknownAction, UnknownTarget
from agent.vendors.lab import Ill
from agent.vendors.lockt import following
from agent.vendors.lockt.simulator import LocktSimulator
from agent.vendors.lockt.source import LocktSource

Follow = Callable[..., Any]


@pytest.fixture(params=[True, False], ids=["inclusive", "exclusive"])
def counting(request: pytest.FixtureRequest, simulator: LocktSimulator) -> bool:
    """Whether `events?id=N` gives event N: the reference does not say, so that every test here runs both ways."""
    simulator.site.inclusive = request.param
    return bool(request.param)


async def test_what_happens_is_reported_once(simulator: LocktSimulator, follow: Follow, counting: bool) -> None:
    simulator.raise_event()
    follower = await follow()
    assert await follower.ids() == []
    for _ in range(3):
        expected = [simulator.raise_event("access_denied"), simulator.raise_event("access_granted", gap=7)]
        assert await follower.ids() == expected
        assert await follower.ids() == []
    assert len(follower.alarms) == 6


async def test_a_single_event_is_not_repeated_by_an_inclusive_answer(
    simulator: LocktSimulator, follow: Follow, counting: bool
) -> None:
    follower = await follow()
    assert await follower.ids() == []
    first = simulator.raise_event()
    assert await follower.ids() == [first]
    assert await follower.ids() == []
    assert await follower.ids() == []


async def test_the_first_poll_of_a_site_without_events_then_misses_nothing(
    simulator: LocktSimulator, follow: Follow, counting: bool
) -> None:
    follower = await follow()
    assert await follower.ids() == []
    expected = [simulator.raise_event(), simulator.raise_event()]
    assert await follower.ids() == expected


async def test_a_blank_id_never_leaves(simulator: LocktSimulator, follow: Follow) -> None:
    follower = await follow()
    for _ in range(3):
        await follower.poll()
        simulator.raise_event()
    asked = [request for request in simulator.laboratory.requests if "/events" in request]
    assert asked[0] == "GET /api/v1/events"
    assert not any(request.endswith(("id=", "id=None", "id=0")) for request in asked)


async def test_start_from_the_beginning(simulator: LocktSimulator, follow: Follow, counting: bool) -> None:
    expected = [simulator.raise_event(gap=3) for _ in range(5)]
    follower = await follow(start_from="beginning")
    assert await follower.ids() == expected
    assert await follower.ids() == []


async def test_start_from_an_instant_counts_what_was_recorded_since(
    simulator: LocktSimulator, follow: Follow, counting: bool
) -> None:
    now = datetime.now(UTC)
    simulator.site.now = lambda: now - timedelta(hours=2)
    simulator.raise_event()
    simulator.site.now = lambda: now
    late = simulator.raise_event("late")
    follower = await follow(start_from=instant(now - timedelta(hours=1)))
    assert await follower.ids() == [late]
    assert await follower.ids() == []


async def test_start_from_an_instant_that_nothing_follows(
    simulator: LocktSimulator, follow: Follow, counting: bool
) -> None:
    for _ in range(3):
        simulator.raise_event()
    follower = await follow(start_from=instant(datetime.now(UTC) + timedelta(hours=1)))
    assert await follower.ids() == []
    assert await follower.ids() == []
    event = simulator.raise_event()
    assert await follower.ids() == [event]


async def test_an_outage_longer_than_the_clouds_real_cache(simulator: LocktSimulator, follow: Follow) -> None:
    follower = await follow()
    await follower.poll()
    simulator.raise_event()
    await follower.poll()
    sent = [simulator.raise_event() for _ in range(5_100)]
    gap, *rest = await follower.poll()
    assert gap.kind is Kind.SYSTEM
    assert [alarm.native_id for alarm in rest] == sent[100:]


async def test_a_backlog_comes_in_chunks_in_order(
    simulator: LocktSimulator, follow: Follow, counting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "CHUNK", 7)
    follower = await follow()
    await follower.poll()
    expected = [simulator.raise_event(gap=index % 3) for index in range(30)]
    assert (await follower.source.poll(follower.position)).more
    assert await follower.ids() == expected


@pytest.mark.parametrize("newest_first", [True, False])
async def test_the_order_of_the_answer_does_not_matter(
    simulator: LocktSimulator, follow: Follow, newest_first: bool
) -> None:
    simulator.site.newest_first = newest_first
    follower = await follow()
    await follower.poll()
    expected = [simulator.raise_event() for _ in range(3)]
    assert await follower.ids() == expected


async def test_an_event_of_an_offline_lock_is_delivered_and_flagged(
    simulator: LocktSimulator, follow: Follow, counting: bool
) -> None:
    follower = await follow()
    simulator.raise_event()
    await follower.poll()
    late = simulator.raise_event("late", late_s=8.5 * 3600)
    prompt = simulator.raise_event("access_granted", late_s=6)
    first, second = await follower.poll()
    assert [first.native_id, second.native_id] == [late, prompt]
    assert "reported 8 h 30 min late" in first.description
    assert "late" not in second.description
    assert second.occurred_at - first.occurred_at > timedelta(hours=8)


async def test_a_lock_whose_clock_runs_ahead_has_the_clouds_time(simulator: LocktSimulator, follow: Follow) -> None:
    follower = await follow(start_from="beginning")
    simulator.raise_event(late_s=-7200)
    (alarm,) = await follower.poll()
    assert alarm.occurred_at <= datetime.now(UTC)
    assert "clock is 2 h ahead" in alarm.description


async def test_an_overrun_cache_is_declared(simulator: LocktSimulator, follow: Follow, counting: bool) -> None:
    simulator.site.cache = 20
    follower = await follow()
    simulator.raise_event()
    mark = int(simulator.raise_event())
    await follower.poll()
    sent = [simulator.raise_event() for _ in range(50)]
    gap, *rest = await follower.poll()
    assert gap.kind is Kind.SYSTEM
    assert str(mark) in gap.description and sent[30] in gap.description and "missing" in gap.description
    assert [alarm.native_id for alarm in rest] == sent[30:]
    assert await follower.ids() == []


async def test_an_overrun_with_one_known_event_is_declared(
    simulator: LocktSimulator, follow: Follow, counting: bool
) -> None:
    simulator.site.cache = 20
    follower = await follow()
    simulator.raise_event()
    await follower.poll()
    for _ in range(50):
        simulator.raise_event()
    assert (await follower.poll())[0].kind is Kind.SYSTEM


async def test_holes_and_a_full_cache_are_no_gap(simulator: LocktSimulator, follow: Follow, counting: bool) -> None:
    simulator.site.cache = 20
    follower = await follow()
    for _ in range(30):
        simulator.raise_event(gap=9)
    await follower.poll()
    for _ in range(4):
        for _ in range(10):
            simulator.raise_event(gap=25)
        assert all(alarm.kind is Kind.ACCESS_DENIED for alarm in await follower.poll())


@pytest.mark.parametrize("events_before", [1, 5])
async def test_numbers_that_begin_again_are_noticed(
    simulator: LocktSimulator, follow: Follow, counting: bool, events_before: int
) -> None:
    follower = await follow(start_from="beginning")
    for _ in range(events_before):
        simulator.raise_event()
    await follower.poll()
    simulator.restart_ids()
    expected = [simulator.raise_event(), simulator.raise_event()]
    notice, *rest = await follower.poll()
    assert notice.kind is Kind.SYSTEM and "began again" in notice.description
    assert [alarm.native_id for alarm in rest] == expected
    assert {alarm.epoch for alarm in rest} == {"1"}
    later = simulator.raise_event()
    assert await follower.ids() == [later]


async def test_numbers_that_began_again_and_passed_the_mark_are_noticed(
    simulator: LocktSimulator, follow: Follow, counting: bool
) -> None:
    """Seen by the mark's own db_time: another event bears its number."""
    simulator.restart_ids(first=100)
    follower = await follow(start_from="beginning")
    old = [simulator.raise_event() for _ in range(3)]
    assert await follower.ids() == old
    simulator.restart_ids(first=99)
    base = datetime.now(UTC) + timedelta(seconds=5)
    simulator.site.now = lambda: base
    new = [simulator.raise_event() for _ in range(8)]
    notice, *rest = await follower.poll()
    assert notice.kind is Kind.SYSTEM
    assert [alarm.native_id for alarm in rest] == new
    keys = [(alarm.epoch, alarm.native_id) for alarm in follower.alarms]
    assert len(set(keys)) == len(keys)


async def test_history_carried_over_a_restart_is_not_delivered_again(simulator: LocktSimulator, follow: Follow) -> None:
    follower = await follow()
    simulator.raise_event()
    simulator.raise_event()
    await follower.poll()
    now = datetime.now(UTC)
    simulator.restart_ids()
    simulator.site.now = lambda: now - timedelta(days=1)
    simulator.raise_event()
    simulator.site.now = lambda: now + timedelta(seconds=5)
    fresh = simulator.raise_event()
    assert (await follower.ids())[1:] == [fresh]


async def test_an_empty_cache_is_no_restart(simulator: LocktSimulator, follow: Follow, counting: bool) -> None:
    follower = await follow()
    simulator.raise_event()
    await follower.poll()
    simulator.site.events.clear()
    assert await follower.ids() == []
    later = simulator.raise_event()
    assert later in await follower.ids()


async def test_a_restart_of_the_agent_goes_on_where_it_was(
    simulator: LocktSimulator, follow: Follow, counting: bool
) -> None:
    simulator.set_battery(187, 5)
    first = await follow()
    simulator.raise_event()
    await first.poll()
    assert [alarm.kind for alarm in first.alarms] == [Kind.LOW_BATTERY]
    missed = simulator.raise_event()
    second = await follow(position=first.position)
    assert await second.ids() == [missed]
    assert await second.ids() == []


async def test_codes(simulator: LocktSimulator, follow: Follow) -> None:
    follower = await follow(
        start_from="beginning", codes={"77": "external_trigger", "49/104": "low_battery", "48": "other"}
    )
    simulator.raise_event("access_granted")
    simulator.raise_event("access_denied")
    simulator.raise_event("access_denied", subcode=1, subcode_text="")
    simulator.raise_event("other")
    simulator.raise_event("other", code=99_999)
    kinds = [alarm.kind.value for alarm in await follower.poll()]
    assert kinds == ["other", "low_battery", "access_denied", "external_trigger", "other"]


async def test_codes_without_configuration(simulator: LocktSimulator, follow: Follow) -> None:
    follower = await follow(start_from="beginning")
    for kind in ("access_granted", "access_denied", "other"):
        simulator.raise_event(kind)
    assert [alarm.kind.value for alarm in await follower.poll()] == ["access_granted", "access_denied", "other"]


async def test_an_alarm_says_who_where_and_what(simulator: LocktSimulator, follow: Follow) -> None:
    follower = await follow(start_from="beginning")
    simulator.raise_event("access_denied", controller="BEST Switchâ„¢ API", location="GrÃ¼nerlÃ¸kka")
    (alarm,) = await follower.poll()
    assert alarm.description == "Access Denied (Battery Missing): Room 1, Grünerløkka; Doe, Jo, card 1000"
    assert (alarm.device, alarm.device_name) == ("166", "Room 1")
    assert alarm.raw == simulator.site.events[0]


@pytest.mark.parametrize("zones", [{"166": 3}, {"Room 1": 3}])
async def test_zones_know_a_door_by_id_or_by_name(
    simulator: LocktSimulator, follow: Follow, zones: dict[str, int]
) -> None:
    follower = await follow(start_from="beginning", zones=zones, account="9998")
    simulator.raise_event()
    (alarm,) = await follower.poll()
    assert follower.source._settings.place_of(alarm.device) == ("9998", 3)


async def test_doors_that_cannot_be_listed_hold_no_alarm_back(simulator: LocktSimulator, follow: Follow) -> None:
    follower = await follow(start_from="beginning")
    simulator.laboratory.inject(Ill.STATUS, path="/api/v1/door", status=500)
    event = simulator.raise_event()
    (alarm,) = await follower.poll()
    assert (alarm.native_id, alarm.device) == (event, "Room 1")


async def test_local_times_are_read_in_the_sites_zone(simulator: LocktSimulator, follow: Follow) -> None:
    moment = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
    simulator.site.now = lambda: moment
    simulator.site.local_times = True
    follower = await follow(start_from="beginning")
    simulator.raise_event()
    assert simulator.site.events[0]["hw_time"] == "2026-07-01 14:00:00"
    assert [alarm.occurred_at for alarm in await follower.poll()] == [moment]


async def test_times_without_a_known_zone_hold_no_alarm_back(simulator: LocktSimulator, follow: Follow) -> None:
    simulator.site.local_times = True
    simulator.laboratory.inject(Ill.STATUS, path="/api/v1/time", status=500)
    follower = await follow(start_from="beginning")
    event = simulator.raise_event()
    assert await follower.ids() == [event]


@pytest.mark.parametrize("name", ["hw_time", "event_time"])
async def test_either_name_of_the_events_time(simulator: LocktSimulator, follow: Follow, name: str) -> None:
    simulator.site.event_time_name = name
    follower = await follow(start_from="beginning")
    simulator.raise_event("late")
    (alarm,) = await follower.poll()
    assert "late" in alarm.description


async def test_an_event_with_broken_values_is_still_an_event(simulator: LocktSimulator, follow: Follow) -> None:
    follower = await follow(start_from="beginning")
    event = simulator.raise_event(
        code="x", text=None, device=["?"], subcode={}, hw_time="yesterday", db_time=7, user=None, card_num=3.5
    )
    (alarm,) = await follower.poll()
    assert (alarm.native_id, alarm.kind, alarm.device) == (event, Kind.OTHER, "")
    assert abs(alarm.occurred_at - datetime.now(UTC)) < timedelta(minutes=5)


# Batteries


async def test_a_low_battery_is_one_alarm_and_one_restoral(simulator: LocktSimulator, follow: Follow) -> None:
    follower = await follow(low_battery=20)
    await follower.poll()
    for level in (21, 20, 12, 24, 19, 12):
        simulator.set_battery(187, level)
        await follower.poll()
    (onset,) = follower.alarms
    assert (onset.kind, onset.restoral, onset.device) == (Kind.LOW_BATTERY, False, "187")
    assert onset.description == "Room 3: battery low, 20 %"
    simulator.set_battery(187, 100)
    (restoral,) = await follower.poll()
    assert (restoral.kind, restoral.restoral, restoral.device) == (Kind.LOW_BATTERY, True, "187")
    simulator.set_battery(187, 3)
    (again,) = await follower.poll()
    assert len({alarm.native_id for alarm in (onset, restoral, again)}) == 3


async def test_a_battery_that_cannot_be_read_is_no_restoral(simulator: LocktSimulator, follow: Follow) -> None:
    follower = await follow()
    simulator.set_battery(187, 5)
    assert len(await follower.poll()) == 1
    for level in (None, "", "n/a", -1, 101, {}):
        simulator.set_battery(187, level)
        simulator.set_battery(446, level)
        assert await follower.poll() == []
    del simulator.site.batteries[187]
    assert await follower.poll() == []
    simulator.site.batteries.clear()
    assert await follower.poll() == []
    simulator.set_battery(187, 5)
    assert await follower.poll() == []


async def test_a_restoral_after_a_restart_of_the_agent(simulator: LocktSimulator, follow: Follow) -> None:
    first = await follow()
    simulator.set_battery(187, 5)
    await first.poll()
    simulator.set_battery(187, 95)
    second = await follow(position=first.position)
    assert [alarm.restoral for alarm in await second.poll()] == [True]


async def test_low_battery_zero_is_never(simulator: LocktSimulator, follow: Follow) -> None:
    follower = await follow(low_battery=0)
    simulator.set_battery(187, 0)
    assert await follower.poll() == []
    assert simulator.laboratory.count("GET /api/v1/doorstate") == 0


@pytest.mark.parametrize("ill", [Ill.STATUS, Ill.HTML, Ill.WRONG_JSON, Ill.STALL])
async def test_batteries_that_cannot_be_read_make_no_fault(
    simulator: LocktSimulator, follow: Follow, ill: Ill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.vendors.lockt.source.SIDE_TIMEOUT_S", 0.3 if ill is Ill.STALL else 20)
    follower = await follow()
    simulator.laboratory.inject(ill, path="/api/v1/doorstate")
    assert await follower.poll() == []
    event = simulator.raise_event()
    assert await follower.ids() == [event]


# Faults


async def test_too_many_requests(simulator: LocktSimulator, follow: Follow) -> None:
    follower = await follow()
    await follower.poll()
    before = follower.position
    simulator.laboratory.inject(Ill.STATUS, path="/api/v1/events", status=429, retry_after_s=77)
    with pytest.raises(Fault) as caught:
        await follower.poll()
    assert caught.value.retry_after_s == 77
    assert follower.position == before


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_failing_cloud_moves_no_mark(simulator: LocktSimulator, follow: Follow, status: int) -> None:
    follower = await follow()
    simulator.raise_event()
    await follower.poll()
    simulator.laboratory.inject(Ill.HTML, path="/api/v1/events", status=status)
    event = simulator.raise_event()
    with pytest.raises(Fault) as caught:
        await follower.poll()
    assert caught.value.fault_class in (FaultClass.REFUSED, FaultClass.PROTOCOL)
    simulator.laboratory.clear()
    assert await follower.ids() == [event]


async def test_announced_maintenance_is_named_and_waited_for(simulator: LocktSimulator, follow: Follow) -> None:
    follower = await follow()
    await follower.poll()
    simulator.begin_maintenance(120)
    with pytest.raises(Fault) as caught:
        await follower.poll()
    assert "maintenance until" in str(caught.value)
    assert caught.value.retry_after_s is not None and 30 < caught.value.retry_after_s <= 120
    simulator.end_maintenance()
    event = simulator.raise_event()
    assert await follower.ids() == [event]


async def test_a_wrong_key_is_an_authentication_fault_without_the_key(
    simulator: LocktSimulator, follow: Follow
) -> None:
    follower = await follow(api_key="another-secret")
    with pytest.raises(Fault) as caught:
        await follower.poll()
    assert caught.value.fault_class is FaultClass.AUTHENTICATION
    assert "another-secret" not in str(caught.value) and "api_key" in caught.value.hint


NO_ANSWERS = [
    b"",
    b"[]",
    b"null",
    b"{}",
    b'{"data": null}',
    b'{"data": "x"}',
    b'{"data": [1]}',
    b'{"data": [{"id": "x"}]}',
    b'{"data": [{"id": true}]}',
    b'{"data": [{"id": NaN}]}',
    b'{"data": [{"id": 1e999}]}',
    b'{"data": [{"id": ' + b"9" * 5000 + b"}]}",
    b'{"data": [{"id": 10000000000000000000000000}]}',
    b'{"data": [' + b"[" * 100_000,
    b'{"data": [{"id": 5, "user": ' + b'{"a":' * 60 + b"1" + b"}" * 60 + b"}]}",
    b"\xff\xfe\x00",
    b'{"data": {"error": "Something"}}',
    b'{"data": [{"error": "Something"}]}',
    b'{"result": ["Something"], "errors": []}',
]


@pytest.mark.parametrize("body", NO_ANSWERS, ids=range(len(NO_ANSWERS)))
async def test_garbage_is_a_fault_and_never_all_clear(simulator: LocktSimulator, follow: Follow, body: bytes) -> None:
    follower = await follow()
    simulator.raise_event()
    await follower.poll()
    simulator.laboratory.inject(Ill.STATUS, path="/api/v1/events", status=200, body=body)
    with pytest.raises(Fault) as caught:
        await follower.poll()
    assert caught.value.fault_class in (FaultClass.PROTOCOL, FaultClass.REJECTED)


async def test_half_a_surrogate_pair_can_be_stored(simulator: LocktSimulator, follow: Follow) -> None:
    follower = await follow(start_from="beginning")
    body = b'{"data": [{"id": 5, "code": 49, "code_text": "a\\ud800b\\u0000c", "x\\udc00": "\\udfff"}]}'
    simulator.laboratory.inject(Ill.STATUS, path="/api/v1/events", status=200, body=body)
    (alarm,) = await follower.poll()
    repr(alarm.raw).encode()
    alarm.description.encode()
    assert "\x00" not in alarm.description


# Actions and lists


async def test_a_wired_door_is_unlocked(simulator: LocktSimulator, follow: Follow) -> None:
    source: LocktSource = (await follow()).source
    assert isinstance(source, Acting) and isinstance(source, Probing) and isinstance(source, Listing)
    assert await source.act("unlock", "12345") == "Gate 1 is unlocked for a moment."


async def test_a_door_that_stays_locked_is_refused_in_the_vendors_words(
    simulator: LocktSimulator, follow: Follow
) -> None:
    """The answer is 200 all the same: the success of the call is not that of the action."""
    source = (await follow()).source
    simulator.site.offline_doors.add(12345)
    with pytest.raises(Refused, match="Controller may be offline"):
        await source.act("unlock", "12345")


@pytest.mark.parametrize("row", [b"{}", b'{"status": "unlocked"}', b'{"unlocked": "yes"}', b'{"unlocked": null}'])
async def test_only_unlocked_true_is_success(simulator: LocktSimulator, follow: Follow, row: bytes) -> None:
    source = (await follow()).source
    body = b'{"data": [' + row.replace(b"{", b'{"id": 12345, ').replace(b", }", b"}") + b"]}"
    simulator.laboratory.inject(Ill.STATUS, path="/api/v1/unlock", status=200, body=body)
    with pytest.raises(Refused):
        await source.act("unlock", "12345")


async def test_an_answer_about_another_door_is_no_success(simulator: LocktSimulator, follow: Follow) -> None:
    source = (await follow()).source
    body = b'{"data": [{"id": 1, "unlocked": true}]}'
    simulator.laboratory.inject(Ill.STATUS, path="/api/v1/unlock", status=200, body=body)
    with pytest.raises(Fault):
        await source.act("unlock", "12345")


@pytest.mark.parametrize("target", ["", " ", "999", "Gate 1", "12345,12345", "١٢"])
async def test_an_unknown_door(simulator: LocktSimulator, follow: Follow, target: str) -> None:
    source = (await follow()).source
    with pytest.raises(UnknownTarget):
        await source.act("unlock", target)


async def test_an_unknown_action(follow: Follow) -> None:
    with pytest.raises(UnknownAction):
        await (await follow()).source.act("arm", "12345")


async def test_devices(simulator: LocktSimulator, follow: Follow) -> None:
    devices = {device.id: device for device in await (await follow()).source.devices()}
    assert (devices["166"].kind, devices["166"].name, devices["166"].state) == ("door", "Room 1", "battery 64 %")
    assert devices["12345"].state == ""


async def test_probe(simulator: LocktSimulator, follow: Follow) -> None:
    assert await (await follow()).source.probe() == "Lockt SecureAccess API 1.1.0 answers for a site of 9 doors."


async def test_probe_of_a_closed_port(simulator: LocktSimulator, follow: Follow) -> None:
    source = (await follow()).source
    simulator.laboratory.close_port()
    with pytest.raises(Fault) as caught:
        await source.probe()
    assert caught.value.fault_class is FaultClass.REFUSED


async def test_the_schedule_raises_every_kind(simulator: LocktSimulator, follow: Follow, nursery: trio.Nursery) -> None:
    follower = await follow()
    await follower.poll()
    nursery.start_soon(simulator.schedule, 0.2)
    wanted = {Kind.ACCESS_DENIED, Kind.ACCESS_GRANTED, Kind.LOW_BATTERY, Kind.OTHER}
    with trio.fail_after(30):
        while not wanted <= {alarm.kind for alarm in follower.alarms}:
            await follower.poll()
            await trio.sleep(0.05)
    assert any(alarm.restoral for alarm in follower.alarms)
