"""Every alarm once: whatever the server's order, page size and filters, and while the list shifts under the reader."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio

from agent.alarms.model import Acting, Kind, Listing, Probing, instant
from agent.faults import Fault, FaultClass, Refused, UnknownAction, UnknownTarget
from agent.vendors.lab import Ill
from agent.vendors.milestone import marker, place, source
from agent.vendors.milestone.kinds import kind_of
from agent.vendors.milestone.records import AlarmRecord
from agent.vendors.milestone.simulator import Filters, MilestoneSimulator, Order

NewSite = Callable[..., Any]
AN_HOUR_AGO = datetime.now(UTC) - timedelta(hours=1)


async def test_a_new_alarm_is_one_row(simulator: MilestoneSimulator, site: Any) -> None:
    made = simulator.raise_event("person", camera=2)
    (alarm,) = await site.poll()
    assert (alarm.native_id, alarm.kind, alarm.restoral, alarm.armed) == (made, Kind.PERSON, False, None)
    assert (alarm.device, alarm.device_name) == (simulator.cameras[1]["id"], "Yard")
    assert alarm.description == "Yard alarm: Person detected"
    assert instant(alarm.occurred_at)[:-1] == simulator.alarm(made)["time"][:23]  # three digits of seven
    assert alarm.raw == simulator.alarm(made)
    assert await site.poll() == []


async def test_an_idle_poll_is_one_request_and_moves_nothing(simulator: MilestoneSimulator, site: Any) -> None:
    simulator.raise_event()
    await site.poll()
    before, asked = site.position, len(simulator.laboratory.requests)
    await site.poll()
    assert site.position == before
    assert len(simulator.laboratory.requests) == asked + 1


async def test_an_operators_update_is_no_new_alarm(simulator: MilestoneSimulator, site: Any) -> None:
    made = simulator.raise_event()
    assert await site.ids() == [made]
    old = simulator.alarms[0]["id"]
    for alarm_id in (made, old):
        simulator.update(alarm_id, 4)
        assert await site.ids() == []
        simulator.update(alarm_id, 11)
        assert await site.ids() == []


async def test_an_alarm_handled_before_we_saw_it_still_counts(simulator: MilestoneSimulator, site: Any) -> None:
    made = [simulator.raise_event(level=4), simulator.raise_event(level=11)]
    assert await site.ids() == made


async def test_an_alarm_inserted_late_counts(simulator: MilestoneSimulator, site: Any) -> None:
    now = simulator.raise_event()
    assert await site.ids() == [now]
    late = simulator.raise_event(time=AN_HOUR_AGO)
    (alarm,) = await site.poll()
    assert alarm.native_id == late and alarm.occurred_at < datetime.now(UTC) - timedelta(minutes=50)


@pytest.mark.parametrize("lag_s", [0, 5])
async def test_what_lies_at_or_just_before_the_watermark_is_not_lost(
    simulator: MilestoneSimulator, site: Any, lag_s: int
) -> None:
    """The filter has `gt` only, and the clocks of recording servers differ."""
    now = datetime.now(UTC).replace(microsecond=0)
    await site.poll()  # the look further back that comes every few minutes
    first = simulator.raise_event()
    simulator.alarm(first)["lastUpdatedTime"] = instant(now)
    assert await site.ids() == [first]
    second = simulator.raise_event()
    simulator.alarm(second)["lastUpdatedTime"] = instant(now - timedelta(seconds=lag_s))
    assert await site.ids() == [second]


@pytest.mark.parametrize("filters", Filters)
@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("largest_page", [1000, 7])
async def test_a_backlog_beyond_one_page(
    simulator: MilestoneSimulator, new_site: NewSite, filters: Filters, order: Order, largest_page: int
) -> None:
    simulator.filters, simulator.order, simulator.largest_page = filters, order, largest_page
    old = [simulator.raise_event(time=AN_HOUR_AGO + timedelta(seconds=n)) for n in range(25)]
    site = new_site(page_size=10)
    assert await site.ids() == []
    for _ in range(2):
        made = [simulator.raise_event() for _ in range(33)]
        assert sorted(await site.ids()) == sorted(made)
        simulator.update(old[3], 11)
        assert await site.ids() == []


@pytest.mark.parametrize("filters", [Filters.HONOURED, Filters.IGNORED])
@pytest.mark.parametrize("order", Order)
async def test_alarms_that_arrive_between_pages(
    simulator: MilestoneSimulator, site: Any, filters: Filters, order: Order
) -> None:
    simulator.filters, simulator.order = filters, order
    site.source._paging.size = 5
    made = [simulator.raise_event() for _ in range(12)]

    def arrive(page: int) -> None:
        if len(made) < 18:
            made.append(simulator.raise_event())

    simulator.between_pages = arrive
    assert sorted(await site.ids()) == sorted(made)
    assert await site.ids() == []


@pytest.mark.parametrize("order", Order)
async def test_retention_between_pages_hides_nothing(simulator: MilestoneSimulator, site: Any, order: Order) -> None:
    """A row deleted on a page before pulls one past the reader; another pass finds it."""
    simulator.order = order
    site.source._paging.size = 5
    made = [simulator.raise_event() for _ in range(12)]
    gone: list[str] = []

    def retire(page: int) -> None:
        if page == 0 and len(gone) < 2:
            shown = simulator._filtered(_request())
            gone.append(str(next(row["id"] for row in shown if row["id"] in made and row["id"] not in gone)))
            simulator.remove(gone[-1])

    simulator.between_pages = retire
    assert set(made) - set(await site.ids()) <= set(gone)


def _request() -> Any:
    class Empty:
        query_params: dict[str, str] = {}

    return Empty()


async def test_page_0_is_read_again_after_the_last(simulator: MilestoneSimulator, site: Any) -> None:
    site.source._paging.size = 5
    for _ in range(12):
        simulator.raise_event()
    asked = len(simulator.laboratory.requests)
    await site.poll()
    pages = [line.split("page=")[1][0] for line in list(simulator.laboratory.requests)[asked:] if "page=" in line]
    assert pages[:3] == ["0", "1", "2"] and "0" in pages[3:]


async def test_what_arrives_on_page_0_during_a_quiet_sweep_is_found_by_it(
    simulator: MilestoneSimulator, site: Any
) -> None:
    simulator.filters = Filters.IGNORED
    site.source._filters, site.source._paging.size = False, 5
    made = [simulator.raise_event() for _ in range(12)]
    assert await site.ids() == made
    late: list[str] = []
    simulator.between_pages = lambda page: late.append(simulator.raise_event()) if page == 1 and not late else None
    assert await site.ids() == late != []


async def test_what_arrives_behind_the_reader_is_found_by_the_next_sweep(
    simulator: MilestoneSimulator, site: Any
) -> None:
    """However much later another row was updated that the reader had still before it."""
    simulator.order = Order.UNORDERED
    site.source._paging.size = 5
    made = [simulator.raise_event() for _ in range(13)]
    assert sorted(await site.ids()) == sorted(made)
    shown = sorted(row["id"] for row in simulator.alarms)
    behind = shown[6] + "-behind"

    def arrive(page: int) -> None:
        if page == 1:
            simulator.between_pages = None
            simulator.alarm(simulator.raise_event())["id"] = behind
            simulator.clock_ahead += timedelta(seconds=100)
            simulator.update(shown[11], 4)

    simulator.between_pages = arrive
    assert await site.ids() == []
    assert await site.ids() == [behind]


async def test_a_server_that_ignores_the_page_does_not_hold_us(simulator: MilestoneSimulator, site: Any) -> None:
    simulator.ignores_page = True
    site.source._paging.size = 5
    made = [simulator.raise_event() for _ in range(5)]
    assert await site.ids() == made


async def test_the_watermark_waits_for_a_complete_sweep(simulator: MilestoneSimulator, site: Any) -> None:
    site.source._paging.size = 5
    made = [simulator.raise_event() for _ in range(12)]
    before = site.position["watermark"]
    simulator.between_pages = lambda page: simulator.laboratory.inject(Ill.HTML, path="/api/rest", status=503)
    poll = await site.source.poll(site.position)
    # What page 0 brought is handed out, and page 1 is met again.
    assert len(poll.alarms) == 5 and poll.more and poll.position["watermark"] == before
    with pytest.raises(Fault):
        await site.source.poll(poll.position)
    simulator.between_pages = None
    simulator.laboratory.clear()
    site.position = poll.position
    rest = await site.ids()
    assert sorted([alarm.native_id for alarm in poll.alarms] + rest) == sorted(made)
    assert site.position["watermark"] > before


async def test_a_token_that_dies_in_a_sweep_costs_no_page(simulator: MilestoneSimulator, site: Any) -> None:
    site.source._paging.size = 5
    made = [simulator.raise_event() for _ in range(12)]
    simulator.between_pages = lambda page: simulator.revoke_tokens()
    assert sorted(await site.ids()) == sorted(made)


async def test_a_poll_that_the_journal_did_not_take_is_repeated(
    simulator: MilestoneSimulator, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "ALARMS_A_POLL", 5)
    site.source._paging.size = 5
    made = [simulator.raise_event() for _ in range(12)]
    lost = await site.source.poll(site.position)
    assert lost.more and len(lost.alarms) == 5
    assert sorted(await site.ids()) == sorted(made)


async def test_a_poll_that_was_cancelled_is_repeated(simulator: MilestoneSimulator, site: Any) -> None:
    site.source._paging.size = 5
    made = [simulator.raise_event() for _ in range(12)]
    asked = simulator.laboratory.count("GET /api/rest/v1/alarms")
    simulator.between_pages = lambda page: simulator.laboratory.inject(Ill.STALL, path="/api/rest")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(site.poll)
        await simulator.laboratory.asked("GET /api/rest/v1/alarms", asked + 2)
        nursery.cancel_scope.cancel()
    simulator.between_pages = None
    simulator.laboratory.clear()
    assert sorted(await site.ids()) == sorted(made)


async def test_a_restart_repeats_nothing_and_misses_nothing(
    simulator: MilestoneSimulator, site: Any, new_site: NewSite
) -> None:
    first = simulator.raise_event()
    assert await site.ids() == [first]
    second = simulator.raise_event()
    again = new_site(site.position)
    assert await again.ids() == [second]
    simulator.update(simulator.alarms[0]["id"], 4)
    assert await new_site(again.position).ids() == []


async def test_where_to_start(simulator: MilestoneSimulator, new_site: NewSite) -> None:
    old, older = AN_HOUR_AGO, AN_HOUR_AGO - timedelta(hours=1)
    made = [simulator.raise_event(time=older), simulator.raise_event(time=old)]
    assert await new_site(start_from="now").ids() == []
    assert await new_site(start_from="beginning").ids() == made
    assert await new_site(start_from=instant(old - timedelta(minutes=1))).ids() == made[1:]


async def test_a_long_first_sweep_takes_what_happens_meanwhile_for_new(
    simulator: MilestoneSimulator, new_site: NewSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "POLL_BUDGET_S", 0.0)
    for _ in range(20):
        simulator.raise_event(time=AN_HOUR_AGO)
    site = new_site(page_size=5)
    poll = await site.source.poll(None)
    assert poll.more and not poll.alarms
    site.position = poll.position
    meanwhile = simulator.raise_event(time=datetime.now(UTC) + timedelta(seconds=2))
    assert await site.ids() + await site.ids() == [meanwhile]


async def test_memory_is_bounded_and_an_update_of_forgotten_history_is_none(
    simulator: MilestoneSimulator, new_site: NewSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "RECENT_KEPT", 5)
    monkeypatch.setattr(place.Past.__init__, "__defaults__", (5,))
    old = [simulator.raise_event(time=AN_HOUR_AGO + timedelta(seconds=number)) for number in range(12)]
    site = new_site()
    assert await site.ids() == []
    made = [simulator.raise_event() for _ in range(12)]
    assert await site.ids() == made
    assert len(site.position["history"]) == 5 and len(site.position["recent"]) == 5
    for alarm_id in old:
        simulator.update(alarm_id, 11)
    assert not set(old) & set(await site.ids())
    assert len(str(site.position)) < 2000


async def test_the_mode_is_found_out_once_and_said(
    simulator: MilestoneSimulator, new_site: NewSite, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "varde.milestone")
    simulator.raise_event()
    for filters, mode in (
        (Filters.HONOURED, "mode=filter"),
        (Filters.IGNORED, "mode=full"),
        (Filters.REFUSED, "mode=full"),
    ):
        simulator.filters = filters
        site = new_site()
        caplog.clear()
        for _ in range(3):
            await site.poll()
        assert sum("mode=" in record.getMessage() for record in caplog.records) == 1
        assert mode in caplog.text


async def test_a_filter_that_hides_what_it_should_find_is_not_used(
    simulator: MilestoneSimulator, site: Any, new_site: NewSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that compares days only."""
    monkeypatch.setattr("agent.vendors.milestone.simulator._matches", lambda value, text: False)
    again = new_site()
    await again.poll()
    assert again.source._filters is False
    made = simulator.raise_event()
    assert await again.ids() == [made]


async def test_a_filter_that_ceases_to_work_is_noticed(simulator: MilestoneSimulator, site: Any) -> None:
    simulator.alarms[0].update(lastUpdatedTime="2020-01-01T00:00:00.0000001Z")
    simulator.raise_event()
    await site.poll()
    simulator.filters = Filters.IGNORED
    await site.poll()
    await site.poll()
    assert site.source._filters is False


async def test_a_site_without_an_alarm_yet(simulator: MilestoneSimulator, new_site: NewSite) -> None:
    site = new_site()
    assert await site.ids() == [] == await site.ids()
    made = simulator.raise_event()
    assert await site.ids() == [made]
    assert await site.ids() == [] and site.source._filters is True


@pytest.mark.parametrize("filters", [Filters.HONOURED, Filters.IGNORED])
async def test_a_clock_that_goes_back(simulator: MilestoneSimulator, new_site: NewSite, filters: Filters) -> None:
    simulator.filters = filters
    simulator.clock_ahead = timedelta(days=1)
    simulator.raise_event()
    site = new_site()
    await site.poll()
    made = simulator.raise_event()
    assert await site.ids() == [made]
    simulator.clock_ahead = timedelta()
    made = simulator.raise_event()
    assert await site.ids() + await site.ids() == [made]
    made = simulator.raise_event()
    assert await site.ids() == [made]


async def test_one_wrong_clock_does_not_move_the_watermark_ahead(simulator: MilestoneSimulator, site: Any) -> None:
    made = simulator.raise_event()
    simulator.alarm(made)["lastUpdatedTime"] = "2077-01-01T00:00:00.0000000Z"
    assert await site.ids() == [made]
    assert site.position["watermark"] < "2077"
    before = site.position
    simulator.clock_ahead = timedelta(seconds=10)
    assert await site.ids() == [] and site.position == before
    made = simulator.raise_event()
    assert await site.ids() == [made]


async def test_alarms_of_our_own_sink_are_not_read_back(simulator: MilestoneSimulator, site: Any) -> None:
    camera = simulator.cameras[0]["id"]
    for message in (marker.marked("Person at the gate", marker.new_key()), marker.marked("x" * 500, marker.new_key())):
        simulator.alarms.append(simulator._new_row("yard: person", message, camera))
    theirs = simulator.raise_event(message="mentions [varde:0123456789abcdef] in passing")
    assert await site.ids() == [theirs]


@pytest.mark.parametrize(
    "row",
    [
        {"id": 7, "time": [], "lastUpdatedTime": {}, "state": [None], "message": 5, "source": None},
        {"id": "x" * 500, "name": None, "lastUpdatedTime": "yesterday"},
        {"id": "a", "time": "9999-12-31T23:59:59.9999999-14:00", "lastUpdatedTime": "0001-01-01T00:00:00+14:00"},
    ],
)
async def test_odd_rows_are_alarms_all_the_same(simulator: MilestoneSimulator, site: Any, row: dict[str, Any]) -> None:
    simulator.laboratory.inject(
        Ill.WRONG_JSON,
        path="/api/rest/v1/alarms",
        body=json.dumps({"array": [row, None, {}, "x"]}).encode(),
    )
    (alarm,) = await site.poll()
    assert alarm.description and alarm.raw == row
    assert await site.poll() == []


async def test_probe_and_devices(simulator: MilestoneSimulator, site: Any) -> None:
    assert isinstance(site.source, Probing) and isinstance(site.source, Listing) and isinstance(site.source, Acting)
    assert await site.source.probe() == "Logged in to XProtect 25.2.1; 3 cameras; alarms can be read (it filters)."
    simulator.filters = Filters.IGNORED
    assert "does not filter" in await site.source.probe()
    devices = await site.source.devices()
    assert (devices[0].kind, devices[0].name, devices[0].state) == ("camera", "Gate", "enabled")


@pytest.mark.parametrize(("action", "level"), [("acknowledge", 4), ("close", 11)])
async def test_acting_by_level_and_reading_again(
    simulator: MilestoneSimulator, site: Any, action: str, level: int, autojump_reread: None
) -> None:
    made = simulator.raise_event()
    simulator.lazy_reads = 2
    assert "in XProtect" in await site.source.act(action, made)
    assert simulator.alarm(made)["state"]["level"] == level
    assert "already" in await site.source.act(action, made)
    assert await site.ids() == [made]


@pytest.fixture
def autojump_reread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks again without the pause between two looks."""
    monkeypatch.setattr(source, "REREAD_EVERY_S", 0.0)


async def test_accepted_and_not_done_is_not_called_done(
    simulator: MilestoneSimulator, site: Any, autojump_reread: None
) -> None:
    made = simulator.raise_event()
    simulator.lazy_reads = 100
    with pytest.raises(Refused, match="still shows"):
        await site.source.act("close", made)


async def test_acknowledging_never_opens_a_closed_alarm(simulator: MilestoneSimulator, site: Any) -> None:
    made = simulator.raise_event(level=11)
    with pytest.raises(Refused, match="closed already"):
        await site.source.act("acknowledge", made)
    assert simulator.alarm(made)["state"]["level"] == 11


async def test_what_cannot_be_acted_on(simulator: MilestoneSimulator, site: Any) -> None:
    with pytest.raises(UnknownTarget):
        await site.source.act("close", "nothing")
    with pytest.raises(UnknownAction):
        await site.source.act("unlock", "nothing")
    made = simulator.raise_event()
    simulator.states = [state for state in simulator.states if state["level"] != 11]
    with pytest.raises(Refused, match="level 11"):
        await site.source.act("close", made)


async def test_a_state_that_was_replaced_is_looked_up_anew(simulator: MilestoneSimulator, site: Any) -> None:
    first, second = simulator.raise_event(), simulator.raise_event()
    await site.source.act("close", first)
    simulator.states = [{**state, "id": state["id"][::-1]} for state in simulator.states]
    assert "closed" in await site.source.act("close", second)


async def test_a_wrong_password_is_an_authentication_fault(simulator: MilestoneSimulator, new_site: NewSite) -> None:
    with pytest.raises(Fault) as caught:
        await new_site(password="wrong").poll()
    assert caught.value.fault_class is FaultClass.AUTHENTICATION


@pytest.mark.parametrize(
    ("message", "name", "kind"),
    [
        ("Line crossed", "Perimeter north", Kind.INTRUSION),
        ("Person detected", "Intrusion yard", Kind.PERSON),
        ("Communication Started", "", Kind.CAMERA_RESTORED),
        ("Communication Error", "", Kind.CAMERA_LOST),
        ("Tampering", "", Kind.TAMPER),
        ("Motion Started", "", Kind.MOVEMENT),
        ("Input Activated", "", Kind.EXTERNAL_TRIGGER),
        ("my first alarm message", "my first alarm name", Kind.OTHER),
        ("Analytics event", "Vehicle at gate", Kind.VEHICLE),
        ("Scarf and carpet", "Server room", Kind.OTHER),
        ("", "", Kind.OTHER),
    ],
)
def test_kinds(message: str, name: str, kind: Kind) -> None:
    assert kind_of(AlarmRecord("1", name=name, message=message, type="Analytics")) is kind


async def test_the_simulators_own_events_are_of_their_kind(simulator: MilestoneSimulator, site: Any) -> None:
    for kind in simulator.kinds:
        simulator.raise_event(kind)
    assert [alarm.kind.value for alarm in await site.poll()] == list(simulator.kinds)
