"""Rows of the table `clients` ↔ `Record`, and the changes to one row. Synchronous, on a connection of the store.

new ─batch→ pending_import ─results→ imported | import_failed        any change → new, revision + 1
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent.alarms.model import instant, parse_instant
from agent.patriot.keyfile import ApiKey
from agent.patriot.row import Client, client_xml


class NotFound(Exception):
    """No such client, zone or user; the text says which."""


class Duplicate(Exception):
    """A user number, or an `<__id>`, that is taken."""


class Locked(Exception):
    """The client is locked by an operator for `retry_after_s` more seconds."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("the client is locked for now")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Record:
    """One client as the store has it."""

    client: Client
    import_id: str
    revision: int
    state: str
    sent_revision: int
    imported_revision: int
    xml_sha256: str
    last_batch: str | None
    detail: str
    locked_until: str | None

    @property
    def is_under_way(self) -> bool:
        """Whether the present revision is imported, or on the share awaiting its result: no file is due then."""
        awaited = self.state == "pending_import" and self.sent_revision == self.revision
        return awaited or self.imported_revision == self.revision

    def locked_for(self, now: datetime) -> float:
        """Seconds until the operator's lock ends; 0 or less without one."""
        return (parse_instant(self.locked_until) - now).total_seconds() if self.locked_until else 0.0


@dataclass(frozen=True, slots=True)
class Saved:
    """A change that stands: the record, its file's bytes, and whether the client is new."""

    record: Record
    xml: bytes
    created: bool


def find(connection: sqlite3.Connection, key_name: str, client_id: int) -> Record | None:
    row = connection.execute(
        "SELECT * FROM clients WHERE key_name = ? AND client_id = ?", (key_name, client_id)
    ).fetchone()
    return None if row is None else _record(row)


def _record(row: sqlite3.Row) -> Record:
    client = Client(
        client_id=row["client_id"],
        info=json.loads(row["info_json"]),
        zones={int(number): zone for number, zone in json.loads(row["zones_json"]).items()},
        users={int(number): user for number, user in json.loads(row["users_json"]).items()},
    )
    columns = ("import_id", "revision", "state", "sent_revision", "imported_revision", "xml_sha256")
    return Record(client, *(row[name] for name in (*columns, "last_batch", "detail", "locked_until")))


def sha256(xml: bytes) -> str:
    return hashlib.sha256(xml).hexdigest()


def change(
    connection: sqlite3.Connection,
    key: ApiKey,
    client_id: int,
    edit: Callable[[Client | None], Client | None],
    *,
    by_caller: bool = True,
) -> Saved | None:
    """Read one client, `edit` it, save it as a new revision; None where `edit` gives None: nothing changes.

    Raises `Locked` (only for a caller of the API), `Duplicate`, and whatever `edit` raises.
    """
    old = find(connection, key.name, client_id)
    if old is not None and by_caller:
        _raise_if_locked(old)
    client = edit(old.client if old else None)
    if client is None:
        return None
    import_id = key.import_id(client_id)
    xml = client_xml(import_id, client, key.injection)
    try:
        if old is None:
            _insert(connection, key, client, import_id, sha256(xml))
        else:
            _update(connection, key, old, client, import_id, sha256(xml))
    except sqlite3.IntegrityError:
        raise Duplicate(f"another data set has a client whose <__id> is {import_id} too") from None
    saved = find(connection, key.name, client_id)
    assert saved is not None
    return Saved(saved, xml, created=old is None)


def _raise_if_locked(record: Record) -> None:
    remaining = record.locked_for(datetime.now(UTC))
    if remaining > 0:
        raise Locked(remaining)


def _insert(connection: sqlite3.Connection, key: ApiKey, client: Client, import_id: str, digest: str) -> None:
    earlier = connection.execute("SELECT revision FROM removed_clients WHERE import_id = ?", (import_id,)).fetchone()
    connection.execute(
        "INSERT INTO clients (key_name, client_id, import_id, info_json, zones_json, users_json, revision, changed_at,"
        " xml_sha256) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            key.name,
            client.client_id,
            import_id,
            *_documents(client),
            (earlier[0] if earlier else 0) + 1,
            _now(),
            digest,
        ),
    )


def _update(
    connection: sqlite3.Connection, key: ApiKey, old: Record, client: Client, import_id: str, digest: str
) -> None:
    connection.execute(
        "UPDATE clients SET import_id = ?, info_json = ?, zones_json = ?, users_json = ?, revision = revision + 1,"
        " changed_at = ?, xml_sha256 = ?, state = 'new', waited_runs = 0, detail = ''"
        " WHERE key_name = ? AND client_id = ?",
        (import_id, *_documents(client), _now(), digest, key.name, client.client_id),
    )
    if import_id != old.import_id:
        # The key's port was edited: to Patriot this is another client, and the one it has stays behind.
        _remember_removed(connection, key.name, old, file_removed=True)
        connection.execute(
            "UPDATE clients SET sent_revision = 0, imported_revision = 0 WHERE key_name = ? AND client_id = ?",
            (key.name, client.client_id),
        )


def delete(connection: sqlite3.Connection, key_name: str, client_id: int, *, by_caller: bool = True) -> None:
    """Raises `NotFound`, `Locked`."""
    old = find(connection, key_name, client_id)
    if old is None:
        raise NotFound(f"client {client_id} is not registered")
    if by_caller:
        _raise_if_locked(old)
    connection.execute("DELETE FROM clients WHERE key_name = ? AND client_id = ?", (key_name, client_id))
    _remember_removed(connection, key_name, old, file_removed=False)


def _remember_removed(connection: sqlite3.Connection, key_name: str, old: Record, *, file_removed: bool) -> None:
    """Once sent, an id stays `sent` until the central office says it is done, whatever lives it has in between."""
    connection.execute(
        "INSERT INTO removed_clients (import_id, key_name, client_id, revision, sent, file_removed, removed_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (import_id) DO UPDATE SET key_name = excluded.key_name,"
        " client_id = excluded.client_id, revision = excluded.revision, file_removed = excluded.file_removed,"
        " sent = excluded.sent OR (sent AND done_at IS NULL), removed_at = excluded.removed_at,"
        " done_at = CASE WHEN excluded.sent THEN NULL ELSE done_at END",
        (
            old.import_id,
            key_name,
            old.client.client_id,
            old.revision,
            int(old.sent_revision > 0),
            int(file_removed),
            _now(),
        ),
    )


def _documents(client: Client) -> tuple[str, str, str]:
    return _json(client.info), _json(client.zones), _json(client.users)


def _json(document: Mapping[Any, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _now() -> str:
    return instant(datetime.now(UTC))
