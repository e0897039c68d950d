"""An XProtect site in the laboratory, and the product's own client and source against it."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
from pydantic import SecretStr

from agent.alarms.model import Alarm, Position
from agent.settings.sources import MilestoneSource as MilestoneSettings
from agent.vendors.milestone.client import MilestoneClient
from agent.vendors.milestone.simulator import MilestoneSimulator
from agent.vendors.milestone.source import MilestoneSource


@pytest.fixture
async def simulator(nursery: trio.Nursery) -> MilestoneSimulator:
    made = MilestoneSimulator(password="gate+way&100% æ=;")
    await nursery.start(made.serve)
    return made


@pytest.fixture
async def new_client(simulator: MilestoneSimulator) -> AsyncIterator[Callable[..., MilestoneClient]]:
    made: list[MilestoneClient] = []

    def build(**changes: Any) -> MilestoneClient:
        user = {**simulator.credentials(), **changes}
        username, password = user.pop("username"), SecretStr(user.pop("password"))
        made.append(MilestoneClient(user.pop("url", simulator.url), username, password, **user))
        return made[-1]

    yield build
    for client in made:
        await client.aclose()


@pytest.fixture
def client(new_client: Callable[..., MilestoneClient]) -> MilestoneClient:
    return new_client()


class Site:
    """A source and where it is: `poll` keeps the position, as the journal does."""

    def __init__(self, source: MilestoneSource, position: Position | None) -> None:
        self.source = source
        self.position = position

    async def poll(self) -> list[Alarm]:
        """All that is new: polls until the source wants no more."""
        found: list[Alarm] = []
        with trio.fail_after(30):
            while True:
                poll = await self.source.poll(self.position)
                self.position = poll.position
                found += poll.alarms
                if not poll.more:
                    return found

    async def ids(self) -> list[str]:
        return [alarm.native_id for alarm in await self.poll()]


@pytest.fixture
async def new_site(simulator: MilestoneSimulator) -> AsyncIterator[Callable[..., Site]]:
    made: list[MilestoneSource] = []

    def build(position: Position | None = None, **changes: Any) -> Site:
        settings = MilestoneSettings(**{**simulator.settings("vms"), **changes})
        made.append(MilestoneSource(settings))
        return Site(made[-1], position)

    yield build
    for source in made:
        await source.aclose()


@pytest.fixture
async def site(simulator: MilestoneSimulator, new_site: Callable[..., Site]) -> Site:
    """A source that has been polled once, at a site with one old alarm."""
    simulator.raise_event()
    made = new_site()
    assert await made.poll() == []
    return made
