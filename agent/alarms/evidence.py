"""Snapshots and videos: fetched after the alarm, kept within bounds, never in an alarm's way.

    recording ──fetched──→ ready ──too old, too many bytes──→ expired
        └── never, or not within GIVE_UP_S ──→ unavailable

Files stand in `media/`, one an alarm and medium, written under another name and renamed when whole. Pictures are
personal data: files are 0640 and go by age and total size, the oldest first; the disk is never filled beyond
`min_free_bytes`.
"""

import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from agent.alarms.journal import Journal
from agent.alarms.model import Evidence, Filming, JournalledAlarm, Media, MediaStream, instant
from agent.bell import Bell
from agent.faults import Fault
from agent.metrics import Metrics
from agent.settings.models import MediaStore

if TYPE_CHECKING:
    from agent.alarms.polling import Poller

log = logging.getLogger("varde.evidence")

ROUND_S = 0.5  # how often the device is asked whether a recording is done
TIDY_S = 60.0
GIVE_UP_S = 1800.0
BATCH = 20
_ENDINGS = {"image/jpeg": "jpg", "video/mp4": "mp4", "video/x-ms-wmv": "wmv", "video/avi": "avi", "video/webm": "webm"}


@dataclass(frozen=True, slots=True)
class MediaFile:
    path: Path
    content_type: str


class _TooLarge(Exception):
    pass


class EvidenceKeeper:
    """Fetches, serves and retires evidence. `changed` rings when some became ready, unavailable or expired."""

    def __init__(
        self,
        journal: Journal,
        pollers: Mapping[str, "Poller"],
        directory: Path,
        settings: MediaStore,
        metrics: Metrics,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.changed = Bell()
        self.settings = settings
        self._journal = journal
        self._store = journal.store
        self._pollers = pollers
        self._directory = directory
        self._metrics = metrics
        self._now = now
        self._full = False

    async def run(self) -> None:
        """Never returns."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        for leftover in self._directory.glob("*/*.part"):
            leftover.unlink()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tidy_for_ever)
            await self._fetch_for_ever()

    async def file(self, alarm_id: int, media: Media) -> MediaFile | Evidence:
        """The file of an alarm's snapshot or video, or why there is none."""
        row = await self._store.read(
            lambda c: c.execute(
                "SELECT state, path, content_type FROM media WHERE alarm_id = ? AND media = ?", (alarm_id, media.value)
            ).fetchone()
        )
        if row is None:
            return Evidence.UNAVAILABLE
        if row["state"] != Evidence.READY.value:
            return Evidence(row["state"])
        path = self._directory / row["path"]
        return MediaFile(path, row["content_type"]) if path.exists() else Evidence.EXPIRED

    # -- fetching ------------------------------------------------------------------------------------------------

    async def _fetch_for_ever(self) -> None:
        while True:
            rung = self._journal.changed.listen()
            waiting = await self._waiting()
            async with trio.open_nursery() as nursery:
                for source in {entry.source for entry, _ in waiting}:
                    mine = [(entry, media) for entry, media in waiting if entry.source == source]
                    nursery.start_soon(self._fetch_of_source, source, mine)
            if waiting:
                await trio.sleep(ROUND_S)
            else:
                await rung.wait()

    async def _waiting(self) -> list[tuple[JournalledAlarm, Media]]:
        """What is still recording: the newest, and the oldest so that none is forgotten behind a busy yard."""
        sql = "SELECT alarm_id, media FROM media WHERE state = 'recording' ORDER BY alarm_id {} LIMIT ?"

        def work(connection: sqlite3.Connection) -> list[tuple[int, str]]:
            newest = connection.execute(sql.format("DESC"), (BATCH,)).fetchall()
            oldest = connection.execute(sql.format("ASC"), (BATCH,)).fetchall()
            return sorted({(row[0], row[1]) for row in (*newest, *oldest)})

        found = []
        for alarm_id, media in await self._store.read(work):
            entry = await self._journal.alarm(alarm_id)
            if entry is not None:
                found.append((entry, Media(media)))
        return found

    async def _fetch_of_source(self, source: str, waiting: list[tuple[JournalledAlarm, Media]]) -> None:
        for entry, media in waiting:
            poller = self._pollers.get(source)
            if poller is None or not isinstance(poller.source, Filming):
                await self._set(entry.id, media, Evidence.UNAVAILABLE)
            elif poller.state == "up" and not self._full:
                try:
                    await self._fetch(poller.source, entry, media)
                except (Fault, OSError) as error:
                    log.debug("source=%s %s of alarm %d not fetched: %s", source, media, entry.id, error)
                    await self._give_up_when_old(entry, media)
                    return  # the device or the disk is busy; the next round tries again

    async def _fetch(self, source: Filming, entry: JournalledAlarm, media: Media) -> None:
        try:
            async with source.media(entry.alarm.native_id, media, entry.alarm.epoch) as stream:
                if stream is None:
                    await self._give_up_when_old(entry, media)
                    return
                await self._save(entry, media, stream)
        except LookupError:
            await self._set(entry.id, media, Evidence.UNAVAILABLE)
        except _TooLarge:
            self._metrics.media_discarded.labels("size").inc()
            log.warning("source=%s %s of alarm %d is larger than max_file_bytes", entry.source, media, entry.id)
            await self._set(entry.id, media, Evidence.UNAVAILABLE)

    async def _save(self, entry: JournalledAlarm, media: Media, stream: MediaStream) -> None:
        content_type = stream.content_type.split(";")[0].strip().lower()
        ending = _ENDINGS.get(content_type, "bin")
        name = f"{entry.received_at:%Y-%m}/{entry.id}-{media.value}.{ending}"
        path = self._directory / name
        path.parent.mkdir(exist_ok=True, mode=0o750)
        part = path.with_suffix(".part")
        size = 0
        try:
            with part.open("wb") as file:
                os.fchmod(file.fileno(), 0o640)
                async for chunk in stream.chunks:
                    size += len(chunk)
                    self._check_room(size)
                    file.write(chunk)
                file.flush()
                await trio.to_thread.run_sync(os.fsync, file.fileno())
            part.rename(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        await self._set(entry.id, media, Evidence.READY, name=name, content_type=content_type, size=size)

    def _check_room(self, size: int) -> None:
        if size > self.settings.max_file_bytes:
            raise _TooLarge
        if self._free_bytes() < self.settings.min_free_bytes:
            if not self._full:
                log.warning(
                    "the disk is nearly full: no pictures are fetched until %d bytes are free again",
                    self.settings.min_free_bytes,
                )
            self._full = True
            self._metrics.media_discarded.labels("disk").inc()
            raise OSError("the disk is nearly full")

    async def _give_up_when_old(self, entry: JournalledAlarm, media: Media) -> None:
        if self._now() - entry.received_at > timedelta(seconds=GIVE_UP_S):
            await self._set(entry.id, media, Evidence.UNAVAILABLE)

    async def _set(
        self,
        alarm_id: int,
        media: Media,
        state: Evidence,
        *,
        name: str | None = None,
        content_type: str | None = None,
        size: int = 0,
    ) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE media SET state = ?, path = ?, content_type = ?, bytes = ?, fetched_at = ?"
                " WHERE alarm_id = ? AND media = ?",
                (state.value, name, content_type, size, instant(self._now()), alarm_id, media.value),
            )
            column = {Media.SNAPSHOT: "snapshot", Media.VIDEO: "video"}[media]
            connection.execute(f"UPDATE alarms SET {column} = ? WHERE id = ?", (state.value, alarm_id))  # noqa: S608 - ours

        await self._store.write(work)
        self.changed.ring()

    # -- retention -----------------------------------------------------------------------------------------------

    async def _tidy_for_ever(self) -> None:
        while True:
            await self.tidy()
            await trio.sleep(TIDY_S)

    async def tidy(self) -> None:
        """Retire what is too old, what is over the bytes, and what the disk has no room for; the oldest first."""
        too_old = instant(self._now() - timedelta(seconds=self.settings.max_age_s))
        await self._expire("age", "state = 'ready' AND fetched_at < ?", [too_old])
        excess = await self._total_bytes() - self.settings.max_bytes
        if excess > 0:
            await self._expire_bytes("bytes", excess)
        shortage = self.settings.min_free_bytes - self._free_bytes()
        if shortage > 0:
            await self._expire_bytes("disk", shortage)
        elif self._full:
            self._full = False
            log.info("the disk has room for pictures again")
            self._journal.changed.ring()

    async def _total_bytes(self) -> int:
        sql = "SELECT coalesce(sum(bytes), 0) FROM media WHERE state = 'ready'"
        return int(await self._store.read(lambda c: c.execute(sql).fetchone()[0]))

    async def _expire_bytes(self, reason: str, excess: int) -> None:
        sql = "SELECT alarm_id, media, bytes FROM media WHERE state = 'ready' ORDER BY fetched_at LIMIT 1000"
        for row in await self._store.read(lambda c: c.execute(sql).fetchall()):
            if excess <= 0:
                return
            await self._expire(reason, "alarm_id = ? AND media = ?", [row["alarm_id"], row["media"]])
            excess -= row["bytes"]

    async def _expire(self, reason: str, where: str, values: list[object]) -> None:
        sql = f"SELECT alarm_id, media, path FROM media WHERE {where} ORDER BY fetched_at LIMIT 1000"  # noqa: S608 - ours
        for row in await self._store.read(lambda c: c.execute(sql, values).fetchall()):
            if row["path"]:
                (self._directory / row["path"]).unlink(missing_ok=True)
            await self._set(row["alarm_id"], Media(row["media"]), Evidence.EXPIRED)
            self._metrics.media_discarded.labels(reason).inc()

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self._directory).free
