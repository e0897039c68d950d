"""The bench that the vendors' battery works at.

A vendor joins the battery (`test_battery.py`) with one entry in `VENDORS` below: its simulator, its source, and what
its simulator can be told to do. A hook that is left out skips the cases that need it, so leave out only what the vendor
really does not have (a cloud without ids has no `restart_ids`).
"""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trio
from pydantic import TypeAdapter

from agent.alarms.model import Alarm, Poll, Position, Source
from agent.settings.sources import SourceSettings
from agent.vendors.davantis.simulator import DavantisSimulator
from agent.vendors.davantis.source import DavantisSource
from agent.vendors.lab import Simulator
from agent.vendors.lockt.simulator import LocktSimulator
from agent.vendors.lockt.source import LocktSource
from agent.vendors.milestone.simulator import MilestoneSimulator
from agent.vendors.milestone.source import MilestoneSource
from agent.vendors.sensaphone.simulator import SensaphoneSimulator
from agent.vendors.sensaphone.source import SensaphoneSource

PATIENCE_S = 30


@dataclass(frozen=True)
class Vendor:
    """`raise_many` lets n alarms happen that a poll must report, and gives their native ids, oldest first; the default
    raises them one by one. `backlog` is a number of alarms beyond one page of the vendor's (0: pages do not exist).
    `settings` are added to the simulator's own; `wrong_password` are the settings that no log-in accepts.
    `expire` lets every token or session run out; `restart_ids` lets the device number its alarms anew.
    """

    name: str
    simulator: Callable[[], Simulator]
    source: Callable[[Any], Source]
    settings: dict[str, Any] = field(default_factory=dict)
    raise_many: Callable[[Simulator, int], Sequence[str]] | None = None
    backlog: int = 0
    wrong_password: dict[str, Any] | None = None
    expire: Callable[[Any], None] | None = None
    restart_ids: Callable[[Any], None] | None = None


class SensaphoneByZone(SensaphoneSource):
    """Sensaphone has no alarm ids, so an id is made when the alarm is read: only its beginning, device and zone, is
    known to whoever raised it."""

    async def poll(self, position: Position | None) -> Poll:
        poll = await super().poll(position)
        named = [replace(alarm, native_id="/".join(alarm.native_id.split("/")[:2])) for alarm in poll.alarms]
        return replace(poll, alarms=named)


VENDORS = [
    Vendor(
        "davantis",
        DavantisSimulator,
        DavantisSource,
        backlog=700,
        wrong_password={"password": "not this one"},
        expire=lambda simulator: simulator.device.expire_tokens(),
        restart_ids=lambda simulator: simulator.device.reset_ids(),
    ),
    Vendor(
        "lockt",
        LocktSimulator,
        LocktSource,
        backlog=2500,
        wrong_password={"api_key": "not this one"},
        restart_ids=lambda simulator: simulator.restart_ids(),
    ),
    Vendor(
        "sensaphone",
        SensaphoneSimulator,
        SensaphoneByZone,
        wrong_password={"password": "not this one"},
        expire=lambda simulator: simulator.expire_sessions(),
    ),
    Vendor(
        "milestone",
        MilestoneSimulator,
        MilestoneSource,
        backlog=250,
        wrong_password={"password": "not this one"},
        expire=lambda simulator: simulator.revoke_tokens(),
    ),
]


@pytest.fixture(params=VENDORS, ids=[vendor.name for vendor in VENDORS])
def vendor(request: pytest.FixtureRequest) -> Vendor:
    found: Vendor = request.param
    return found


class Bench:
    """A simulator that is served, and a source that is polled the way the polling loop does it: the position goes
    through JSON between any two polls, and is kept only where the poll succeeded.
    """

    def __init__(self, vendor: Vendor, simulator: Simulator) -> None:
        self.vendor = vendor
        self.simulator = simulator
        self.laboratory = simulator.laboratory
        self.position: Position | None = None
        self.seen: list[Alarm] = []
        self._sources: list[Source] = []
        self.source = self.restart()

    def settings(self, **changes: Any) -> Any:
        entry = {**self.simulator.settings("bench"), **self.vendor.settings, **changes}
        return TypeAdapter(SourceSettings).validate_python(entry)

    def restart(self, **changes: Any) -> Source:
        """A new source that knows the stored position alone, as after a crash; `changes` are settings."""
        self.source = self.vendor.source(self.settings(**changes))
        self._sources.append(self.source)
        return self.source

    def raise_many(self, count: int) -> list[str]:
        if self.vendor.raise_many is not None:
            return list(self.vendor.raise_many(self.simulator, count))
        return [self.simulator.raise_event() for _ in range(count)]

    async def poll_once(self) -> list[Alarm]:
        """One poll; raises what it raises and then leaves position and `seen` alone."""
        poll = await self.source.poll(self.position)
        self.position = json.loads(json.dumps(poll.position, allow_nan=False))
        for alarm in poll.alarms:
            json.dumps(dict(alarm.raw), allow_nan=False).encode()  # whatever came must be storable
        self.seen += poll.alarms
        self.more = poll.more
        return list(poll.alarms)

    async def poll(self) -> list[Alarm]:
        """Poll until the source has caught up; the new alarms."""
        alarms = await self.poll_once()
        while self.more:
            alarms += await self.poll_once()
        return alarms

    async def poll_for(self, count: int) -> list[Alarm]:
        """Poll until `count` alarms have come, then once more, for those that must not come."""
        alarms: list[Alarm] = []
        with trio.fail_after(PATIENCE_S):
            while len(alarms) < count:
                alarms += await self.poll()
        return alarms + await self.poll()

    async def aclose(self) -> None:
        for source in self._sources:
            await source.aclose()


@pytest.fixture
async def bench(vendor: Vendor, nursery: trio.Nursery) -> AsyncIterator[Bench]:
    """Served, logged in, and past its first poll: what is raised from here on is new."""
    simulator = vendor.simulator()
    await nursery.start(simulator.serve)
    made = Bench(vendor, simulator)
    await made.poll()
    made.seen.clear()
    yield made
    await made.aclose()
