"""The outbox: which alarm still has to reach which sink. All SQL on the tables `outbox` and `sink_state`.

    enqueue ─→ pending ──acknowledge──→ acknowledged
                │   ↑ └──keep── (attempts + 1, reason, next_attempt_at) stays pending
                │   └───retry────┐
                └────reject────→ rejected

A pending row without a try whose `next_attempt_at` lies ahead is held by flapping protection until then.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent.alarms.flapping import Hold, hold
from agent.alarms.journal import from_row
from agent.alarms.model import JournalledAlarm, instant, parse_instant
from agent.settings.sinks import SinkSettings
from agent.store import Store

MAX_PAGE = 1000
STATES = ("pending", "acknowledged", "rejected")

# Held until then, unless the clock has been set back behind the moment it was written: then nobody knows how long.
_HELD = "attempts = 0 AND next_attempt_at IS NOT NULL AND next_attempt_at > ?2 AND created_at <= ?2"
_DUE = f"state = 'pending' AND NOT ({_HELD})"
_SENT = Hold(False)
_ACCOUNTS = f"""
WITH RECURSIVE found(account) AS (
    SELECT (SELECT account FROM outbox WHERE sink = ?1 AND {_DUE} ORDER BY account LIMIT 1)
    UNION ALL
    SELECT (SELECT account FROM outbox WHERE sink = ?1 AND {_DUE} AND account > found.account ORDER BY account LIMIT 1)
    FROM found WHERE found.account IS NOT NULL
)
SELECT account FROM found WHERE account IS NOT NULL
"""  # noqa: S608 - ours alone


@dataclass(frozen=True, slots=True)
class Row:
    """A pending outbox row with its alarm. `attempts` counts the tries so far."""

    id: int
    account: str
    attempts: int
    memo: str | None
    alarm: JournalledAlarm


@dataclass(frozen=True, slots=True)
class Depth:
    """How much a sink has before it. `oldest_at` is when the oldest pending row was written, None when empty."""

    pending: int
    oldest_at: datetime | None
    rejected: int


def enqueue(
    connection: sqlite3.Connection,
    alarm: JournalledAlarm,
    sinks: Sequence[SinkSettings],
    now: datetime,
    held_back: Callable[[str], None] = lambda sink: None,
) -> None:
    """Write the rows of a new alarm, inside the journal's transaction; `held_back(sink)` where flapping held it."""
    for sink in sinks:
        if not sink.wants(alarm.source, alarm.alarm.kind, alarm.alarm.armed):
            continue
        decision = hold(connection, alarm, sink.name, sink.hold_repeats_s, now) if sink.hold_repeats_s else _SENT
        if decision.held:
            held_back(sink.name)
        if not decision.held or decision.until is not None:
            # One lane for an alarm that names its account and one that falls back to the sink's: the order between
            # them is the order of the account.
            account = alarm.account or getattr(sink, "account", None) or ""
            connection.execute(
                "INSERT INTO outbox (alarm_id, sink, account, created_at, next_attempt_at) VALUES (?, ?, ?, ?, ?)",
                (alarm.id, sink.name, account, instant(now), instant(decision.until) if decision.until else None),
            )


class Outbox:
    """The outbox of every sink. Reads run beside the writer; each write is durable when it returns."""

    def __init__(self, store: Store, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store = store
        self._now = now

    async def accounts(self, sink: str) -> list[str]:
        """The accounts that have rows to be sent now; as many index look-ups as there are accounts."""
        values = (sink, instant(self._now()))
        rows = await self._store.read(lambda c: c.execute(_ACCOUNTS, values).fetchall())
        return [row[0] for row in rows]

    async def due(self, sink: str, account: str, limit: int, after: int = 0) -> list[Row]:
        """The oldest pending rows of an account, whatever their `next_attempt_at`: that is for people to read."""
        sql = (
            "SELECT alarms.*, o.id AS outbox_id, o.account AS outbox_account, o.attempts, o.memo FROM"  # noqa: S608 - ours
            f" (SELECT * FROM outbox WHERE sink = ?1 AND {_DUE} AND account = ?3 AND id > ?4 ORDER BY id LIMIT ?5) AS o"
            " JOIN alarms ON alarms.id = o.alarm_id ORDER BY o.id"
        )
        values = (sink, instant(self._now()), account, after, limit)
        return await self._store.read(lambda c: [_row(row) for row in c.execute(sql, values)])

    async def acknowledge(self, rows: Iterable[tuple[int, datetime]]) -> None:
        """(id, when the far end acknowledged) for many rows in one transaction."""
        values = [(instant(at), row_id) for row_id, at in rows]
        await self._store.write(
            lambda c: c.executemany(
                "UPDATE outbox SET state = 'acknowledged', acknowledged_at = ?, attempts = attempts + 1,"
                " reason = NULL, next_attempt_at = NULL WHERE id = ?",
                values,
            )
        )

    async def reject(self, row_id: int, reason: str) -> None:
        await self._change(row_id, "state = 'rejected', reason = ?, next_attempt_at = NULL", reason)

    async def keep(self, row_id: int, reason: str, next_attempt_at: datetime) -> None:
        await self._change(row_id, "reason = ?, next_attempt_at = ?", reason, instant(next_attempt_at))

    async def note(self, row_id: int, memo: str) -> None:
        await self._store.write(lambda c: c.execute("UPDATE outbox SET memo = ? WHERE id = ?", (memo, row_id)))

    async def allot(
        self, sink: str, rows: Sequence[Row], make: Callable[[JournalledAlarm, dict[str, Any]], str]
    ) -> dict[int, str]:
        """Give each row without a memo one: `make(alarm, state)`, row id -> memo, in one transaction.

        `state` is the sink's durable document, which `make` may change: a counter in it and the memos that came of
        it stand or fall together.
        """

        def work(connection: sqlite3.Connection) -> dict[int, str]:
            state = _state(connection, sink)
            memos = {row.id: make(row.alarm, state) for row in rows if row.memo is None}
            connection.executemany("UPDATE outbox SET memo = ? WHERE id = ?", [(memo, i) for i, memo in memos.items()])
            _save_state(connection, sink, state)
            return memos

        return await self._store.write(work)

    async def change_state(self, sink: str, change: Callable[[dict[str, Any]], Any]) -> Any:
        """Apply `change` to the sink's durable document; what it returned."""

        def work(connection: sqlite3.Connection) -> Any:
            state = _state(connection, sink)
            result = change(state)
            _save_state(connection, sink, state)
            return result

        return await self._store.write(work)

    async def retry(self, row_id: int) -> tuple[str, str] | None:
        """Make a rejected or waiting row due now; its (sink, account), None where there is no such row to retry."""

        def work(connection: sqlite3.Connection) -> tuple[str, str] | None:
            row = connection.execute(
                "UPDATE outbox SET state = 'pending', next_attempt_at = NULL"
                " WHERE id = ? AND state IN ('pending', 'rejected') RETURNING sink, account",
                (row_id,),
            ).fetchone()
            return (row["sink"], row["account"]) if row else None

        return await self._store.write(work)

    async def list(
        self, *, state: str | None = None, sink: str | None = None, after: int = 0, limit: int = 100
    ) -> tuple[list[dict[str, Any]], int]:
        """A page of the contract's delivery objects, oldest first, and the `after` of the next page."""
        where, values = "id > ?", [after]  # type: tuple[str, list[Any]]
        for column, value in (("state", state), ("sink", sink)):
            if value is not None:
                where += f" AND {column} = ?"
                values.append(value)
        sql = f"SELECT * FROM outbox WHERE {where} ORDER BY id LIMIT ?"  # noqa: S608 - no caller's text in it
        values.append(max(1, min(limit, MAX_PAGE)))
        rows = await self._store.read(lambda c: c.execute(sql, values).fetchall())
        return [_object(row) for row in rows], rows[-1]["id"] if rows else after

    async def depth(self, sink: str) -> Depth:
        def work(connection: sqlite3.Connection) -> Depth:
            counted = {
                state: connection.execute(
                    f"SELECT count(*) FROM outbox WHERE sink = ? AND state = '{state}'",  # noqa: S608 - two words of ours
                    (sink,),
                ).fetchone()[0]
                for state in ("pending", "rejected")
            }
            oldest = connection.execute(
                "SELECT created_at FROM outbox WHERE sink = ? AND state = 'pending' ORDER BY id LIMIT 1", (sink,)
            ).fetchone()
            return Depth(counted["pending"], parse_instant(oldest[0]) if oldest else None, counted["rejected"])

        return await self._store.read(work)

    async def last_acknowledged_at(self, sink: str) -> datetime | None:
        row = await self._store.read(
            lambda c: c.execute(
                "SELECT acknowledged_at FROM outbox WHERE sink = ? AND state = 'acknowledged' ORDER BY id DESC LIMIT 1",
                (sink,),
            ).fetchone()
        )
        return parse_instant(row[0]) if row and row[0] else None

    async def _change(self, row_id: int, assignments: str, *values: str) -> None:
        sql = f"UPDATE outbox SET attempts = attempts + 1, {assignments} WHERE id = ?"  # noqa: S608 - ours alone
        await self._store.write(lambda c: c.execute(sql, (*values, row_id)))


def _row(row: sqlite3.Row) -> Row:
    return Row(row["outbox_id"], row["outbox_account"], row["attempts"], row["memo"], from_row(row))


def _object(row: sqlite3.Row) -> dict[str, Any]:
    keys = ("id", "alarm_id", "sink", "state", "attempts", "reason", "next_attempt_at", "acknowledged_at")
    return {key: row[key] for key in keys}


def _state(connection: sqlite3.Connection, sink: str) -> dict[str, Any]:
    row = connection.execute("SELECT state_json FROM sink_state WHERE sink = ?", (sink,)).fetchone()
    return dict(json.loads(row[0])) if row else {}


def _save_state(connection: sqlite3.Connection, sink: str, state: Mapping[str, Any]) -> None:
    connection.execute(
        "INSERT INTO sink_state VALUES (?, ?) ON CONFLICT (sink) DO UPDATE SET state_json = excluded.state_json",
        (sink, json.dumps(state)),
    )
