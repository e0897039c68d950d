"""What several rooms' tests share."""

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.alarms.journal import Journal
from agent.alarms.model import Alarm, JournalledAlarm, Kind
from agent.alarms.outbox import Outbox, enqueue
from agent.metrics import Metrics
from agent.store import Store


class Post:
    """A journal and an outbox in a real store: `put` journals alarms for `sinks`, as the daemon does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = Store.open(path)
        self.outbox = Outbox(self.store)
        self.metrics = Metrics()
        self.sinks: list[Any] = []
        self.held: list[str] = []
        self.now = lambda: datetime.now(UTC)
        self.journal = Journal(
            self.store,
            self.metrics,
            lambda connection, alarm: enqueue(connection, alarm, self.sinks, self.now(), self.held.append),
        )
        self._ids = itertools.count(1)

    def alarm(self, kind: Kind = Kind.PERSON, **fields: Any) -> Alarm:
        alarm = Alarm(
            native_id=str(next(self._ids)),
            kind=kind,
            occurred_at=datetime.now(UTC),
            description="Person detected",
            device="3",
            device_name="Gate",
            armed=True,
            raw={"camera": 3},
        )
        return replace(alarm, **fields)

    async def put(
        self, count: int = 1, *, account: str = "9998", zone: int = 3, source: str = "yard", **fields: Any
    ) -> list[JournalledAlarm]:
        alarms = [self.alarm(**fields) for _ in range(count)]
        return await self.journal.record(source, alarms, None, lambda device: (account, zone))

    async def states(self, sink: str | None = None) -> list[str]:
        rows, _ = await self.outbox.list(sink=sink, limit=1000)
        return [row["state"] for row in rows]

    async def rows(self, sql: str = "SELECT * FROM outbox ORDER BY id", values: Sequence[Any] = ()) -> list[Any]:
        return await self.store.read(lambda c: c.execute(sql, values).fetchall())


@pytest.fixture(scope="session", autouse=True)
def _test_variables() -> None:
    """The suite's own variables, read when its modules were loaded, would be unknown settings to the agent."""
    for name in ("VARDE_TEST", "VARDE_SEED"):
        os.environ.pop(name, None)


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    opened = Post(tmp_path / "varde.db")
    yield opened
    opened.store.close()
