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
RARE = 1000


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

    def work(connection: sqlite3.Connection) -> list[Entry]:
        sql, values = _in_day(connection, chosen, before) if chosen.day else _in_journal(chosen, before)
        found = [from_row(row) for row in connection.execute(sql, [*values, limit])]
        deliveries = _deliveries(connection, [entry.id for entry in found])
        return [Entry(entry, deliveries.get(entry.id, [])) for entry in found]

    return await store.read(work)


def _is_rare(connection: sqlite3.Connection, kind: Kind | None) -> bool:
    if kind is None:
        return False
    sql = "SELECT count(*) FROM (SELECT 1 FROM alarms WHERE kind = ? LIMIT ?)"
    return int(connection.execute(sql, (kind.value, RARE)).fetchone()[0]) < RARE


def _in_journal(chosen: Filter, before: int | None) -> tuple[str, list[Any]]:
    """In the journal's order, which the indices of source and of kind have too."""
    terms, values = _terms(chosen, before)
    if before is not None:
        terms.append("id < ?")
        values.append(before)
    return _query(terms, "id DESC"), values


def _in_day(connection: sqlite3.Connection, chosen: Filter, before: int | None) -> tuple[str, list[Any]]:
    """In the order of occurrence. A column behind a `+` is looked at in each row and not looked up in its index.

    A kind that there is little of is looked up and its few rows are sorted; of one that there is much of, a page is
    soon found among the day's.
    """
    assert chosen.day is not None
    rare = _is_rare(connection, chosen.kind)
    terms, values = _terms(chosen, before, by_kind="" if rare else "+", by_source="+" if rare else "")
    at = "+occurred_at" if rare else "occurred_at"
    end = instant(chosen.day[1])
    if before is not None:
        row = connection.execute("SELECT occurred_at FROM alarms WHERE id = ?", (before,)).fetchone()
        end = min(end, row[0]) if row else end
        terms.append(f"({at} < ? OR id < ?)")
        values += [end, before]
    terms.append(f"{at} >= ? AND {at} {'<' if before is None else '<='} ?")
    values += [instant(chosen.day[0]), end]
    return _query(terms, "occurred_at DESC, id DESC"), values


def _terms(
    chosen: Filter, before: int | None, *, by_kind: str = "", by_source: str = ""
) -> tuple[list[str], list[Any]]:
    filters = ((f"{by_source}source", chosen.source), (f"{by_kind}kind", chosen.kind and chosen.kind.value))
    terms = [f"{column} = ?" for column, value in filters if value is not None]
    values: list[Any] = [value for _, value in filters if value is not None]
    if chosen.delivery is not None:
        # The newest of that state only: a receiver that was down for a week must not make the page slow.
        terms.append("id IN (SELECT alarm_id FROM outbox WHERE state = ? AND alarm_id < ? ORDER BY id DESC LIMIT ?)")
        values += [chosen.delivery, before or 2**62, DELIVERIES_SEARCHED]
    return terms, values


def _query(terms: list[str], order: str) -> str:
    where = f"WHERE {' AND '.join(terms)} " if terms else ""
    return f"SELECT * FROM alarms {where}ORDER BY {order} LIMIT ?"  # noqa: S608 - no caller's text in it


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
