"""Open `varde.db`: lock, check, migrate; one writer, several readers.

missing ──────────────→ created
sound ────────────────→ migrated, opened
newer than the code ──→ StoreError, untouched
damaged ──────────────→ set aside as varde.db.damaged-<time>, said so loudly, a new one created
held by another daemon → StoreError
"""

import fcntl
import logging
import os
import queue
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TypeVar

import trio
from sqlite_utils import Database

from agent.store.schema import SCHEMA_VERSION, migrations
from agent.store.writer import Writer

log = logging.getLogger("varde.store")
T = TypeVar("T")

READERS = 4
CHECKED_BYTES = 64 * 1024 * 1024  # a larger database is opened without reading all its pages: start-up has its limit


class StoreError(Exception):
    """The database cannot be used; the text says which file, why, and what to do."""


class Store:
    """The open database. Made by `Store.open`, ended by `close`.

    `set_aside` is where a damaged database was moved when this one was opened, None otherwise.
    """

    def __init__(self, path: Path, lock: IO[str], set_aside: Path | None) -> None:
        self.path = path
        self.set_aside = set_aside
        self._lock = lock
        self._writer = Writer(_connect(path))
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._limiter = trio.CapacityLimiter(READERS)
        self._opened: list[sqlite3.Connection] = []

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Blocking. Raises `StoreError`."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            lock = _lock(path.with_suffix(".lock"))
        except OSError as error:
            raise StoreError(
                f"{path.parent} cannot be written: {error.strerror}. Check its owner and the disk."
            ) from None
        try:
            set_aside = _set_aside_if_damaged(path)
            _migrate(path)
            return cls(path, lock, set_aside)
        except sqlite3.Error as error:
            lock.close()
            raise StoreError(
                f"{path} cannot be opened: {error}. Check the disk's free space and permissions."
            ) from None
        except BaseException:
            lock.close()
            raise

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the writing connection; returns once it is on disk (`synchronous=FULL`)."""
        return await self._writer.write(work)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on a read-only connection, in a thread."""
        return await trio.to_thread.run_sync(self.read_now, work, limiter=self._limiter)

    def read_now(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`read` for callers that are in a thread already."""
        with self._reader() as connection:
            return work(connection)

    def close(self) -> None:
        """Blocking: what was handed to the writer is finished first."""
        self._writer.close()
        while not self._readers.empty():
            self._readers.get().close()
        self._lock.close()

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._readers.get_nowait()
        except queue.Empty:
            connection = _connect(self.path, read_only=True)
        try:
            yield connection
        finally:
            self._readers.put(connection)


def _lock(path: Path) -> IO[str]:
    """Hold `path` for the life of the process, so that two daemons never share a state directory."""
    lock = path.open("a+")
    path.chmod(0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise StoreError(
            f"{path.parent} is in use by another varde process (pid {holder}). "
            "Stop it, or give this one another state_dir."
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    address = f"file:{path}?mode=ro" if read_only else f"file:{path}"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys=ON")
    if not read_only:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")
    return connection


def _set_aside_if_damaged(path: Path) -> Path | None:
    if not path.exists() or path.stat().st_size == 0:
        return None
    reason = _damage(path)
    if reason is None:
        return None
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for suffix in ("", "-wal", "-shm"):
        part = Path(f"{path}{suffix}")
        if part.exists():
            part.rename(f"{aside}{suffix}")
    log.critical(
        "the database is damaged (%s); it is kept as %s and an empty one takes its place. "
        "What it held is not delivered: keep the file and call support",
        reason,
        aside,
    )
    return aside


def _damage(path: Path) -> str | None:
    """What is wrong with the file, None where it is sound (as far as is checked) or merely locked or unreadable."""
    connection = None
    try:
        connection = _connect(path)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{path} was written by a newer Varde (schema {version}, this one knows {SCHEMA_VERSION}). "
                "Install that version again, or move the file away."
            )
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if path.stat().st_size <= CHECKED_BYTES:
            result = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            return None if result == "ok" else str(result)
        return None
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return str(error)
        raise
    finally:
        if connection is not None:
            connection.close()


def _migrate(path: Path) -> None:
    connection = _connect(path)
    try:
        migrations.apply(Database(connection))
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    finally:
        connection.close()
    path.chmod(0o640)
