"""Batches as the agent API and `varde batches` show them."""

import sqlite3
from typing import Any

MAX_BATCHES = 1000

_COUNTS = ("pending_import", "imported", "import_failed", "superseded")


def list_batches(
    connection: sqlite3.Connection, *, after: int = 0, limit: int = 100, newest_first: bool = False, rows: bool = False
) -> list[dict[str, Any]]:
    """Batches with a number above `after`, oldest first, or the newest first; `rows` adds each with its clients.

    Each: `{"id","who","started_at","finished_at","outcome","clients","carried","detail","results":{state: count}}`.
    `finished_at` is None while it runs.
    """
    found = connection.execute(
        "SELECT id, who, started_at, finished_at, outcome, clients, carried, detail FROM batches WHERE id > ?"
        " ORDER BY CASE WHEN ? THEN -id ELSE id END LIMIT ?",
        (after, newest_first, max(1, min(limit, MAX_BATCHES))),
    ).fetchall()
    return [_view(connection, row, rows) for row in found]


def batch(connection: sqlite3.Connection, batch_id: int) -> dict[str, Any] | None:
    """One batch with its rows."""
    row = connection.execute(
        "SELECT id, who, started_at, finished_at, outcome, clients, carried, detail FROM batches WHERE id = ?",
        (batch_id,),
    ).fetchone()
    return None if row is None else _view(connection, row, True)


def _view(connection: sqlite3.Connection, row: sqlite3.Row, rows: bool) -> dict[str, Any]:
    counts = dict(
        connection.execute("SELECT result, count(*) FROM batch_rows WHERE batch_id = ? GROUP BY result", (row["id"],))
    )
    view = dict(row) | {"results": {name: counts.get(name, 0) for name in _COUNTS}}
    if rows:
        view["rows"] = [
            dict(found)
            for found in connection.execute(
                "SELECT import_id, key_name, client_id, revision, origin, result, detail FROM batch_rows"
                " WHERE batch_id = ? ORDER BY import_id",
                (row["id"],),
            )
        ]
    return view
