"""The store: durable when it says so, grouped, isolated, and never silently replaced."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from agent.store import Store, StoreError
from agent.store.schema import SCHEMA_VERSION

INSERT = "INSERT INTO positions VALUES (?, '{}', '')"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "varde.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store.open(path)
    yield opened
    opened.close()


async def names(store: Store) -> list[str]:
    return await store.read(lambda c: [row[0] for row in c.execute("SELECT source FROM positions ORDER BY source")])


async def test_what_was_written_is_read_and_survives(store: Store, path: Path) -> None:
    await store.write(lambda c: c.execute(INSERT, ("yard",)))
    assert await names(store) == ["yard"]
    store.close()
    again = Store.open(path)
    assert await names(again) == ["yard"]
    again.close()


async def test_settings_that_durability_rests_on(store: Store) -> None:
    found = await store.write(
        lambda c: [
            c.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "secure_delete")
        ]
    )
    assert found == ["wal", 2, 1]


async def test_work_that_fails_is_undone_alone(store: Store) -> None:
    async def bad() -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(INSERT, ("half",))
            raise LookupError("no")

        with pytest.raises(LookupError):
            await store.write(work)

    async with trio.open_nursery() as nursery:
        for index in range(20):
            nursery.start_soon(store.write, lambda c, i=index: c.execute(INSERT, (f"good-{i:02}",)))
            nursery.start_soon(bad)
    assert await names(store) == [f"good-{index:02}" for index in range(20)]


async def test_many_writers_share_commits(store: Store) -> None:
    before = await store.read(lambda c: c.execute("PRAGMA data_version").fetchone()[0])
    async with trio.open_nursery() as nursery:
        for index in range(200):
            nursery.start_soon(store.write, lambda c, i=index: c.execute(INSERT, (f"{i:03}",)))
    assert len(await names(store)) == 200
    after = await store.read(lambda c: c.execute("PRAGMA data_version").fetchone()[0])
    assert before != after


async def test_a_write_is_not_lost_by_cancelling_who_asked(store: Store) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.write(lambda c: c.execute(INSERT, ("kept",)))
    assert await names(store) == ["kept"]


async def test_readers_cannot_write(store: Store) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await store.read(lambda c: c.execute(INSERT, ("x",)))


def test_a_second_process_is_refused_by_name(store: Store, path: Path) -> None:
    code = f"from agent.store import Store; from pathlib import Path; Store.open(Path({str(path)!r}))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert other.returncode != 0
    assert "in use by another varde process" in other.stderr and "pid" in other.stderr


def test_a_newer_database_is_refused_and_left_alone(path: Path) -> None:
    Store.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer Varde"):
        Store.open(path)
    assert path.read_bytes() == before


def test_a_damaged_database_is_set_aside_and_said(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this was a database once" * 100)
    store = Store.open(path)
    assert store.set_aside is not None and store.set_aside.read_bytes().startswith(b"this was")
    assert any(record.levelname == "CRITICAL" and str(store.set_aside) in record.message for record in caplog.records)
    store.close()


def test_a_page_that_rots_is_found(path: Path) -> None:
    Store.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.executemany(INSERT, ((f"{index:05}" * 40,) for index in range(500)))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    data = bytearray(path.read_bytes())
    data[-4096 * 3 : -4096 * 2] = b"\xff" * 4096
    path.write_bytes(data)
    store = Store.open(path)
    assert store.set_aside is not None
    store.close()


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        Store.open(tmp_path / "file" / "varde.db")


def test_only_the_agent_and_its_group_read_the_database(store: Store, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o640
