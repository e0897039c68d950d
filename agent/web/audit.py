"""The audit trail: who had which device do what, when, and what came of it. All SQL on the table `audit`.

A try is written down before the device is asked, so that not even a crash leaves one untold; what came of it is
filled in afterwards.
"""

import sqlite3
from datetime import UTC, datetime
from typing import Any

from agent.alarms.model import instant
from agent.store import Store

LONGEST = 1000
UNFINISHED = "The agent ended before the device had answered."


async def begin(store: Store, who: str, source: str, action: str, target: str) -> int:
    """Write a try down; its number, for `finish`."""
    values = (instant(datetime.now(UTC)), *(_bounded(text) for text in (who, source, action, target)), UNFINISHED)
    sql = (
        "INSERT INTO audit (at, who, source, action, target, outcome, detail)"
        " VALUES (?, ?, ?, ?, ?, 'failed', ?) RETURNING id"
    )
    return int(await store.write(lambda c: c.execute(sql, values).fetchone()[0]))


async def finish(store: Store, entry_id: int, outcome: str, detail: str) -> None:
    """`outcome` is "done", "refused" (the device said no) or "failed" (not reached, or there is no such thing)."""
    values = (outcome, _bounded(detail), entry_id)
    await store.write(lambda c: c.execute("UPDATE audit SET outcome = ?, detail = ? WHERE id = ?", values))


async def page(store: Store, *, after: int = 0, limit: int = 100) -> list[dict[str, Any]]:
    """Entries in the order they were written."""
    sql = "SELECT * FROM audit WHERE id > ? ORDER BY id LIMIT ?"
    return [_entry(row) for row in await store.read(lambda c: c.execute(sql, (after, limit)).fetchall())]


async def newest(store: Store, limit: int, sources: list[str] | None = None) -> list[dict[str, Any]]:
    """The newest entries first, of `sources` where given."""
    where = "" if sources is None else f"WHERE source IN ({','.join('?' * len(sources))})"
    sql = f"SELECT * FROM audit {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 - question marks only
    rows = await store.read(lambda c: c.execute(sql, (*(sources or []), limit)).fetchall())
    return [_entry(row) for row in rows]


def _entry(row: sqlite3.Row) -> dict[str, Any]:
    keys = ("id", "who", "source", "action", "target", "outcome", "detail")
    return {**{key: row[key] for key in keys}, "when": row["at"]}


def _bounded(text: str) -> str:
    """A caller's or device's text as the store can keep it."""
    return text[:LONGEST].encode("utf-8", "replace").decode("utf-8")
