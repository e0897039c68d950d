"""A Sensaphone account in the laboratory, and the product's own client and source against it."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
from pydantic import SecretStr

from agent.alarms.model import Alarm, Position
from agent.settings.sources import SensaphoneSource as SensaphoneSettings
from agent.vendors.sensaphone.client import SensaphoneClient
from agent.vendors.sensaphone.simulator import SensaphoneSimulator
from agent.vendors.sensaphone.source import SensaphoneSource


@pytest.fixture
async def simulator(nursery: trio.Nursery) -> SensaphoneSimulator:
    made = SensaphoneSimulator()
    await nursery.start(made.serve)
    return made


@pytest.fixture
async def client(simulator: SensaphoneSimulator) -> AsyncIterator[SensaphoneClient]:
    made = SensaphoneClient(simulator.url, simulator.username, SecretStr(simulator.password))
    yield made
    await made.aclose()


class Site:
    """A source and where it is: `poll` keeps the position, as the journal does."""

    def __init__(self, source: SensaphoneSource, position: Position | None) -> None:
        self.source = source
        self.position = position

    async def poll(self) -> list[Alarm]:
        poll = await self.source.poll(self.position)
        self.position = poll.position
        return list(poll.alarms)

    async def rows(self) -> list[tuple[str, str, bool]]:
        """The next poll's alarms: device, kind, restoral."""
        return [(alarm.device, alarm.kind.value, alarm.restoral) for alarm in await self.poll()]


@pytest.fixture
async def new_source(simulator: SensaphoneSimulator) -> AsyncIterator[Callable[..., SensaphoneSource]]:
    made: list[SensaphoneSource] = []

    def build(**changes: Any) -> SensaphoneSource:
        settings = SensaphoneSettings(**{**simulator.settings("site"), **changes})
        made.append(SensaphoneSource(settings))
        return made[-1]

    yield build
    for source in made:
        await source.aclose()


@pytest.fixture
async def site(new_source: Callable[..., SensaphoneSource]) -> Site:
    """A source that has been polled once: everything normal."""
    made = Site(new_source(state_interval_s=0.000001), None)
    assert await made.poll() == []
    return made
