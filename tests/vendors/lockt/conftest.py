"""A simulated Lockt cloud on loopback, and the product's own client and source in front of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio
from pydantic import SecretStr, TypeAdapter

from agent.alarms.model import Alarm, Poll, Position
from agent.settings.sources import LocktSource as Settings
from agent.vendors.lockt.client import LocktClient
from agent.vendors.lockt.simulator import LocktSimulator
from agent.vendors.lockt.source import LocktSource


@pytest.fixture
async def simulator(nursery: trio.Nursery) -> LocktSimulator:
    made = LocktSimulator(api_user="site-user", api_key="key-that-nobody-may-see")
    await nursery.start(made.serve)
    return made


@pytest.fixture
async def client(simulator: LocktSimulator) -> AsyncIterator[LocktClient]:
    made = LocktClient(simulator.url, "site-user", SecretStr("key-that-nobody-may-see"), timeout_s=20)
    yield made
    await made.aclose()


class Follower:
    """What the polling loop does with a source: polls, keeps the position, and collects the alarms."""

    def __init__(self, source: LocktSource) -> None:
        self.source = source
        self.position: Position | None = None
        self.alarms: list[Alarm] = []

    async def poll(self) -> list[Alarm]:
        """The alarms of one poll and of the polls that it asks for at once."""
        new: list[Alarm] = []
        while True:
            answer: Poll = await self.source.poll(self.position)
            self.position = answer.position
            new += answer.alarms
            if not answer.more:
                self.alarms += new
                return new

    async def ids(self) -> list[str]:
        return [alarm.native_id for alarm in await self.poll()]


@pytest.fixture
async def follow(simulator: LocktSimulator) -> AsyncIterator[Callable[..., Awaitable[Follower]]]:
    """Start a follower with settings of its own; battery rounds at every poll."""
    started: list[LocktSource] = []

    async def start(position: Position | None = None, **changes: Any) -> Follower:
        wanted = {**simulator.settings("hall"), "state_interval_s": 0.0001, "timeout_s": 20.0, **changes}
        source = LocktSource(TypeAdapter(Settings).validate_python(wanted))
        started.append(source)
        follower = Follower(source)
        follower.position = position
        return follower

    yield start
    for source in started:
        await source.aclose()
