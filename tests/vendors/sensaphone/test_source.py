"""Levels told as happenings: each once, and nothing taken for "all clear" that is not."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import trio

from agent.alarms.model import Acting, Kind, Listing, Probing, instant
from agent.faults import Fault, FaultClass, Refused, UnknownAction, UnknownTarget
from agent.vendors.lab import Ill
from agent.vendors.sensaphone.conditions import now_utc
from agent.vendors.sensaphone.simulator import HIGH, LOW, TROUBLE, SensaphoneSimulator
from agent.vendors.sensaphone.source import SensaphoneSource

FREEZER, COLD_ROOM, MAINS, BATTERY = 112233, 112234, 112235, 112236
ONSET = (str(FREEZER), "environment", False)
RESTORAL = (str(FREEZER), "environment", True)


async def test_an_alarm_and_its_end_are_one_row_each(simulator: SensaphoneSimulator, site: Any) -> None:
    simulator.alarm(FREEZER, HIGH, value="9.8")
    (alarm,) = await site.poll()
    assert (alarm.device, alarm.kind, alarm.restoral) == (str(FREEZER), Kind.ENVIRONMENT, False)
    assert alarm.description == "My Device: Freezer: high, 9.8 C"
    assert alarm.raw["device_id"] == 1234 and [zone["zone_id"] for zone in alarm.raw["zone"]] == [FREEZER]
    assert await site.poll() == []
    simulator.normal(FREEZER, value="4.0")
    (end,) = await site.poll()
    assert (end.device, end.kind, end.restoral) == (str(FREEZER), Kind.ENVIRONMENT, True)
    assert "normal again" in end.description and "4.0 C" in end.description
    assert end.native_id != alarm.native_id
    assert await site.poll() == []


async def test_each_row_has_an_id_of_its_own(simulator: SensaphoneSimulator, site: Any) -> None:
    ids: list[str] = []
    for _ in range(3):
        simulator.alarm(FREEZER)
        ids += [alarm.native_id for alarm in await site.poll()]
        simulator.normal(FREEZER)
        ids += [alarm.native_id for alarm in await site.poll()]
    assert len(ids) == len(set(ids)) == 6


async def test_a_restart_repeats_nothing_and_misses_nothing(
    simulator: SensaphoneSimulator, site: Any, new_source: Callable[..., SensaphoneSource]
) -> None:
    simulator.alarm(FREEZER)
    simulator.alarm(COLD_ROOM)
    assert len(await site.poll()) == 2
    site.source = new_source()
    assert await site.poll() == []
    simulator.normal(FREEZER)
    simulator.alarm(MAINS)
    site.source = new_source()
    assert await site.rows() == [(str(MAINS), "power", False), RESTORAL]


async def test_a_poll_that_was_not_journalled_is_repeated(simulator: SensaphoneSimulator, site: Any) -> None:
    simulator.alarm(FREEZER)
    before = site.position
    assert await site.rows() == [ONSET]
    site.position = before
    assert await site.rows() == [ONSET]


async def test_acknowledged_is_not_restored(simulator: SensaphoneSimulator, site: Any) -> None:
    simulator.alarm(FREEZER)
    assert await site.rows() == [ONSET]
    simulator.acknowledge(FREEZER)
    assert await site.rows() == []
    simulator.normal(FREEZER)
    assert await site.rows() == [RESTORAL]


async def test_raised_again_after_an_acknowledgement_is_a_new_row(simulator: SensaphoneSimulator, site: Any) -> None:
    simulator.alarm(FREEZER)
    await site.poll()
    simulator.acknowledge(FREEZER)
    await site.poll()
    simulator.alarm(FREEZER)
    assert await site.rows() == [ONSET]
    assert await site.rows() == []
    simulator.normal(FREEZER)
    assert await site.rows() == [RESTORAL]


async def test_worse_is_a_new_row_and_better_is_none(simulator: SensaphoneSimulator, site: Any) -> None:
    simulator.alarm(FREEZER, LOW)
    await site.poll()
    simulator.alarm(FREEZER, HIGH)
    assert await site.rows() == [ONSET]
    simulator.alarm(FREEZER, HIGH, LOW)
    assert await site.rows() == [ONSET]
    simulator.alarm(FREEZER, LOW)
    assert await site.rows() == []
    simulator.normal(FREEZER)
    assert await site.rows() == [RESTORAL]


async def test_an_ok_among_the_unacknowledged_is_no_alarm(simulator: SensaphoneSimulator, site: Any) -> None:
    simulator.alarm(FREEZER)
    zone = simulator.zone(FREEZER)["alarm_zone"]
    await site.poll()
    zone.update(alarm_status=[LOW, 17], unack_alarms=[2])
    await site.poll()
    zone.update(alarm_status=[LOW], unack_alarms=[2])
    assert await site.rows() == []
    simulator.alarm(FREEZER)  # it was acknowledged all the while, so this is raised again
    assert await site.rows() == [ONSET]


async def test_returned_to_normal_while_listed_is_a_restoral(simulator: SensaphoneSimulator, site: Any) -> None:
    simulator.alarm(FREEZER)
    await site.poll()
    simulator.zone(FREEZER)["alarm_zone"].update(alarm_status=[2, 18])  # an operator has not seen to it yet
    assert await site.rows() == [RESTORAL]
    assert await site.rows() == []


@pytest.mark.parametrize(("zone", "kind"), [(MAINS, "power"), (BATTERY, "low_battery"), (COLD_ROOM, "environment")])
async def test_the_kind_follows_the_zones_type(simulator: SensaphoneSimulator, site: Any, zone: int, kind: str) -> None:
    simulator.alarm(zone, LOW)
    assert await site.rows() == [(str(zone), kind, False)]


async def test_mains_and_battery_of_a_unit_without_such_zones(simulator: SensaphoneSimulator, site: Any) -> None:
    pump_house = simulator.device(1235)
    pump_house.update(power_status="Off", battery_status="Low")
    assert await site.rows() == [("1235", "power", False), ("1235", "low_battery", False)]
    assert await site.rows() == []
    pump_house.update(power_status="", battery_status=None)  # not read
    assert await site.rows() == []
    pump_house.update(power_status="On", battery_status="OK")
    assert await site.rows() == [("1235", "power", True), ("1235", "low_battery", True)]


async def test_an_offline_unit_is_an_alarm_and_freezes_its_zones(simulator: SensaphoneSimulator, site: Any) -> None:
    simulator.alarm(FREEZER)
    simulator.alarm(112240)
    await site.poll()
    simulator.set_online(1234, False)
    (offline,) = await site.poll()
    assert (offline.device, offline.kind, offline.restoral) == ("1234", Kind.SYSTEM, False)
    assert offline.description == "My Device: offline"
    simulator.normal(FREEZER)
    simulator.alarm(COLD_ROOM)
    assert await site.poll() == []
    simulator.set_online(1234, True)
    assert await site.rows() == [("1234", "system", True), (str(COLD_ROOM), "environment", False), RESTORAL]


async def test_an_outage_between_two_polls_is_noticed(simulator: SensaphoneSimulator, site: Any) -> None:
    simulator.set_online(1235, False)
    simulator.set_online(1235, True)
    assert await site.rows() == [("1235", "system", False), ("1235", "system", True)]
    assert await site.rows() == []


async def test_a_sensor_that_fails_is_no_restoral(simulator: SensaphoneSimulator, site: Any) -> None:
    simulator.alarm(FREEZER)
    await site.poll()
    simulator.alarm(FREEZER, TROUBLE)
    assert await site.rows() == [(str(FREEZER), "system", False)]
    simulator.alarm(FREEZER, LOW)
    assert await site.rows() == [(str(FREEZER), "system", True)]
    simulator.normal(FREEZER)
    assert await site.rows() == [RESTORAL]


async def test_a_zone_that_vanishes_unread_stays(simulator: SensaphoneSimulator, site: Any) -> None:
    simulator.alarm(FREEZER)
    await site.poll()
    simulator.hide_zones = True
    assert await site.poll() == []  # the device itself says the zone is low
    simulator.normal(FREEZER)
    simulator.refuse(8)
    with pytest.raises(Fault):
        await site.poll()
    simulator.zone(FREEZER)["alarm_zone"] = {}
    simulator.zone(FREEZER)["value"] = None
    assert await site.poll() == []  # it says nothing of the zone
    simulator.zone(FREEZER)["value"] = "4.0"
    assert await site.rows() == [RESTORAL]


async def test_a_zone_whose_device_cannot_be_read_stays(simulator: SensaphoneSimulator, site: Any) -> None:
    simulator.alarm(FREEZER)
    await site.poll()
    simulator.normal(FREEZER)
    simulator.laboratory.inject(Ill.HTML, path="/api/v1/device", status=500)
    assert await site.poll() == []
    simulator.laboratory.clear()
    assert await site.rows() == [RESTORAL]


async def test_a_user_who_may_only_see_the_dashboard_gets_restorals_too(
    simulator: SensaphoneSimulator, site: Any
) -> None:
    simulator.alarm(FREEZER)
    await site.poll()
    simulator.normal(FREEZER)
    simulator.laboratory.inject(
        Ill.WRONG_JSON,
        path="/api/v1/device",
        body=b'{"result": {"success": false, "code": 7, "message": "Failed"}, "response": {}}',
    )
    assert await site.rows() == [RESTORAL]


async def test_failures_of_properties_end_nothing(simulator: SensaphoneSimulator, site: Any) -> None:
    simulator.alarm(FREEZER)
    await site.poll()
    simulator.normal(FREEZER)
    simulator.failing["dashboard"] = {"dashboard": {"device": {"success": False, "message": "Failed", "code": 9}}}
    assert await site.poll() == []
    simulator.failing.clear()
    assert await site.rows() == [RESTORAL]


@pytest.mark.parametrize(
    "dashboard",
    [
        None,
        {},
        [],
        {"device": None},
        {"device": []},
        {"device": [None]},
        {"device": {}},
        "x",
        {"device": [{"device_id": 1234, "is_online": None}]},
        {"device": [{"device_id": 1234, "is_online": True, "zone": None}]},
        {"device": [{"device_id": 1234, "is_online": True, "zone": [{}, None, {"alarm_zone": 7}]}]},
        {"device": [{"device_id": {}, "is_online": "?", "zone": {"zone_id": []}}]},
    ],
)
async def test_broken_dashboards_are_not_all_clear(simulator: SensaphoneSimulator, site: Any, dashboard: Any) -> None:
    simulator.alarm(FREEZER)
    await site.poll()
    simulator.broken["dashboard"] = dashboard
    try:
        assert await site.poll() == []
    except Fault as fault:
        assert fault.fault_class is FaultClass.PROTOCOL
    simulator.broken.clear()
    assert await site.rows() == []
    simulator.normal(FREEZER)
    assert await site.rows() == [RESTORAL]


async def test_an_account_that_shows_no_device_any_more_says_so(simulator: SensaphoneSimulator, site: Any) -> None:
    simulator.broken["dashboard"] = {"device": []}
    with pytest.raises(Fault, match="shows no device"):
        await site.poll()


async def test_a_device_that_leaves_the_dashboard_keeps_its_alarms(simulator: SensaphoneSimulator, site: Any) -> None:
    simulator.alarm(FREEZER)
    await site.poll()
    gone = simulator.tree["device"].pop(0)
    assert await site.poll() == []
    simulator.tree["device"].insert(0, gone)
    assert await site.poll() == []


@pytest.mark.parametrize("listed", [True, False])
async def test_a_zone_known_by_its_other_name_is_the_same_zone(
    simulator: SensaphoneSimulator, new_source: Callable[..., SensaphoneSource], site: Any, listed: bool
) -> None:
    if not listed:  # nothing but the dashboard can be read, so the id is learnt with the second reading
        simulator.laboratory.inject(Ill.HTML, path="/api/v1/device", status=404)
        site.source = new_source()
    simulator.alarm(FREEZER)
    simulator.broken["dashboard"] = {
        "device": [
            {
                "device_id": "1234",
                "is_online": "true",
                "zone": [{"canonical_name": "zone1", "value": "9", "alarm_zone": {"alarm_condition": ["7"]}}],
            }
        ]
    }
    assert await site.rows() == [ONSET if listed else ("zone1", "environment", False)]
    simulator.broken.clear()
    assert await site.rows() == []


async def test_v2_answers_and_unknown_states_do(simulator: SensaphoneSimulator, site: Any) -> None:
    simulator.answer_version = "v2"
    simulator.alarm(FREEZER, 42)
    (alarm,) = await site.poll()
    assert (alarm.device, "state 42" in alarm.description) == (str(FREEZER), True)
    simulator.normal(FREEZER)
    assert await site.rows() == [RESTORAL]


async def test_v3_answers_are_not_all_clear(simulator: SensaphoneSimulator, site: Any) -> None:
    simulator.alarm(FREEZER)
    await site.poll()
    simulator.answer_version = "v3"
    simulator.normal(FREEZER)
    assert await site.poll() == []


async def test_a_session_that_ends_between_polls_loses_nothing(simulator: SensaphoneSimulator, site: Any) -> None:
    simulator.expire_sessions()
    simulator.alarm(FREEZER)
    assert await site.rows() == [ONSET]


async def test_what_stands_at_the_first_reading(
    simulator: SensaphoneSimulator, new_source: Callable[..., SensaphoneSource]
) -> None:
    simulator.alarm(FREEZER)
    past, future = (instant(now_utc() + timedelta(hours=hours)) for hours in (-1, 1))
    for start, count in (("now", 0), ("beginning", 1), (past, 1), (future, 0)):
        poll = await new_source(start_from=start).poll(None)
        assert len(poll.alarms) == count, start
    # An end without a beginning would puzzle; what worsens is reported from then on.
    source = new_source(start_from="now")
    first = await source.poll(None)
    simulator.alarm(FREEZER, HIGH)
    second = await source.poll(first.position)
    assert [alarm.restoral for alarm in second.alarms] == [False]
    simulator.normal(FREEZER)
    assert list((await source.poll(first.position)).alarms) == []
    assert [alarm.restoral for alarm in (await source.poll(second.position)).alarms] == [True]


async def test_a_stalled_device_list_does_not_hold_an_alarm_back(
    simulator: SensaphoneSimulator, new_source: Callable[..., SensaphoneSource]
) -> None:
    source = new_source(timeout_s=60, state_interval_s=0.000001)
    position = (await source.poll(None)).position
    simulator.laboratory.inject(Ill.STALL, path="/api/v1/device")
    simulator.alarm(FREEZER)
    with trio.fail_after(20):
        assert len((await source.poll(position)).alarms) == 1


async def test_acknowledging_an_offline_unit(simulator: SensaphoneSimulator, site: Any) -> None:
    assert isinstance(site.source, Acting) and isinstance(site.source, Probing) and isinstance(site.source, Listing)
    with pytest.raises(Refused, match="online"):
        await site.source.act("acknowledge", "1235")
    simulator.set_online(1235, False)
    (alarm,) = await site.poll()
    assert "acknowledged" in await site.source.act("acknowledge", alarm.native_id, alarm.raw)
    assert simulator.device(1235)["is_offline_unack"] is False
    assert "already" in await site.source.act("acknowledge", "1235")
    assert await site.poll() == []
    for target in ("4711", "x"):
        with pytest.raises(UnknownTarget):
            await site.source.act("acknowledge", target)
    with pytest.raises(UnknownAction):
        await site.source.act("unlock", "1235")


async def test_an_acknowledgement_that_fails_is_not_called_done(simulator: SensaphoneSimulator, site: Any) -> None:
    simulator.set_online(1235, False)
    await site.poll()
    failed = {"success": False, "message": "Not for you", "code": 12}
    simulator.broken["device"] = []  # nothing is done from here on
    simulator.failing["device"] = {"device": [{"device_id": 1235, "ack_offline_alarm": failed}]}
    with pytest.raises(Refused, match="Not for you"):
        await site.source.act("acknowledge", "1235")
    simulator.failing.clear()
    with pytest.raises(Refused, match="still shows"):
        await site.source.act("acknowledge", "1235")


async def test_a_zones_alarm_cannot_be_acknowledged(simulator: SensaphoneSimulator, site: Any) -> None:
    simulator.alarm(FREEZER)
    (alarm,) = await site.poll()
    with pytest.raises(Refused, match="no way"):
        await site.source.act("acknowledge", alarm.native_id, alarm.raw)
    with pytest.raises(Refused, match="zone"):
        await site.source.act("acknowledge", str(FREEZER))


async def test_probe_and_devices(simulator: SensaphoneSimulator, site: Any) -> None:
    simulator.alarm(FREEZER)
    simulator.set_online(1235, False)
    assert await site.source.probe() == "Logged in; 2 devices (1 offline), 1 zones in alarm."
    listed = {device.id: device for device in await site.source.devices()}
    assert (listed["1235"].kind, listed["1235"].state) == ("device", "offline")
    assert (listed["112234"].kind, listed["112234"].name) == ("zone", "My Device: Cold room")
    assert listed["112234"].state == "4.1 C"


async def test_the_simulators_own_events_are_rows(simulator: SensaphoneSimulator, site: Any) -> None:
    raised = [simulator.raise_event(kind) for kind in simulator.kinds for _ in range(3)]
    assert len(set(raised)) == len(raised) == len(await site.poll())
    for each in raised:
        simulator.end_event(each)
    assert all(alarm.restoral for alarm in await site.poll())
