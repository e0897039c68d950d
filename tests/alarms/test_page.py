"""A page of the journal is right for every filter, and its work does not grow with the journal."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlite_utils import Database

from agent.alarms import page as pages
from agent.alarms.model import Kind, instant
from agent.alarms.page import Page
from agent.store.schema import migrations

START = datetime(2026, 1, 1, tzinfo=UTC)
Row = tuple[str, str, int]  # source, kind, hours after START


def filled(rows: list[Row]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    migrations.apply(Database(connection))
    connection.executemany(
        "INSERT INTO alarms (source, epoch, native_id, kind, occurred_at, received_at, account, zone, device,"
        " device_name, description, restoral, snapshot, video, raw_json)"
        " VALUES (?, '', ?, ?, ?, '', '', 0, '', '', '', 0, '', '', '{}')",
        [
            (source, str(index), kind, instant(START + timedelta(hours=hours)))
            for index, (source, kind, hours) in enumerate(rows)
        ],
    )
    return connection


row = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["person", "tamper"]), st.integers(0, 20))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(row, max_size=40),
    st.integers(0, 45),
    st.integers(1, 10),
    st.booleans(),
    st.sampled_from([None, "a", "c"]),
    st.sampled_from([None, Kind.TAMPER]),
    st.none() | st.integers(0, 20),
    st.none() | st.integers(0, 20),
)
def test_a_page_is_what_a_plain_reading_gives(
    rows: list[Row], after: int, limit: int, newest: bool, source: str | None, kind: Kind | None,
    since: int | None, until: int | None,
) -> None:  # fmt: skip
    expected = [
        index
        for index, (at, what, hours) in enumerate(rows, start=1)
        if index > after and (source is None or at == source) and (kind is None or what == kind.value)
        and (since is None or hours >= since) and (until is None or hours < until)
    ]  # fmt: skip
    expected = (expected[::-1] if newest else expected)[:limit]
    moments = [None if hours is None else START + timedelta(hours=hours) for hours in (since, until)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "WINDOW", 3)
        connection = filled(rows)
        found = Page(after, None, limit, newest, source, kind, *moments).rows(connection)
        connection.close()
    assert [one["id"] for one in found] == expected


@pytest.fixture(params=[3_000, 60_000])
def journal(request: pytest.FixtureRequest) -> Iterator[sqlite3.Connection]:
    size = request.param
    connection = filled([("ab"[index % 2], "person", index // 100) for index in range(size)])
    yield connection
    connection.close()


@pytest.mark.parametrize("source", [None, "a"])
@pytest.mark.parametrize("newest", [False, True])
def test_a_day_costs_the_same_in_a_long_journal(journal: sqlite3.Connection, source: str | None, newest: bool) -> None:
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    journal.set_progress_handler(count, 100)
    day = START + timedelta(hours=12)
    found = Page(0, None, 100, newest, source, None, day, day + timedelta(hours=3)).rows(journal)
    journal.set_progress_handler(None, 0)
    assert len(found) == 100
    assert steps < 2_000
