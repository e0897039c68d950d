"""The journal: alarms, positions and outbox rows in one transaction.

    Poll(alarms, position) ─record→ BEGIN · new alarms · their outbox rows · position · COMMIT ─ring→ dispatch
                                                                                            └────→ live streams

A crash at any instant repeats a poll and never loses or doubles an alarm: (source, epoch, native id) is unique.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json

from agent.alarms.model import Alarm, Evidence, JournalledAlarm, Kind, Position, instant, parse_instant
from agent.alarms.page import Page
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
            fresh = self._insert_new(connection, source, alarms, place)
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
        page = Page(after, before, max(1, min(limit, MAX_PAGE)), newest_first, source, kind, since, until)
        return [from_row(row) for row in await self.store.read(page.rows)]

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

    def _insert_new(
        self, connection: sqlite3.Connection, source: str, alarms: Sequence[Alarm], place: Placing
    ) -> list[JournalledAlarm]:
        """The rows of the alarms that are not there yet; what is returned is what a reader would find."""
        received_at = _to_the_millisecond(self._now())
        stamp = instant(received_at)
        fresh: list[JournalledAlarm] = []
        cursor = connection.cursor()
        for alarm in map(_as_kept, alarms):
            account, zone = place(alarm.device)
            inserted = cursor.execute(_INSERT, (source, *_columns(alarm, stamp, account, zone)))
            if inserted.rowcount:
                assert inserted.lastrowid is not None
                fresh.append(JournalledAlarm(inserted.lastrowid, source, received_at, account, zone, alarm))
        connection.executemany(
            "INSERT INTO media (alarm_id, media, state) VALUES (?, ?, 'recording')",
            [
                (entry.id, media)
                for entry in fresh
                for media, state in (("snapshot", entry.alarm.snapshot), ("video", entry.alarm.video))
                if state is Evidence.RECORDING
            ],
        )
        return fresh

    def _count(self, recorded: Sequence[JournalledAlarm]) -> None:
        kinds = Counter((entry.source, entry.alarm.kind) for entry in recorded)
        for (source, kind), count in kinds.items():
            self._metrics.alarms.labels(source, kind.value).inc(count)
        latency = self._metrics.alarm_latency_seconds.labels(recorded[0].source)
        for entry in recorded:
            latency.observe(max(0.0, (entry.received_at - entry.alarm.occurred_at).total_seconds()))


def _as_kept(alarm: Alarm) -> Alarm:
    """The alarm as a reader of the journal finds it: to the millisecond, in texts that UTF-8 can carry.

    Ready at the device is not ready here: evidence.py fetches it and then says so.
    """
    return Alarm(
        native_id=alarm.native_id,
        kind=alarm.kind,
        occurred_at=_to_the_millisecond(alarm.occurred_at),
        description=_storable(alarm.description),
        device=alarm.device,
        device_name=_storable(alarm.device_name),
        restoral=alarm.restoral,
        armed=alarm.armed,
        snapshot=_still_to_come(alarm.snapshot),
        video=_still_to_come(alarm.video),
        raw=alarm.raw,
        epoch=alarm.epoch,
    )


def _columns(alarm: Alarm, received_at: str, account: str, zone: int) -> tuple[Any, ...]:
    return (
        alarm.epoch,
        alarm.native_id,
        alarm.kind.value,
        instant(alarm.occurred_at),
        received_at,
        account,
        zone,
        alarm.device,
        alarm.device_name,
        alarm.description,
        alarm.restoral,
        alarm.armed,
        alarm.snapshot.value,
        alarm.video.value,
        _document(alarm.raw),
    )


def _document(raw: Mapping[str, Any]) -> str:
    """pydantic's writer takes a third of the time of the library's own, which a backlog notices, and refuses what UTF-8
    cannot carry.
    """
    try:
        return to_json(dict(raw)).decode()
    except ValueError:
        return json.dumps(dict(raw))


def _still_to_come(evidence: Evidence) -> Evidence:
    return Evidence.RECORDING if evidence is Evidence.READY else evidence


def _to_the_millisecond(moment: datetime) -> datetime:
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _storable(text: str) -> str:
    """A device's text as UTF-8 can carry it: JSON may hold half of a surrogate pair."""
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode("utf-8")


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
