"""What the pages list, read so that a page costs the same with a hundred alarms and with ten million.

Every query walks an index in the order it shows and stops after a page; nothing counts a whole table.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from agent.alarms.journal import from_row
from agent.alarms.model import JournalledAlarm, Kind, instant
from agent.store import Store

PAGE = 30
QUARTERS = 96
MOST_IN_QUARTER = 60
DELIVERIES_SEARCHED = 500


@dataclass(frozen=True, slots=True)
class Entry:
    """An alarm and its outbox rows."""

    alarm: JournalledAlarm
    deliveries: list[dict[str, Any]]

    @property
    def id(self) -> int:
        return self.alarm.id


@dataclass(frozen=True, slots=True)
class Filter:
    source: str | None = None
    kind: Kind | None = None
    delivery: str | None = None
    day: tuple[datetime, datetime] | None = None


async def alarms(store: Store, chosen: Filter, *, before: int | None = None, limit: int = PAGE) -> list[Entry]:
    """The newest alarms that fit, older than the alarm `before`."""
    sql, values = _select(chosen, before)

    def work(connection: sqlite3.Connection) -> list[Entry]:
        found = [from_row(row) for row in connection.execute(sql, [*values, limit])]
        deliveries = _deliveries(connection, [entry.id for entry in found])
        return [Entry(entry, deliveries.get(entry.id, [])) for entry in found]

    return await store.read(work)


def _select(chosen: Filter, before: int | None) -> tuple[str, list[Any]]:
    terms: list[str] = []
    values: list[Any] = []
    for column, value in (("source", chosen.source), ("kind", chosen.kind and chosen.kind.value)):
        if value is not None:
            terms.append(f"{column} = ?")
            values.append(value)
    if chosen.delivery is not None:
        # The newest of that state only: a receiver that was down for a week must not make the page slow.
        terms.append("id IN (SELECT alarm_id FROM outbox WHERE state = ? AND alarm_id < ? ORDER BY id DESC LIMIT ?)")
        values += [chosen.delivery, before or 2**62, DELIVERIES_SEARCHED]
    if chosen.day is not None:
        # Within a day the order is that of occurrence, which has its own index; beyond, that of the journal.
        terms.append("occurred_at >= ? AND occurred_at < ?")
        values += [instant(chosen.day[0]), instant(chosen.day[1])]
        if before is not None:
            terms.append("(occurred_at, id) < (SELECT occurred_at, id FROM alarms WHERE id = ?)")
            values.append(before)
    elif before is not None:
        terms.append("id < ?")
        values.append(before)
    order = "occurred_at DESC, id DESC" if chosen.day is not None else "id DESC"
    where = f"WHERE {' AND '.join(terms)} " if terms else ""
    return f"SELECT * FROM alarms {where}ORDER BY {order} LIMIT ?", values  # noqa: S608 - no caller's text in it


async def alarm(store: Store, alarm_id: int) -> Entry | None:
    def work(connection: sqlite3.Connection) -> Entry | None:
        row = connection.execute("SELECT * FROM alarms WHERE id = ?", (alarm_id,)).fetchone()
        return None if row is None else Entry(from_row(row), _deliveries(connection, [alarm_id]).get(alarm_id, []))

    return await store.read(work)


async def neighbours(store: Store, alarm_id: int) -> tuple[int | None, int | None]:
    """The alarm before and the alarm after, by number."""

    def work(connection: sqlite3.Connection) -> tuple[int | None, int | None]:
        before = connection.execute("SELECT max(id) FROM alarms WHERE id < ?", (alarm_id,)).fetchone()[0]
        after = connection.execute("SELECT min(id) FROM alarms WHERE id > ?", (alarm_id,)).fetchone()[0]
        return before, after

    return await store.read(work)


async def media(store: Store, alarm_id: int) -> dict[str, dict[str, Any]]:
    """Medium -> its row."""
    sql = "SELECT media, state, fetched_at, bytes, content_type FROM media WHERE alarm_id = ?"
    rows = await store.read(lambda c: c.execute(sql, (alarm_id,)).fetchall())
    return {row["media"]: dict(row) for row in rows}


async def quarters(store: Store, begin: datetime, source: str | None) -> list[int]:
    """Alarms by quarter of an hour from `begin` on, each count up to `MOST_IN_QUARTER`."""
    column = "source = ? AND " if source else ""
    sql = f"SELECT count(*) FROM (SELECT 1 FROM alarms WHERE {column}occurred_at >= ? AND occurred_at < ? LIMIT ?)"  # noqa: S608

    def work(connection: sqlite3.Connection) -> list[int]:
        edges = [instant(begin + timedelta(minutes=15 * index)) for index in range(QUARTERS + 1)]
        first = [source] if source else []
        return [
            int(connection.execute(sql, (*first, *edges[index : index + 2], MOST_IN_QUARTER)).fetchone()[0])
            for index in range(QUARTERS)
        ]

    return await store.read(work)


def _deliveries(connection: sqlite3.Connection, alarm_ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    marks = ",".join("?" * len(alarm_ids))
    sql = f"SELECT * FROM outbox WHERE alarm_id IN ({marks}) ORDER BY id"  # noqa: S608 - question marks only
    found: dict[int, list[dict[str, Any]]] = {}
    for row in connection.execute(sql, list(alarm_ids)):
        found.setdefault(row["alarm_id"], []).append(dict(row))
    return found


# --- clients ----------------------------------------------------------------------------------------------------------


async def clients_numbered(store: Store, client_id: int) -> list[dict[str, Any]]:
    """The clients of every key that have this number."""
    sql = (
        "SELECT id, key_name, client_id, import_id, state AS status, revision, changed_at, last_batch, detail,"
        " locked_until FROM clients WHERE client_id = ? ORDER BY key_name LIMIT 100"
    )
    return [dict(row) for row in await store.read(lambda c: c.execute(sql, (client_id,)).fetchall())]
