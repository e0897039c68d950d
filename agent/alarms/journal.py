"""The journal: alarms, positions and outbox rows in one transaction.

    Poll(alarms, position) ─record→ BEGIN · new alarms · their outbox rows · position · COMMIT ─ring→ dispatch
                                                                                            └────→ live streams

A crash at any instant repeats a poll and never loses or doubles an alarm: (source, epoch, native id) is unique.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from agent.alarms.model import Alarm, Evidence, JournalledAlarm, Kind, Position, instant, parse_instant
from agent.bell import Bell
from agent.metrics import Metrics
from agent.store import Store

Placing = Callable[[str], tuple[str, int]]
"""Device id -> (account, zone number)."""
Enqueue = Callable[[sqlite3.Connection, JournalledAlarm], None]
"""Write the outbox rows of a new alarm, inside the journal's transaction."""

MAX_PAGE = 1000
_INSERT = """
INSERT OR IGNORE INTO alarms (source, epoch, native_id, kind, occurred_at, received_at, account, zone,
    device, device_name, description, restoral, armed, snapshot, video, raw_json)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


class Journal:
    """Alarms in the store. `changed` rings after each commit that brought alarms or changed their evidence."""

    def __init__(
        self, store: Store, metrics: Metrics, enqueue: Enqueue, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.store = store
        self.changed = Bell()
        self._metrics = metrics
        self._enqueue = enqueue
        self._now = now

    async def record(
        self, source: str, alarms: Sequence[Alarm], position: Position | None, place: Placing
    ) -> list[JournalledAlarm]:
        """The alarms that are new, durable with their outbox rows and `position` (None: leave the position)."""

        def work(connection: sqlite3.Connection) -> list[JournalledAlarm]:
            fresh = [entry for alarm in alarms if (entry := self._insert(connection, source, alarm, place))]
            for entry in fresh:
                self._enqueue(connection, entry)
            if position is not None:
                connection.execute(
                    "INSERT INTO positions VALUES (?, ?, ?) ON CONFLICT (source) DO UPDATE"
                    " SET position_json = excluded.position_json, updated_at = excluded.updated_at",
                    (source, json.dumps(position), instant(self._now())),
                )
            return fresh

        recorded = await self.store.write(work)
        if recorded:
            self._count(recorded)
            self.changed.ring()
        return recorded

    async def position(self, source: str) -> Position | None:
        row = await self.store.read(
            lambda c: c.execute("SELECT position_json FROM positions WHERE source = ?", (source,)).fetchone()
        )
        return None if row is None else json.loads(row[0])

    async def alarm(self, alarm_id: int) -> JournalledAlarm | None:
        row = await self.store.read(lambda c: c.execute("SELECT * FROM alarms WHERE id = ?", (alarm_id,)).fetchone())
        return None if row is None else from_row(row)

    async def alarms(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 100,
        newest_first: bool = False,
        source: str | None = None,
        kind: Kind | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[JournalledAlarm]:
        """A page in journal order. `since` (inclusive) and `until` (exclusive) are about the time of occurrence."""
        where, values = _filters(after, before, source, kind, since, until)
        order = "DESC" if newest_first else "ASC"
        sql = f"SELECT * FROM alarms WHERE {where} ORDER BY id {order} LIMIT ?"  # noqa: S608 - no caller's text in it
        values.append(max(1, min(limit, MAX_PAGE)))
        rows = await self.store.read(lambda c: c.execute(sql, values).fetchall())
        return [from_row(row) for row in rows]

    async def last_id(self) -> int:
        row = await self.store.read(lambda c: c.execute("SELECT max(id) FROM alarms").fetchone())
        return int(row[0] or 0)

    async def deliveries_of(self, alarm_ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
        """The `deliveries` of alarm objects: alarm id -> [{"sink", "state", "at"}]."""
        marks = ",".join("?" * len(alarm_ids))
        sql = f"SELECT * FROM outbox WHERE alarm_id IN ({marks}) ORDER BY id"  # noqa: S608 - question marks only
        rows = await self.store.read(lambda c: c.execute(sql, list(alarm_ids)).fetchall())
        found: dict[int, list[dict[str, Any]]] = {alarm_id: [] for alarm_id in alarm_ids}
        for row in rows:
            at = row["acknowledged_at"] or row["created_at"]
            found[row["alarm_id"]].append({"sink": row["sink"], "state": row["state"], "at": at})
        return found

    async def objects(self, alarms: Sequence[JournalledAlarm]) -> list[dict[str, Any]]:
        """The contract's alarm objects, deliveries included."""
        deliveries = await self.deliveries_of([entry.id for entry in alarms])
        return [{**entry.as_json(), "deliveries": deliveries[entry.id]} for entry in alarms]

    def _insert(
        self, connection: sqlite3.Connection, source: str, alarm: Alarm, place: Placing
    ) -> JournalledAlarm | None:
        account, zone = place(alarm.device)
        received_at = self._now()
        inserted = connection.execute(
            _INSERT,
            (
                source,
                alarm.epoch,
                alarm.native_id,
                alarm.kind.value,
                instant(alarm.occurred_at),
                instant(received_at),
                account,
                zone,
                alarm.device,
                _storable(alarm.device_name),
                _storable(alarm.description),
                alarm.restoral,
                alarm.armed,
                alarm.snapshot.value,
                alarm.video.value,
                json.dumps(dict(alarm.raw)),
            ),
        )
        if inserted.rowcount == 0:
            return None
        alarm_id = inserted.lastrowid
        assert alarm_id is not None
        for media, state in (("snapshot", alarm.snapshot), ("video", alarm.video)):
            if state in (Evidence.READY, Evidence.RECORDING):
                # Ready at the device is not ready here: evidence.py fetches it and then says so.
                connection.execute(
                    "INSERT INTO media (alarm_id, media, state) VALUES (?, ?, 'recording')", (alarm_id, media)
                )
                connection.execute(f"UPDATE alarms SET {media} = 'recording' WHERE id = ?", (alarm_id,))  # noqa: S608
        row = connection.execute("SELECT * FROM alarms WHERE id = ?", (alarm_id,)).fetchone()
        return from_row(row)

    def _count(self, recorded: Sequence[JournalledAlarm]) -> None:
        for entry in recorded:
            self._metrics.alarms.labels(entry.source, entry.alarm.kind.value).inc()
            latency_s = (entry.received_at - entry.alarm.occurred_at).total_seconds()
            self._metrics.alarm_latency_seconds.labels(entry.source).observe(max(0.0, latency_s))


def _storable(text: str) -> str:
    """A device's text as UTF-8 can carry it: JSON may hold half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _filters(
    after: int,
    before: int | None,
    source: str | None,
    kind: Kind | None,
    since: datetime | None,
    until: datetime | None,
) -> tuple[str, list[Any]]:
    terms: list[tuple[str, Any]] = [("id > ?", after)]
    if before is not None:
        terms.append(("id < ?", before))
    if source is not None:
        terms.append(("source = ?", source))
    if kind is not None:
        terms.append(("kind = ?", kind.value))
    if since is not None:
        terms.append(("occurred_at >= ?", instant(since)))
    if until is not None:
        terms.append(("occurred_at < ?", instant(until)))
    return " AND ".join(term for term, _ in terms), [value for _, value in terms]


def from_row(row: sqlite3.Row) -> JournalledAlarm:
    alarm = Alarm(
        native_id=row["native_id"],
        kind=Kind(row["kind"]),
        occurred_at=parse_instant(row["occurred_at"]),
        description=row["description"],
        device=row["device"],
        device_name=row["device_name"],
        restoral=bool(row["restoral"]),
        armed=None if row["armed"] is None else bool(row["armed"]),
        snapshot=Evidence(row["snapshot"]),
        video=Evidence(row["video"]),
        raw=json.loads(row["raw_json"]),
        epoch=row["epoch"],
    )
    return JournalledAlarm(
        row["id"], row["source"], parse_instant(row["received_at"]), row["account"], row["zone"], alarm
    )
