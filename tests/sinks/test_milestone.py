"""Our alarms in XProtect: once each, and never read back as the site's."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import trio

from agent.alarms.model import Alarm, Delivery, JournalledAlarm, Kind
from agent.faults import Fault, FaultClass, Rejected
from agent.settings.sinks import MilestoneSink as SinkSettings
from agent.settings.sources import MilestoneSource as SourceSettings
from agent.sinks import milestone
from agent.sinks.milestone import MilestoneSink
from agent.vendors.lab import Ill
from agent.vendors.milestone import marker
from agent.vendors.milestone.simulator import Filters, MilestoneSimulator
from agent.vendors.milestone.source import MilestoneSource

ALARMS = "/api/rest/v1/alarms"


@pytest.fixture
async def simulator(nursery: trio.Nursery) -> MilestoneSimulator:
    made = MilestoneSimulator()
    await nursery.start(made.serve)
    return made


@pytest.fixture
def new_sink(simulator: MilestoneSimulator, nursery: trio.Nursery) -> Callable[..., MilestoneSink]:
    def build(**changes: Any) -> MilestoneSink:
        entry = {"name": "vms", "kind": "milestone", "url": simulator.url, "camera": simulator.cameras[1]["id"]}
        sink = MilestoneSink(SinkSettings(**{**entry, **simulator.credentials(), **changes}))
        nursery.start_soon(sink.run)
        return sink

    return build


@pytest.fixture
def sink(new_sink: Callable[..., MilestoneSink]) -> MilestoneSink:
    return new_sink()


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milestone, "READ_BACK_EVERY_S", 0.0)


def delivery(number: int = 1, attempts: int = 0, memo: str | None = None, **changes: Any) -> Delivery:
    now = datetime.now(UTC)
    about = {"kind": Kind.PERSON, "description": "Person at the gate", "device_name": "Gate", **changes}
    alarm = Alarm(native_id=str(number), occurred_at=now, **about)

    async def note(text: str) -> None:
        assert marker.marked("", text)

    return Delivery(number, JournalledAlarm(number, "yard", now, "9998", 3, alarm), attempts, memo, note)


async def test_an_alarm_stands_on_the_configured_camera(simulator: MilestoneSimulator, sink: MilestoneSink) -> None:
    await sink.deliver(delivery())
    (row,) = simulator.alarms
    assert row["cameraId"] == simulator.cameras[1]["id"]
    assert row["name"] == "yard: person"
    assert row["message"].startswith("Gate: Person at the gate [varde:")
    await sink.deliver(delivery(2, restoral=True, kind=Kind.LOW_BATTERY))
    assert simulator.alarms[1]["name"] == "yard: low battery ended"


async def test_a_long_message_keeps_its_mark(simulator: MilestoneSimulator, sink: MilestoneSink) -> None:
    await sink.deliver(delivery(description="æ" * 1000))
    message = simulator.alarms[0]["message"]
    assert len(message) <= marker.MAX_MESSAGE and marker.MARK.search(message)


async def test_no_source_reads_it_back(simulator: MilestoneSimulator, sink: MilestoneSink) -> None:
    """The source starts later and shares nothing with the sink: it has the alarm's own fields only."""
    await sink.deliver(delivery())
    theirs = simulator.raise_event()
    source = MilestoneSource(SourceSettings(**simulator.settings("vms"), start_from="beginning"))
    poll = await source.poll(None)
    assert [alarm.native_id for alarm in poll.alarms] == [theirs]
    await sink.deliver(delivery(2))
    simulator.update(simulator.alarms[0]["id"], 4)
    assert list((await source.poll(poll.position)).alarms) == []
    await source.aclose()


@pytest.mark.parametrize("filters", Filters)
async def test_a_repeat_finds_the_alarm_of_the_first_try(
    simulator: MilestoneSimulator, sink: MilestoneSink, filters: Filters
) -> None:
    """XProtect raised the alarm, and its answer was lost."""
    simulator.filters = filters
    for _ in range(250):
        simulator.raise_event()
    first = delivery()
    simulator.hidden_reads = 1000
    with pytest.raises(Fault, match="does not show it"):
        await sink.deliver(first)
    assert len(simulator.alarms) == 251 and first.memo
    simulator.hidden_reads = 0
    await sink.deliver(delivery(attempts=1, memo=first.memo))
    assert len(simulator.alarms) == 251


async def test_a_repeat_of_what_never_arrived_triggers_it(simulator: MilestoneSimulator, sink: MilestoneSink) -> None:
    first = delivery()
    simulator.laboratory.inject(Ill.RESET, path=ALARMS)
    with pytest.raises(Fault):
        await sink.deliver(first)
    simulator.laboratory.clear()
    await sink.deliver(delivery(attempts=1, memo=first.memo))
    assert len(simulator.alarms) == 1 and first.memo in simulator.alarms[0]["message"]


async def test_accepted_is_not_done(simulator: MilestoneSimulator, sink: MilestoneSink) -> None:
    simulator.hidden_reads = 2
    await sink.deliver(delivery())
    assert simulator.laboratory.count("GET /api/rest/v1/alarms/") == 3


async def test_what_xprotect_never_takes_is_set_aside_after_three_tries(
    new_sink: Callable[..., MilestoneSink],
) -> None:
    sink = new_sink(camera="no-such-camera")
    for attempts in (0, 1):
        with pytest.raises(Fault):
            await sink.deliver(delivery(attempts=attempts))
    with pytest.raises(Rejected, match="Unknown source"):
        await sink.deliver(delivery(attempts=2))


@pytest.mark.parametrize(
    ("ill", "details", "seen"),
    [
        (Ill.STATUS, {"status": 503}, FaultClass.REFUSED),
        (Ill.STATUS, {"status": 403}, FaultClass.AUTHENTICATION),
        (Ill.HTML, {"status": 200}, FaultClass.PROTOCOL),
        (Ill.WRONG_JSON, {}, FaultClass.PROTOCOL),
        (Ill.CLOSE, {}, FaultClass.REFUSED),
    ],
)
async def test_trouble_keeps_the_alarm(
    simulator: MilestoneSimulator, sink: MilestoneSink, ill: Ill, details: Any, seen: FaultClass
) -> None:
    simulator.laboratory.inject(ill, path=ALARMS, **details)
    for attempts in range(5):
        with pytest.raises(Fault) as caught:
            await sink.deliver(delivery(attempts=attempts))
        assert caught.value.fault_class is seen


async def test_a_windows_user(simulator: MilestoneSimulator, new_sink: Callable[..., MilestoneSink]) -> None:
    simulator.windows = True
    await new_sink(grant="windows", **simulator.credentials()).deliver(delivery())
    assert len(simulator.alarms) == 1


async def test_probe(simulator: MilestoneSimulator, new_sink: Callable[..., MilestoneSink]) -> None:
    assert "Yard" in await new_sink().probe()
    with pytest.raises(Fault) as caught:
        await new_sink(camera="no-such-camera").probe()
    assert "Set camera" in caught.value.hint
    with pytest.raises(Fault) as caught:
        await new_sink(password="wrong").probe()
    assert caught.value.fault_class is FaultClass.AUTHENTICATION
    assert simulator.alarms == []
