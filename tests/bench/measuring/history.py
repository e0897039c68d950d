"""Large journals beside small ones: the agent API's answers and the console's pages."""

import json
import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import quote

import trio

from agent.alarms.model import instant
from agent.store import Store
from measuring.children import RowFailed, child, in_process
from measuring.figure import Figure, Size, Table, in_turn, pick
from measuring.site import TOKEN, running_site, settings

Timing = Callable[[], float]
BEARER = {"Authorization": f"Bearer {TOKEN}"}
SOURCES = 2  # so that even a hundred alarms fill a page of one source
A_DAY = 10_000  # alarms; so both journals hold a day that is equally full
CAUGHT_UP = 1000
BYTES_AN_ALARM = 800


# --- a journal made fast ----------------------------------------------------------------------------------------------


def fill(path: Path, alarms: int) -> None:
    """A journal of `alarms` acknowledged alarms, the newest of today, `A_DAY` a day, of two sources in turn.

    As the product would have left it, but written without flushes and with its indexes made afterwards.
    """
    Store.open(path).close()
    connection = sqlite3.connect(path, isolation_level=None)
    for setting in ("journal_mode=DELETE", "synchronous=OFF", "cache_size=-400000", "locking_mode=EXCLUSIVE"):
        connection.execute(f"PRAGMA {setting}")
    kept = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
        " AND tbl_name IN ('alarms', 'outbox')"
    ).fetchall()
    for name, _ in kept:
        connection.execute(f"DROP INDEX {name}")
    connection.execute("BEGIN")
    _insert(connection, alarms)
    for _, sql in kept:
        connection.execute(sql)
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


def _insert(connection: sqlite3.Connection, alarms: int) -> None:
    begin = datetime.now(UTC).timestamp() - alarms * 86400 / A_DAY
    raw = json.dumps({"id": 0, "description": "detected.person", "ack": "N", "snapshot_status": "ready"})
    connection.execute(
        "INSERT INTO alarms WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) SELECT"
        f" i, 'd' || (i % {SOURCES}), 'BENCH', printf('%09d', i), CASE i % 3 WHEN 0 THEN 'vehicle' ELSE 'person' END,"
        " strftime('%Y-%m-%dT%H:%M:%fZ', ?2 + i * ?3, 'unixepoch'),"
        " strftime('%Y-%m-%dT%H:%M:%fZ', ?2 + i * ?3, 'unixepoch'),"
        " '9998', i % 9, i % 9, 'Loading bay', 'Person detected', 0, 1, 'expired', 'unavailable', ?4 FROM n",
        (alarms, begin, 86400 / A_DAY, raw),
    )
    connection.execute(
        "INSERT INTO outbox SELECT id, id, 'centre', '9998', 'acknowledged', 1, NULL, NULL, received_at, received_at,"
        " '0001' FROM alarms"
    )


# --- ten million ------------------------------------------------------------------------------------------------------


def ten_million(size: Size, directory: Path) -> list[Figure]:
    large = int(os.environ.get("VARDE_BENCH_ALARMS") or pick(size, 10_000_000, 300_000, 2000))
    small = min(10_000, large // 2)
    if shutil.disk_usage(directory).free < large * BYTES_AN_ALARM:
        needed = large * BYTES_AN_ALARM / 1e9
        raise RowFailed(f"{needed:.1f} GB are needed: give another --dir, or fewer alarms by VARDE_BENCH_ALARMS")
    table = Table("ten-million")
    for alarms in (small, large):
        (directory / str(alarms) / "state").mkdir(parents=True)
        in_process(fill, directory / str(alarms) / "state" / "varde.db", alarms, patience_s=800)
    with child(_serve, directory / str(small)) as few, child(_serve, directory / str(large)) as many:

        def compare(name: str, few_ms: Timing, many_ms: Timing) -> None:
            few_ms(), many_ms()
            found = in_turn(pick(size, 31, 15, 2), {"few": few_ms, "many": many_ms})
            table.ratio(f"{large:,} alarms: {name}", found["many"], "ms", found["few"], f"{small:,} alarms", most=1.5)

        for name, path, path_of_many in _questions(small, large):
            compare(name, _asking(few.ready, path), _asking(many.ready, path_of_many))
        count = min(CAUGHT_UP, small // 2)
        streams = [_catching_up(port, alarms, count) for port, alarms in ((few.ready, small), (many.ready, large))]
        compare(f"stream, catch-up of {count:,}", *streams)
    return table.figures


def _questions(small: int, large: int) -> list[tuple[str, str, str]]:
    """Name, what the small journal is asked, what the large one is asked."""
    newest = "/api/v1/alarms?newest=true&limit=100"
    of_day = "/api/v1/alarms?source=d1&limit=100&" + _day(0)
    return [
        ("newest page", newest, newest),
        ("filter by source and day, the last one", of_day, of_day),
        ("the same, newest first", f"{of_day}&newest=true", f"{of_day}&newest=true"),
        ("filter by source and day, long ago", of_day, of_day.replace(_day(0), _day(large // A_DAY // 2))),
    ]


def _day(ago: int) -> str:
    end = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(days=ago)
    return f"since={quote(instant(end - timedelta(days=1)))}&until={quote(instant(end))}"


def _asking(port: int, path: str) -> Timing:
    """Milliseconds of one request, over a connection that is open already."""
    connection = HTTPConnection("127.0.0.1", port)

    def ask() -> float:
        begun = time.perf_counter()
        connection.request("GET", path, headers=BEARER)
        response = connection.getresponse()
        body = response.read()
        took = time.perf_counter() - begun
        assert response.status == 200 and len(body) > 100, (path, response.status)
        return took * 1000

    return ask


def _catching_up(port: int, alarms: int, count: int) -> Timing:
    """Milliseconds until the newest `count` alarms have come over a stream that takes up where it was."""
    last = f"id: {alarms}\n".encode()

    def follow() -> float:
        head = f"GET /api/v1/alarms/stream HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {TOKEN}\r\n"
        with socket.create_connection(("127.0.0.1", port)) as connected:
            begun = time.perf_counter()
            connected.sendall(f"{head}Last-Event-ID: {alarms - count}\r\n\r\n".encode())
            received = b""
            while last not in received:
                part = connected.recv(1 << 20)
                assert part, received[:300]
                received = received[-len(last) :] + part
            return (time.perf_counter() - begun) * 1000

    return follow


def _serve(pipe: Connection, directory: Path) -> None:
    """For a child: the whole daemon on the state of `directory`; sends the console's port."""

    async def serve() -> None:
        async with running_site(settings(directory)) as site:
            pipe.send(int(site.listeners["console"].rpartition(":")[2]))
            await trio.sleep_forever()

    trio.run(serve)


# --- the console's pages ----------------------------------------------------------------------------------------------


def pages(size: Size, directory: Path) -> list[Figure]:
    small, large = 100, pick(size, 100_000, 100_000, 300)
    for alarms in (small, large):
        (directory / str(alarms) / "state").mkdir(parents=True)
        fill(directory / str(alarms) / "state" / "varde.db", alarms)
    table = Table("pages")
    today = datetime.now(UTC).date().isoformat()
    with child(_serve, directory / str(small)) as few, child(_serve, directory / str(large)) as many:
        for name, path in (
            ("site", "/"),
            ("alarms", "/alarms"),
            ("alarms of a source", "/alarms?source=d1"),
            ("alarms of a day", f"/alarms?day={today}"),
            ("alarms of a source and a day", f"/alarms?source=d1&day={today}"),
            ("alarms of a kind", "/alarms?kind=vehicle"),
            ("alarms that wait", "/alarms?delivery=pending"),
            ("one alarm", "/alarms/60"),
            ("cameras", "/cameras"),
            ("clients", "/clients"),
            ("health", "/health"),
        ):
            works = {"few": _asking(few.ready, path), "many": _asking(many.ready, path)}
            for work in works.values():
                work()
            found = in_turn(pick(size, 31, 11, 1), works)
            what = f"{name}, {large:,} alarms"
            table.ratio(what, found["many"], "ms", found["few"], f"with {small}", most=1.5)
    return table.figures
