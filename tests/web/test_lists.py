"""A page costs the same whatever the journal holds: measured in steps of SQLite's machine, not in time."""

import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.alarms.model import Kind, instant
from agent.store import Store
from agent.web.pages import lists

END = datetime(2026, 1, 15, 20, 0, tzinfo=UTC)
DAY = (END - timedelta(hours=20), END + timedelta(hours=4))
FEW, MANY = 400, 12_000


def _fill(connection: sqlite3.Connection, count: int) -> None:
    """Alarms of one day, each acknowledged; one of a rare kind is the oldest, the last ten were rejected."""
    for number in range(count):
        at = instant(END - timedelta(seconds=(count - number) * 60_000 / count))
        kind = "power" if number == 0 else ("person", "vehicle", "tamper")[number % 3]
        connection.execute(
            "INSERT INTO alarms (source, epoch, native_id, kind, occurred_at, received_at, account, zone, device,"
            " device_name, description, restoral, armed, snapshot, video, raw_json)"
            " VALUES (?, '', ?, ?, ?, ?, '9998', 1, '1', 'Gate', 'x', 0, 1, 'unavailable', 'unavailable', '{}')",
            (("yard", "quay")[number % 2], str(number), kind, at, at),
        )
        state = "rejected" if number >= count - 10 else "acknowledged"
        connection.execute(
            "INSERT INTO outbox (alarm_id, sink, account, state, created_at) VALUES (?, 'receiver', '9998', ?, ?)",
            (number + 1, state, at),
        )


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Store]]:
    opened = {}
    for count in (FEW, MANY):
        path: Path = tmp_path_factory.mktemp("journal") / "varde.db"
        opened[count] = Store.open(path)
        writer = sqlite3.connect(path)
        with writer:
            _fill(writer, count)
        writer.close()
    yield opened
    for store in opened.values():
        store.close()


class Counted:
    """A store that counts what its reads cost."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.steps = 0

    async def read(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        def counted(connection: sqlite3.Connection) -> Any:
            def step() -> None:
                self.steps += 1

            connection.set_progress_handler(step, 10)
            try:
                return work(connection)
            finally:
                connection.set_progress_handler(None, 0)

        return self.store.read_now(counted)


Ask = Callable[[Any, int], Any]
ASKED: dict[str, Ask] = {
    "newest": lambda store, last: lists.alarms(store, lists.Filter()),
    "before": lambda store, last: lists.alarms(store, lists.Filter(), before=last // 2),
    "source": lambda store, last: lists.alarms(store, lists.Filter(source="yard")),
    "kind": lambda store, last: lists.alarms(store, lists.Filter(kind=Kind.TAMPER)),
    "rare kind": lambda store, last: lists.alarms(store, lists.Filter(kind=Kind.POWER)),
    "rare kind of a source": lambda store, last: lists.alarms(store, lists.Filter("yard", Kind.POWER)),
    "day": lambda store, last: lists.alarms(store, lists.Filter(day=DAY)),
    "day before": lambda store, last: lists.alarms(store, lists.Filter(day=DAY), before=last // 2),
    "day and source": lambda store, last: lists.alarms(store, lists.Filter("yard", day=DAY)),
    "rejected": lambda store, last: lists.alarms(store, lists.Filter(delivery="rejected")),
    "one alarm": lambda store, last: lists.alarm(store, last),
    "neighbours": lambda store, last: lists.neighbours(store, last // 2),
    "empty day": lambda store, last: lists.quarters(store, DAY[0] - timedelta(days=7), None),
}


@pytest.mark.parametrize("asked", list(ASKED))
async def test_a_long_journal_costs_no_more(stores: dict[int, Store], asked: str) -> None:
    steps = {}
    for count, store in stores.items():
        counted = Counted(store)
        await ASKED[asked](counted, count)
        steps[count] = counted.steps
    assert steps[MANY] <= steps[FEW] * 1.5 + 20


async def test_a_kind_in_a_day_is_bounded_by_what_is_called_rare(stores: dict[int, Store]) -> None:
    for kind in (Kind.TAMPER, Kind.POWER):
        counted = Counted(stores[MANY])
        found = await lists.alarms(counted, lists.Filter(kind=kind, day=DAY))  # type: ignore[arg-type]
        assert found and all(entry.alarm.alarm.kind is kind for entry in found)
        # Sorting the day's alarms of the kind, or walking all of the day's, takes many times that.
        assert counted.steps < 2 * lists.RARE


async def test_the_plot_of_a_busy_day_counts_no_further_than_it_shows(stores: dict[int, Store]) -> None:
    counted = Counted(stores[MANY])
    quarters = await lists.quarters(counted, DAY[0], None)  # type: ignore[arg-type]
    assert len(quarters) == lists.QUARTERS and max(quarters) == lists.MOST_IN_QUARTER
    assert counted.steps < lists.QUARTERS * lists.MOST_IN_QUARTER
