"""The registry as the operator sees and steers it: lists, locks, what the central office has to remove, erasing.

Served on the agent API; no name, phone or other text of a client is in any answer.
"""

import logging
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trio
from lxml import etree

from agent.alarms.model import instant
from agent.patriot import xmlfiles
from agent.patriot.records import NotFound
from agent.patriot.registry import Registry
from agent.patriot.row import DECLARATION
from agent.store import Store

log = logging.getLogger("varde.registry")

STATES = ("new", "pending_import", "imported", "import_failed")
MAX_LOCK_S = 30 * 86400


async def list_clients(store: Store, state: str | None = None, after: int = 0, limit: int = 100) -> dict[str, Any]:
    """`{"clients": […], "next": N}`, in order of first registration; `after` is the last page's `next`."""

    def page(connection: sqlite3.Connection) -> list[dict[str, Any]]:
        rows = connection.execute(
            "SELECT id, key_name, client_id, import_id, state AS status, revision, changed_at, last_batch, detail,"
            " locked_until FROM clients WHERE id > ? AND (? IS NULL OR state = ?) ORDER BY id LIMIT ?",
            (after, state, state, limit),
        )
        return [dict(row) for row in rows]

    clients = await store.read(page)
    now = instant(datetime.now(UTC))
    for client in clients:
        if client["locked_until"] is not None and client["locked_until"] <= now:
            client["locked_until"] = None
    return {"clients": clients, "next": clients[-1]["id"] if clients else after}


async def count_by_state(store: Store) -> dict[str, int]:
    """How many clients there are in each of `STATES`, the empty ones too."""

    def count(connection: sqlite3.Connection) -> dict[str, int]:
        return dict(connection.execute("SELECT state, count(*) FROM clients GROUP BY state").fetchall())

    return dict.fromkeys(STATES, 0) | await store.read(count)


async def lock_client(store: Store, key_name: str, client_id: int, seconds: float) -> dict[str, Any]:
    """Changes by API callers answer 409 until then. Raises `NotFound`."""
    until = instant(datetime.now(UTC) + timedelta(seconds=min(seconds, MAX_LOCK_S)))
    await _set_lock(store, key_name, client_id, until)
    return {"key_name": key_name, "client_id": client_id, "locked_until": until}


async def unlock_client(store: Store, key_name: str, client_id: int) -> dict[str, Any]:
    """Raises `NotFound`."""
    await _set_lock(store, key_name, client_id, None)
    return {"key_name": key_name, "client_id": client_id, "locked_until": None}


async def _set_lock(store: Store, key_name: str, client_id: int, until: str | None) -> None:
    def lock(connection: sqlite3.Connection) -> int:
        return connection.execute(
            "UPDATE clients SET locked_until = ? WHERE key_name = ? AND client_id = ?", (until, key_name, client_id)
        ).rowcount

    if not await store.write(lock):
        raise NotFound(f"key {key_name!r} has no client {client_id}")


async def removed_clients(store: Store) -> dict[str, Any]:
    """`{"removed": […]}`: what was deleted here and still stands at Patriot, oldest first.

    A client that was registered again is not listed as long as it lives.
    """

    def find(connection: sqlite3.Connection) -> list[dict[str, Any]]:
        rows = connection.execute(
            "SELECT import_id, key_name, client_id, removed_at FROM removed_clients WHERE sent AND done_at IS NULL"
            " AND import_id NOT IN (SELECT import_id FROM clients) ORDER BY removed_at, import_id"
        )
        return [dict(row) for row in rows]

    return {"removed": await store.read(find)}


async def removal_done(store: Store, import_id: str) -> dict[str, Any]:
    """The central office has removed it by hand. Raises `NotFound`."""

    def done(connection: sqlite3.Connection) -> int:
        return connection.execute(
            "UPDATE removed_clients SET done_at = ? WHERE import_id = ? AND sent AND done_at IS NULL",
            (instant(datetime.now(UTC)), import_id),
        ).rowcount

    if not await store.write(done):
        raise NotFound(f"{import_id[:60]} is not on the list of removals")
    return {"import_id": import_id, "done": True}


async def erase_client(registry: Registry, key_name: str, client_id: int, ready: Path) -> dict[str, Any]:
    """Leave no trace of a client on this box: rows, batches, its file, its row in `ready`, the write-ahead log.

    What Patriot, the share and earlier backups hold is not reached: `at_patriot` says whether it was ever sent. May be
    called again, also after an ordinary deletion. Raises `NotFound` where there is nothing to erase.
    """
    try:
        await registry.erase(key_name, client_id)
    except NotFound:
        pass
    file = str(xmlfiles.path_of(registry.clients_dir, key_name, client_id))
    import_ids = await registry.store.write(lambda connection: _erase_rows(connection, key_name, client_id, file))
    if not import_ids:
        raise NotFound(f"key {key_name!r} has no client {client_id}, and no trace of one")
    await trio.to_thread.run_sync(_erase_from_ready, ready, set(import_ids))
    await trio.to_thread.run_sync(_truncate_log, registry.store.path)
    return {
        "key_name": key_name,
        "client_id": client_id,
        "erased": sorted(import_ids),
        "at_patriot": sorted(import_id for import_id, sent in import_ids.items() if sent),
    }


def _erase_rows(connection: sqlite3.Connection, key_name: str, client_id: int, file: str) -> dict[str, bool]:
    """The import ids the client had, each with whether it was sent; their rows go."""
    found = connection.execute(
        "SELECT import_id, sent FROM removed_clients WHERE key_name = ? AND client_id = ?", (key_name, client_id)
    ).fetchall()
    connection.execute("DELETE FROM removed_clients WHERE key_name = ? AND client_id = ?", (key_name, client_id))
    connection.execute("DELETE FROM batch_files WHERE path = ?", (file,))
    for import_id, _ in found:
        connection.execute("DELETE FROM batch_rows WHERE import_id = ?", (import_id,))
    return {import_id: bool(sent) for import_id, sent in found}


def _erase_from_ready(ready: Path, import_ids: set[str]) -> None:
    """Write the last combined file again without these rows."""
    if not ready.exists():
        return
    temporary = ready.with_name(f".{ready.name}.erase.tmp")
    try:
        _copy_without(ready, temporary, import_ids)
        temporary.chmod(xmlfiles.FILE_MODE)
        temporary.replace(ready)
    except etree.XMLSyntaxError:
        ready.unlink()  # the next batch makes it anew
    finally:
        temporary.unlink(missing_ok=True)


def _copy_without(ready: Path, copy: Path, import_ids: set[str]) -> None:
    with copy.open("wb") as file:
        file.write(DECLARATION + b"<Clients>")
        for _, row in etree.iterparse(str(ready), tag="Row", resolve_entities=False, huge_tree=True):
            if row.findtext("__id") not in import_ids:
                file.write(etree.tostring(row, encoding="UTF-8", with_tail=False))
            row.clear()
        file.write(b"</Clients>\n")


def _truncate_log(database: Path) -> None:
    """Deleted rows are overwritten in the database (`secure_delete`); copies of them may still be in the log."""
    connection = sqlite3.connect(database, timeout=10, isolation_level=None)
    try:
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            log.warning("the write-ahead log was in use and is emptied later; erase again to be sure")
    finally:
        connection.close()
