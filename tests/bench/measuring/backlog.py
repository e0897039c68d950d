"""A backlog into the journal, beside the same rows by bare sqlite3 in transactions as large and as durable."""

import gc
import sqlite3
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trio

from agent.alarms.journal import Journal
from agent.alarms.model import Alarm, Evidence, Kind
from agent.alarms.outbox import enqueue
from agent.metrics import Metrics
from agent.settings.sinks import Dc09Sink
from agent.settings.sources import DavantisSource as DavantisSettings
from agent.store import Store
from agent.vendors.davantis.source import ALARMS_A_POLL
from measuring.figure import Figure, Size, Table, in_turn, pick
from measuring.site import davantis

SINK = Dc09Sink(name="centre", kind="sia-dc09", host="127.0.0.1", port=1)
TABLES = ("alarms", "media", "outbox")


def backlog(size: Size, directory: Path) -> list[Figure]:
    count = pick(size, 100_000, 20_000, 600)
    alarms = made_alarms(count)
    rows = _rows_as_journalled(alarms, directory / "first.db")
    # The daemon holds no hundred thousand alarms in memory: the collector shall not walk through ours.
    gc.collect()
    gc.freeze()
    serial = iter(range(1000))
    found = in_turn(
        pick(size, 3, 2, 1),
        {
            "ours": lambda: count / _journal(alarms, directory / f"{next(serial)}.db"),
            "bare": lambda: count / _bare(rows, directory / f"{next(serial)}.db"),
        },
    )
    table = Table("backlog")
    name = f"{count:,} alarms into the journal, {ALARMS_A_POLL} a commit"
    table.ratio(name, found["ours"], "alarms/s", found["bare"], "bare sqlite3, the same rows", least=0.5)
    return table.figures


def made_alarms(count: int) -> list[Alarm]:
    """As a DAVANTIS device tells them: with a snapshot and a video."""
    begin = datetime.now(UTC) - timedelta(seconds=count)
    return [
        Alarm(
            native_id=str(number),
            kind=Kind.PERSON,
            occurred_at=begin + timedelta(seconds=number),
            description="Person detected",
            device=str(1 + number % 4),
            device_name="Loading bay",
            armed=True,
            snapshot=Evidence.READY,
            video=Evidence.READY,
            raw={"id": number, "idmachine": "BENCH", "idrule": 2, "idevent": 2, "idcamera": 1 + number % 4,
                 "description": "detected.person", "description_translation": "Person detected",
                 "started": "2026-01-31T02:14:07Z", "ended": "2026-01-31T02:14:09Z", "ack": "N",
                 "snapshot_status": "ready", "video_status": "ready"},
            epoch="BENCH",
        )
        for number in range(count)
    ]  # fmt: skip


def chunks(items: Sequence[Any], size: int = ALARMS_A_POLL) -> list[Sequence[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _journal(alarms: Sequence[Alarm], path: Path) -> float:
    """Seconds."""
    store = Store.open(path)
    metrics = Metrics()
    journal = Journal(store, metrics, lambda connection, alarm: enqueue(connection, alarm, [SINK], datetime.now(UTC)))
    place = DavantisSettings.model_validate(davantis("yard", "http://127.0.0.1:1")).place_of

    async def record() -> float:
        begun = time.perf_counter()
        for chunk in chunks(alarms):
            recorded = await journal.record("yard", chunk, {"mark": chunk[-1].native_id}, place)
            assert len(recorded) == len(chunk)
        return time.perf_counter() - begun

    took = trio.run(record)
    store.close()
    return took


def _rows_as_journalled(alarms: Sequence[Alarm], path: Path) -> list[dict[str, list[Any]]]:
    """What each commit of the journal put into each table."""
    _journal(alarms, path)
    connection = sqlite3.connect(path)
    found = []
    for first in range(1, len(alarms) + 1, ALARMS_A_POLL):
        span = (first, first + ALARMS_A_POLL - 1)
        found.append(
            {
                table: connection.execute(f"SELECT * FROM {table} WHERE {column} BETWEEN ? AND ?", span).fetchall()
                for table, column in (("alarms", "id"), ("media", "alarm_id"), ("outbox", "alarm_id"))
            }
        )
    connection.close()
    return found


def _bare(rows: Sequence[dict[str, list[Any]]], path: Path) -> float:
    """Seconds for the same rows in the same transactions, ready-made and with nothing around them."""
    Store.open(path).close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    begun = time.perf_counter()
    for tables in rows:
        connection.execute("BEGIN IMMEDIATE")
        for table in TABLES:
            marks = ",".join("?" * len(tables[table][0]))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", tables[table])
        connection.execute(
            "INSERT INTO positions VALUES ('yard', ?, '') ON CONFLICT DO UPDATE"
            " SET position_json = excluded.position_json",
            (str(tables["alarms"][-1][0]),),
        )
        connection.execute("COMMIT")
    took = time.perf_counter() - begun
    connection.close()
    return took
