"""A served simulator, and a source or a client at it."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
from pydantic import SecretStr

from agent.settings.sources import DavantisSource as Settings
from agent.vendors.davantis.client import DavantisClient
from agent.vendors.davantis.simulator import DavantisSimulator
from agent.vendors.davantis.source import DavantisSource


@pytest.fixture
async def simulator(nursery: trio.Nursery) -> DavantisSimulator:
    made = DavantisSimulator(password="s&cr+t%20?é")
    await nursery.start(made.serve)
    return made


@pytest.fixture
async def client(simulator: DavantisSimulator) -> AsyncIterator[DavantisClient]:
    credentials = simulator.credentials()
    made = DavantisClient(simulator.url, credentials["username"], SecretStr(credentials["password"]))
    yield made
    await made.aclose()


@pytest.fixture
async def source_of(simulator: DavantisSimulator) -> AsyncIterator[Callable[..., DavantisSource]]:
    """Makes sources; settings and constructor arguments (`clock`, `now`) as keywords."""
    made: list[DavantisSource] = []

    def make(**changes: Any) -> DavantisSource:
        parts = {key: changes.pop(key) for key in ("clock", "now") if key in changes}
        made.append(DavantisSource(Settings(**{**simulator.settings("yard"), **changes}), **parts))
        return made[-1]

    yield make
    for source in made:
        await source.aclose()


@pytest.fixture
def caught_up() -> Callable[..., Any]:
    """Polls until a source has nothing more: (alarms, position)."""

    async def poll(source: DavantisSource, position: Any = None) -> Any:
        alarms = []
        while True:
            answer = await source.poll(position)
            position = answer.position
            alarms += answer.alarms
            if not answer.more:
                return alarms, position

    return poll
