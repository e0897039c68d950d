"""One page of the journal, in the time of the page and not of the journal.

Facts. A page is in the order of ids, a span of time is about the occurrence, and the two are nearly but not always the
same order: an offline lock tells hours later. SQLite can walk one index; walking ids until enough of them fall into
yesterday reads ten million rows, and sorting the span reads all of it.

    a few thousand ids from where the page begins ─→ enough found: done (the usual case: an open span)
                     └─ else the span's smallest and largest id, from the index by time ─→ the walk stays within them
"""

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.alarms.model import Kind, instant

WINDOW = 2000


@dataclass(frozen=True, slots=True)
class Page:
    """`since` is inclusive, `until` exclusive, both about the time of occurrence; `after` and `before` are ids."""

    after: int
    before: int | None
    limit: int
    newest_first: bool
    source: str | None
    kind: Kind | None
    since: datetime | None
    until: datetime | None

    def rows(self, connection: sqlite3.Connection) -> list[sqlite3.Row]:
        where, values = self._places()
        if self.since is None and self.until is None:
            return self._walk(connection, "alarms", where, values)
        spans, moments = self._span()
        window = f"(SELECT * FROM alarms WHERE {where} ORDER BY id {self._order} LIMIT {WINDOW})"  # noqa: S608 - ours
        found = self._walk(connection, window, spans, values + moments)
        if len(found) == self.limit:
            return found
        low, high = self._bounds(connection, spans, moments)
        if low is None:
            return []
        where = f"{where} AND id BETWEEN ? AND ? AND {spans}"
        return self._walk(connection, "alarms", where, [*values, low, high, *moments])

    @property
    def _order(self) -> str:
        return "DESC" if self.newest_first else "ASC"

    def _walk(self, connection: sqlite3.Connection, table: str, where: str, values: list[Any]) -> list[sqlite3.Row]:
        sql = f"SELECT * FROM {table} WHERE {where} ORDER BY id {self._order} LIMIT ?"  # noqa: S608 - no caller's text
        return connection.execute(sql, [*values, self.limit]).fetchall()

    def _places(self) -> tuple[str, list[Any]]:
        terms: list[tuple[str, Any]] = [("id > ?", self.after)]
        if self.before is not None:
            terms.append(("id < ?", self.before))
        if self.source is not None:
            terms.append(("source = ?", self.source))
        if self.kind is not None:
            terms.append(("kind = ?", self.kind.value))
        return " AND ".join(term for term, _ in terms), [value for _, value in terms]

    def _span(self) -> tuple[str, list[Any]]:
        terms = [("occurred_at >= ?", self.since), ("occurred_at < ?", self.until)]
        given = [(term, instant(moment)) for term, moment in terms if moment is not None]
        return " AND ".join(term for term, _ in given), [value for _, value in given]

    def _bounds(self, connection: sqlite3.Connection, spans: str, moments: list[Any]) -> tuple[int | None, int | None]:
        source = "" if self.source is None else "source = ? AND "
        values = moments if self.source is None else [self.source, *moments]
        index = "alarms_by_time" if self.source is None else "alarms_by_source_time"
        sql = f"SELECT min(id), max(id) FROM alarms INDEXED BY {index} WHERE {source}{spans}"  # noqa: S608 - ours
        low, high = connection.execute(sql, values).fetchone()
        return low, high
