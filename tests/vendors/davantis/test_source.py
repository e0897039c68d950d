"""The source against the simulator, oddities and all."""

from datetime import UTC, datetime, timedelta

import pytest
import trio

from agent.alarms.model import Acting, Evidence, Filming, Kind, Listing, Media, Probing, instant
from agent.faults import Fault, FaultClass, Refused, UnknownAction, UnknownTarget
from agent.vendors.lab import Ill


def kinds(alarms) -> list[Kind]:
    return [alarm.kind for alarm in alarms]


def ids(alarms) -> list[str]:
    return [alarm.native_id for alarm in alarms]


class Clock:
    """Monotonic seconds that move when told."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


async def test_it_offers_every_seam(source_of):
    source = source_of()
    assert isinstance(source, Probing)
    assert isinstance(source, Acting)
    assert isinstance(source, Listing)
    assert isinstance(source, Filming)


async def test_an_alarm_in_full(simulator, source_of, caught_up):
    source = source_of()
    _, position = await caught_up(source)
    number = simulator.raise_event("person", camera=3)
    ((alarm,), position) = await caught_up(source, position)
    truth = simulator.device.alarms[0]
    assert (alarm.native_id, alarm.kind, alarm.device, alarm.device_name) == (number, Kind.PERSON, "3", "Car park")
    assert alarm.occurred_at == truth.started
    assert (alarm.armed, alarm.snapshot, alarm.video) == (True, Evidence.RECORDING, Evidence.RECORDING)
    assert alarm.epoch == "SIM0000001"
    assert alarm.raw["idmachine"] == "SIM0000001"
    assert alarm.description == "Person detected"
    assert await caught_up(source, position) == ([], position)


async def test_an_idle_poll_is_one_request(simulator, source_of, caught_up):
    source = source_of()
    simulator.raise_event()
    _, position = await caught_up(source)
    await caught_up(source, position)
    before = len(simulator.laboratory.requests)
    for _ in range(10):
        await source.poll(position)
    assert list(simulator.laboratory.requests)[before:] == ["GET /alarms?min_id=20001"] * 10


# --- where it starts ---------------------------------------------------------------------------------------------


async def test_now_leaves_history_alone(simulator, source_of, caught_up):
    simulator.raise_event()
    assert (await caught_up(source_of()))[0] == []


async def test_now_at_an_empty_site_misses_nothing(simulator, source_of, caught_up):
    source = source_of()
    _, position = await caught_up(source)
    first = simulator.raise_event()
    assert ids((await caught_up(source, position))[0]) == [first]


async def test_beginning_brings_everything(simulator, source_of, caught_up):
    raised = simulator.raise_backlog(350, over_s=3600)
    alarms, position = await caught_up(source_of(start_from="beginning"))
    assert ids(alarms) == raised
    assert position["mark"] == int(raised[-1])


async def test_an_instant_brings_what_came_after(simulator, source_of, caught_up):
    raised = simulator.raise_backlog(100, over_s=1000)
    since = simulator.device.alarms[60].started
    alarms, _ = await caught_up(source_of(start_from=instant(since)))
    assert ids(alarms) == raised[60:]


async def test_an_instant_after_everything_waits_for_the_next(simulator, source_of, caught_up):
    simulator.raise_backlog(10, over_s=1000)
    source = source_of(start_from=instant(datetime.now(UTC) + timedelta(hours=1)))
    alarms, position = await caught_up(source)
    assert alarms == []
    number = simulator.raise_event()
    assert ids((await caught_up(source, position))[0]) == [number]


# --- armed, disarmed, system -------------------------------------------------------------------------------------


async def test_armed_only_still_brings_the_system(simulator, source_of, caught_up):
    source = source_of()
    _, position = await caught_up(source)
    simulator.raise_event("person", camera=1, armed=False)
    expected = [
        simulator.raise_event("intrusion", camera=1),
        simulator.raise_event("tamper", camera=2, armed=False),
        simulator.raise_event("camera_lost", camera=2, armed=False),
        simulator.raise_event("disarmed", armed=False),
        simulator.raise_event("never_heard_of", camera=2, armed=False),
        simulator.raise_event("camera_restored", camera=2, armed=False),
        simulator.raise_event("system", armed=False),
    ]
    simulator.raise_event("vehicle", camera=1, armed=False)
    alarms, _ = await caught_up(source, position)
    assert ids(alarms) == expected
    assert kinds(alarms) == [
        Kind.INTRUSION,
        Kind.TAMPER,
        Kind.CAMERA_LOST,
        Kind.DISARMED,
        Kind.OTHER,
        Kind.CAMERA_RESTORED,
        Kind.SYSTEM,
    ]
    assert [alarm.armed for alarm in alarms] == [True, None, None, None, None, None, None]


async def test_disarmed_alarms_on_wish(simulator, source_of, caught_up):
    source = source_of(armed_only=False)
    _, position = await caught_up(source)
    simulator.raise_event("person", armed=False)
    simulator.raise_event("person", armed=True)
    alarms, _ = await caught_up(source, position)
    assert [alarm.armed for alarm in alarms] == [False, True]


async def test_without_system_events(simulator, source_of, caught_up):
    source = source_of(system_events=False)
    _, position = await caught_up(source)
    simulator.raise_event("disarmed")
    simulator.raise_event("tamper", camera=1)
    number = simulator.raise_event("person", camera=1)
    assert ids((await caught_up(source, position))[0]) == [number]


# --- backlog -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("order", ["id", "time"])
async def test_a_long_outage(simulator, source_of, caught_up, inclusive, order):
    simulator.quirks.inclusive_min_id, simulator.quirks.order = inclusive, order
    simulator.raise_event(started=datetime.now(UTC) - timedelta(days=2))
    source = source_of()
    _, position = await caught_up(source)
    raised = simulator.raise_backlog(2500, over_s=86400)
    alarms, _ = await caught_up(source, position)
    assert ids(alarms) == raised
    assert all(alarm.armed for alarm in alarms)


async def test_a_backlog_that_takes_long_does_not_hold_a_poll(simulator, source_of, caught_up):
    clock = Clock()
    source = source_of(clock=clock)
    simulator.raise_event(started=datetime.now(UTC) - timedelta(days=2))
    _, position = await caught_up(source)
    raised = simulator.raise_backlog(700, over_s=86400)
    real, requests = source.client.alarms, []

    async def slow(wanted=None):
        clock.seconds += 1.5
        requests.append(wanted)
        return await real(wanted)

    source.client.alarms = slow
    alarms, longest = [], 0
    with trio.fail_after(60):
        while True:
            before = len(requests)
            poll = await source.poll(position)
            longest = max(longest, len(requests) - before)
            if poll.more and not poll.alarms:
                assert poll.position == position  # the mark moves with the alarms only
            alarms, position = alarms + list(poll.alarms), poll.position
            if not poll.more:
                break
    assert ids(alarms) == raised
    assert longest <= 3


async def test_what_the_device_cannot_list_is_said(simulator, source_of, caught_up):
    simulator.quirks.cap = 30
    source = source_of()
    _, position = await caught_up(source)
    moment = datetime.now(UTC)
    for _ in range(50):
        simulator.raise_event("person", camera=2, started=moment)
    alarms, position = await caught_up(source, position)
    said = [alarm for alarm in alarms if alarm.kind is Kind.SYSTEM]
    assert len(said) == 1
    assert "missing" in said[0].description
    assert len(alarms) == 31
    assert await caught_up(source, position) == ([], position)


async def test_zoneless_instants_are_local(simulator, source_of, caught_up):
    simulator.quirks.zoneless, simulator.quirks.utc_offset = True, timedelta(hours=5, minutes=30)
    source = source_of()
    _, position = await caught_up(source)
    moment = datetime.now(UTC).replace(microsecond=0)
    simulator.raise_event(started=moment)
    ((alarm,), _) = await caught_up(source, position)
    assert alarm.occurred_at == moment


async def test_broken_instants_and_names_hold_nothing_back(simulator, source_of, caught_up):
    simulator.laboratory.inject(Ill.HTML, path="/cameras", status=500)
    simulator.laboratory.inject(Ill.WRONG_JSON, path="/installation")
    source = source_of()
    _, position = await caught_up(source)
    body = b'[{"id": 30000, "idevent": 2, "idcamera": 1, "started": "yesterday"}]'
    simulator.laboratory.inject(Ill.WRONG_JSON, path="/alarms", body=body)
    ((alarm,), _) = await caught_up(source, position)
    assert abs(alarm.occurred_at - datetime.now(UTC)) < timedelta(minutes=5)
    assert alarm.device_name == ""


# --- numbering ---------------------------------------------------------------------------------------------------


async def test_a_running_source_notices_a_reset_after_a_while(simulator, source_of, caught_up):
    clock = Clock()
    source = source_of(clock=clock)
    simulator.raise_event()
    _, position = await caught_up(source)
    simulator.device.reset_ids()
    number = simulator.raise_event("person", camera=1)
    assert await caught_up(source, position) == ([], position)
    clock.seconds += 16
    alarms, position = await caught_up(source, position)
    assert kinds(alarms) == [Kind.SYSTEM, Kind.PERSON]
    assert alarms[1].native_id == number
    assert alarms[1].epoch == "SIM0000001#1"
    assert await caught_up(source, position) == ([], position)


async def test_another_unit_is_noticed_as_soon_as_it_answers(simulator, source_of, caught_up):
    source = source_of()
    simulator.raise_event()
    _, position = await caught_up(source)
    simulator.laboratory.close_port()
    with pytest.raises(Fault):
        await source.poll(position)
    simulator.laboratory.open_port()
    simulator.device.replace_unit("SIM0000002", first=90_000)
    simulator.raise_event(started=datetime.now(UTC) - timedelta(days=30))  # what the unit saw elsewhere
    number = simulator.raise_event("person", camera=1)
    alarms, position = await caught_up(source, position)
    assert kinds(alarms) == [Kind.SYSTEM, Kind.PERSON]
    assert "Another unit" in alarms[0].description
    assert (alarms[1].native_id, alarms[1].epoch) == (number, "SIM0000002#1")
    assert await caught_up(source, position) == ([], position)


async def test_a_unit_swapped_between_two_polls_is_noticed_by_its_rows(simulator, source_of, caught_up):
    source = source_of()
    simulator.raise_event()
    _, position = await caught_up(source)
    simulator.device.replace_unit("SIM0000002", first=90_000)
    simulator.raise_event("person", camera=1)
    alarms, _ = await caught_up(source, position)
    assert kinds(alarms) == [Kind.SYSTEM, Kind.PERSON]


async def test_two_machines_behind_one_address_are_no_replacement(simulator, source_of, caught_up):
    source = source_of()
    simulator.raise_event()
    _, position = await caught_up(source)
    for machine in ("B", "A", "B"):
        simulator.device.machine = machine
        simulator.raise_event("person", camera=1)
    alarms, _ = await caught_up(source, position)
    assert kinds(alarms) == [Kind.PERSON] * 3
    assert [alarm.epoch for alarm in alarms] == ["B", "A", "B"]


async def test_a_reset_during_an_outage_is_noticed_as_soon_as_it_ends(simulator, source_of, caught_up):
    source = source_of()
    simulator.raise_event()
    _, position = await caught_up(source)
    simulator.laboratory.close_port()
    with pytest.raises(Fault):
        await source.poll(position)
    simulator.device.reset_ids()
    number = simulator.raise_event("person", camera=1)
    simulator.laboratory.open_port()
    alarms, _ = await caught_up(source, position)
    assert kinds(alarms) == [Kind.SYSTEM, Kind.PERSON]
    assert alarms[1].native_id == number


async def test_another_units_history_stays_out_however_long(simulator, source_of, caught_up):
    simulator.quirks.cap = 30
    simulator.raise_event()
    _, position = await caught_up(source_of())
    simulator.device.replace_unit("SIM0000002")
    for number in range(50):
        simulator.raise_event(started=datetime.now(UTC) - timedelta(days=30, minutes=number))
    raised = [simulator.raise_event("person", started=datetime.now(UTC) + timedelta(seconds=n)) for n in range(40)]
    alarms, _ = await caught_up(source_of(), position)
    assert [alarm.native_id for alarm in alarms if alarm.kind is not Kind.SYSTEM] == raised


async def test_a_restored_backup_brings_the_new_and_not_the_old(simulator, source_of, caught_up):
    old = datetime.now(UTC) - timedelta(hours=1)
    for number in range(10):
        simulator.raise_event(started=old + timedelta(minutes=number))
    source = source_of()
    _, position = await caught_up(source)
    del simulator.device.alarms[5:]
    simulator.device.next_id -= 5
    number = simulator.raise_event("person", camera=1)
    source = source_of()
    alarms, _ = await caught_up(source, position)
    assert kinds(alarms) == [Kind.SYSTEM, Kind.PERSON]
    assert alarms[1].native_id == number


async def test_an_answer_without_alarms_is_no_restart(simulator, source_of, caught_up):
    simulator.raise_event()
    _, position = await caught_up(source_of())
    simulator.device.alarms.clear()
    assert await caught_up(source_of(), position) == ([], position)


# --- evidence ----------------------------------------------------------------------------------------------------


async def fetched(source, number: str, media: Media, generation: int = 0):
    async with source.media(number, media, f"SIM0000001#{generation}" if generation else "SIM0000001") as stream:
        return None if stream is None else (stream.content_type, b"".join([chunk async for chunk in stream.chunks]))


async def test_a_replaced_units_picture_is_never_shown_for_an_old_alarm(simulator, source_of, caught_up):
    source = source_of()
    _, position = await caught_up(source)
    number = simulator.raise_event("person", camera=1)
    [old], position = await caught_up(source, position)
    simulator.quirks.recording_s = 0
    assert await fetched(source, number, Media.SNAPSHOT) is not None
    simulator.device.replace_unit("SIM0000002")
    simulator.raise_event("person", camera=2)
    source._check_at = float("-inf")
    for _ in range(3):
        _, position = await caught_up(source, position)
    with pytest.raises(LookupError):
        async with source.media(number, Media.SNAPSHOT, old.epoch):
            pass


async def test_a_video_is_recording_then_ready(simulator, source_of, caught_up):
    source = source_of()
    _, position = await caught_up(source)
    number = simulator.raise_event("person")
    await caught_up(source, position)
    assert await fetched(source, number, Media.VIDEO) is None
    simulator.quirks.recording_s = 0
    kind, content = await fetched(source, number, Media.VIDEO)
    assert (kind, content[4:8]) == ("video/mp4", b"ftyp")
    kind, content = await fetched(source, number, Media.SNAPSHOT)
    assert (kind, content[:2]) == ("image/jpeg", b"\xff\xd8")


async def test_pictures_that_never_come(simulator, source_of, caught_up):
    source = source_of()
    number = simulator.raise_event("armed")
    for never in (number, "4711", "restart-1"):
        with pytest.raises(LookupError):
            await fetched(source, never, Media.SNAPSHOT)


async def test_pictures_that_never_come_under_a_pile_of_newer_alarms(simulator, source_of, caught_up):
    simulator.quirks.cap = 30
    source = source_of()
    _, position = await caught_up(source)
    number = simulator.raise_event("armed")
    await caught_up(source, position)
    for _ in range(40):
        simulator.raise_event(started=datetime.now(UTC) + timedelta(seconds=10))
    with pytest.raises(LookupError):
        await fetched(source, number, Media.SNAPSHOT)
    assert await fetched(source_of(), number, Media.SNAPSHOT) is None  # not to be told apart from a recording


async def test_live_pictures(source_of):
    source = source_of()
    async with source.live("1") as stream:
        assert await anext(stream.chunks)
    with pytest.raises(LookupError):
        async with source.live("9"):
            pass


# --- set-up and actions ------------------------------------------------------------------------------------------


async def test_probe_says_what_was_found(simulator, source_of):
    simulator.raise_event()
    said = await source_of().probe()
    for found in ("4 cameras", "Gate north", "SIM0000001", "UTC+01:00"):
        assert found in said


async def test_probe_with_a_wrong_password(source_of):
    with pytest.raises(Fault) as caught:
        await source_of(password="no").probe()
    assert caught.value.fault_class is FaultClass.AUTHENTICATION


async def test_devices(source_of):
    devices = await source_of().devices()
    assert [(device.kind, device.id, device.state) for device in devices] == [
        *[("camera", str(number), "") for number in (1, 2, 3, 4)],
        *[("input", str(number), "armed") for number in (1, 2)],
        *[("relay", str(number), "off") for number in (1, 2, 3)],
    ]


async def test_actions(simulator, source_of):
    source = source_of()
    assert "disarmed" in await source.act("disarm", "1")
    assert simulator.device.inputs[1] is False
    assert "armed" in await source.act("arm", "1")
    assert simulator.device.inputs[1] is True
    assert "light" in await source.act("relay_on", "1")
    assert simulator.device.relay_is_on(1)
    await source.act("relay_off", "1")
    assert not simulator.device.relay_is_on(1)


async def test_actions_that_are_turned_down(source_of):
    source = source_of()
    with pytest.raises(Refused, match="controlled by hardware"):
        await source.act("disarm", "2")
    with pytest.raises(UnknownTarget):
        await source.act("disarm", "7")
    with pytest.raises(UnknownTarget):
        await source.act("relay_on", "../inputs/1")
    with pytest.raises(UnknownAction):
        await source.act("unlock", "1")
