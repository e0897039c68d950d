"""The clients of each key, in the store and as XML files.

    caller ─change→ lock of this client ─→ commit (revision + 1, state new) ─→ file, atomically ─→ answer

Each client has a lock of its own, held from before the commit until its file stands, so that an older revision's file
never lands on a newer one; changes to different clients go on together and share commits. A crash between commit and
file is mended by `reconcile`, which compares the two:

    client in state new, file missing or another revision's → written again
    client deleted, its file still there                     → removed
    a file that belongs to no client                         → somebody else's, left alone
"""

import logging
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import trio

from agent.patriot import records, xmlfiles
from agent.patriot.keyfile import ApiKey
from agent.patriot.keys import Keys
from agent.patriot.records import Duplicate, NotFound, Record, Saved
from agent.patriot.row import INSTALLER_USER_NO, Client, client_xml
from agent.store import Store

log = logging.getLogger("varde.registry")

T = TypeVar("T")

PAGE = 500
RETRY_INTERVAL_S = 10.0

Edit = Callable[[Client], Client | None]


class CannotWrite(Exception):
    """The box cannot keep the change now (disk full, read-only); the text says why without naming the client."""


class Registry:
    """Clients by (key, client id). Every change returns once it is durable and its file is written.

    Raised by changes: `NotFound`, `Duplicate`, `Locked`, `CannotWrite`. Call `reconcile` before the first change and
    keep `run` running.
    """

    def __init__(self, store: Store, clients_dir: Path, keys: Keys) -> None:
        self.store = store
        self.clients_dir = clients_dir
        self.keys = keys
        self._locks: dict[tuple[str, int], tuple[trio.Lock, int]] = {}
        self._unwritten: set[tuple[str, int]] = set()
        self._reconciled_with: tuple[ApiKey, ...] | None = None

    async def get(self, key: ApiKey, client_id: int) -> Record:
        """The client; where its XML file is missing though one is due, it is written again."""
        record, has_file = await self.store.read(lambda connection: self._look_up(connection, key.name, client_id))
        if record is None:
            raise NotFound(f"client {client_id} is not registered")
        if not has_file and not record.is_under_way:
            try:
                await self.restore_file(key.name, client_id)
            except (CannotWrite, Duplicate) as error:
                log.warning("a missing XML file of key %r stays missing: %s", key.name, error)
        return record

    async def put_client(self, key: ApiKey, client_id: int, info: dict[str, Any]) -> Saved:
        """Create the client, or replace its info and keep its zones and users."""

        def edit(old: Client | None) -> Client:
            return Client(client_id, info, old.zones if old else {}, old.users if old else {})

        saved = await self._change(key, client_id, edit)
        assert saved is not None
        return saved

    async def patch_client(self, key: ApiKey, client_id: int, info: dict[str, Any]) -> Record:
        """Merge `info` into the client's; an empty one changes nothing."""

        def edit(old: Client) -> Client | None:
            return Client(client_id, {**old.info, **info}, old.zones, old.users) if info else None

        saved = await self._edit(key, client_id, edit)
        return saved.record if saved else await self.get(key, client_id)

    async def delete_client(self, key: ApiKey, client_id: int) -> None:
        await self._delete(key.name, client_id)

    async def put_zone(self, key: ApiKey, client_id: int, zone: dict[str, Any]) -> None:
        def edit(old: Client) -> Client:
            return Client(client_id, old.info, {**old.zones, zone["Zone_No"]: zone}, old.users)

        await self._edit(key, client_id, edit)

    async def delete_zone(self, key: ApiKey, client_id: int, number: int) -> None:
        def edit(old: Client) -> Client:
            if number not in old.zones:
                raise NotFound(f"client {client_id} has no zone {number}")
            zones = {other: zone for other, zone in old.zones.items() if other != number}
            return Client(client_id, old.info, zones, old.users)

        await self._edit(key, client_id, edit)

    async def create_user(self, key: ApiKey, client_id: int, user: dict[str, Any]) -> None:
        def edit(old: Client) -> Client:
            if user["UserNo"] in old.users:
                raise Duplicate(f"client {client_id} has a user {user['UserNo']} already")
            return Client(client_id, old.info, old.zones, {**old.users, user["UserNo"]: user})

        await self._edit(key, client_id, edit)

    async def replace_user(self, key: ApiKey, client_id: int, user: dict[str, Any]) -> None:
        def edit(old: Client) -> Client:
            user_of(old, user["UserNo"])
            return Client(client_id, old.info, old.zones, {**old.users, user["UserNo"]: user})

        await self._edit(key, client_id, edit)

    async def delete_user(self, key: ApiKey, client_id: int, number: int) -> None:
        def edit(old: Client) -> Client:
            user_of(old, number)
            users = {other: user for other, user in old.users.items() if other != number}
            return Client(client_id, old.info, old.zones, users)

        await self._edit(key, client_id, edit)

    async def restore_file(self, key_name: str, client_id: int) -> bool:
        """Write the client's file again as it must be now; False where the client or its key is gone.

        Where the key's injected elements or port have changed since, that is a new revision.
        """
        async with self._alone(key_name, client_id):
            record = await self.store.read(lambda connection: records.find(connection, key_name, client_id))
            key = self.keys.by_name(key_name)
            if record is None or key is None:
                return False
            xml = client_xml(key.import_id(client_id), record.client, key.injection)
            if records.sha256(xml) == record.xml_sha256:
                await self._write_file(key_name, client_id, xml)
            else:
                await self._commit(key, client_id, lambda old: old, by_caller=False)
            return True

    async def reconcile(self, *, at_start: bool = False) -> None:
        """Make store and files agree. `at_start` says that nobody writes yet."""
        keys = self.keys.all
        if at_start:
            await trio.to_thread.run_sync(xmlfiles.remove_temporaries, self.clients_dir)
        await self._catch_up()
        mended = 0
        async for key_name, client_id in self._stale():
            try:
                mended += await self.restore_file(key_name, client_id)
            except (Duplicate, CannotWrite) as error:
                log.warning("a client of key %r keeps the file it has: %s", key_name, error)
        if mended:
            log.info("%d XML files were written again, so that store and files agree", mended)
        self._reconciled_with = keys

    async def run(self) -> None:
        """Reconcile whenever the keys change, and retry what the disk did not let happen. For ever."""
        while True:
            if self._reconciled_with is self.keys.all:
                with trio.move_on_after(RETRY_INTERVAL_S):
                    await self.keys.wait_changed()
            try:
                if self._reconciled_with is not self.keys.all:
                    await self.reconcile()
                await self._catch_up()
            except CannotWrite:
                # Said by the request that met it first; the disk fault has its own warning.
                await trio.sleep(RETRY_INTERVAL_S)

    async def _catch_up(self) -> None:
        for key_name, client_id in await self.store.read(_half_deleted):
            await self._finish_delete(key_name, client_id)
        for key_name, client_id in list(self._unwritten):
            try:
                await self.restore_file(key_name, client_id)
            except Duplicate as error:
                log.warning("a client of key %r keeps the file it has: %s", key_name, error)
            self._unwritten.discard((key_name, client_id))

    async def erase(self, key_name: str, client_id: int) -> None:
        """Delete the client and its file, locked or not."""
        await self._delete(key_name, client_id, by_caller=False)

    def _look_up(self, connection: sqlite3.Connection, key_name: str, client_id: int) -> tuple[Record | None, bool]:
        record = records.find(connection, key_name, client_id)
        return record, record is not None and xmlfiles.path_of(self.clients_dir, key_name, client_id).exists()

    async def _edit(self, key: ApiKey, client_id: int, edit: Edit) -> Saved | None:
        def of_existing(old: Client | None) -> Client | None:
            if old is None:
                raise NotFound(f"client {client_id} is not registered")
            return edit(old)

        return await self._change(key, client_id, of_existing)

    async def _change(
        self, key: ApiKey, client_id: int, edit: Callable[[Client | None], Client | None]
    ) -> Saved | None:
        async with self._alone(key.name, client_id):
            return await self._commit(key, client_id, edit)

    async def _commit(
        self,
        key: ApiKey,
        client_id: int,
        edit: Callable[[Client | None], Client | None],
        *,
        by_caller: bool = True,
    ) -> Saved | None:
        """Commit, then the file. The caller holds the client's lock. Not cancellable in between."""
        # The key may have been edited since the caller was let in.
        key = self.keys.by_name(key.name) or key
        work = partial(records.change, key=key, client_id=client_id, edit=edit, by_caller=by_caller)
        with trio.CancelScope(shield=True):
            saved = await self._write(work)
            if saved is not None:
                await self._write_file(key.name, client_id, saved.xml)
        return saved

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await self.store.write(work)
        except sqlite3.Error as error:
            raise CannotWrite(f"the database cannot be written: {error}") from error

    async def _write_file(self, key_name: str, client_id: int, xml: bytes) -> None:
        path = xmlfiles.path_of(self.clients_dir, key_name, client_id)
        try:
            await trio.to_thread.run_sync(xmlfiles.write, path, xml)
        except OSError as error:
            # The change itself is durable; `run` writes the file as soon as the disk lets it.
            self._unwritten.add((key_name, client_id))
            raise CannotWrite(f"the XML file cannot be written: {error.strerror}") from error
        self._unwritten.discard((key_name, client_id))

    async def _delete(self, key_name: str, client_id: int, *, by_caller: bool = True) -> None:
        async with self._alone(key_name, client_id):
            with trio.CancelScope(shield=True):
                await self._write(partial(records.delete, key_name=key_name, client_id=client_id, by_caller=by_caller))
                await self._remove_file(key_name, client_id)

    async def _finish_delete(self, key_name: str, client_id: int) -> None:
        """The second half of a deletion that a crash cut short, unless the client lives again."""
        async with self._alone(key_name, client_id):
            record = await self.store.read(lambda connection: records.find(connection, key_name, client_id))
            if record is None:
                await self._remove_file(key_name, client_id)
            else:
                await self._write(partial(_file_is_gone, key_name=key_name, client_id=client_id))

    async def _remove_file(self, key_name: str, client_id: int) -> None:
        path = xmlfiles.path_of(self.clients_dir, key_name, client_id)
        self._unwritten.discard((key_name, client_id))
        try:
            await trio.to_thread.run_sync(xmlfiles.remove, path)
        except OSError as error:
            raise CannotWrite(f"the XML file cannot be removed: {error.strerror}") from error
        await self._write(partial(_file_is_gone, key_name=key_name, client_id=client_id))

    async def _stale(self) -> AsyncIterator[tuple[str, int]]:
        """Clients in state new whose file is not what it must be, page by page."""
        after = 0
        while True:
            page, after = await self.store.read(partial(self._stale_page, after=after))
            for found in page:
                yield found
            if not after:
                return

    def _stale_page(self, connection: sqlite3.Connection, after: int) -> tuple[list[tuple[str, int]], int]:
        rows = connection.execute(
            "SELECT id, key_name, client_id FROM clients WHERE state = 'new' AND id > ? ORDER BY id LIMIT ?",
            (after, PAGE),
        ).fetchall()
        found = [
            (key_name, client_id) for _, key_name, client_id in rows if self._is_stale(connection, key_name, client_id)
        ]
        return found, rows[-1][0] if len(rows) == PAGE else 0

    def _is_stale(self, connection: sqlite3.Connection, key_name: str, client_id: int) -> bool:
        record, key = records.find(connection, key_name, client_id), self.keys.by_name(key_name)
        if record is None or key is None:
            return False
        digest = records.sha256(client_xml(key.import_id(client_id), record.client, key.injection))
        on_disk = xmlfiles.sha256_of(xmlfiles.path_of(self.clients_dir, key_name, client_id))
        return not digest == record.xml_sha256 == on_disk

    @asynccontextmanager
    async def _alone(self, key_name: str, client_id: int) -> AsyncIterator[None]:
        """Hold this client's lock, which exists as long as somebody holds or awaits it."""
        place = (key_name, client_id)
        lock, users = self._locks.get(place, (trio.Lock(), 0))
        self._locks[place] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(place)
            if users > 1:
                self._locks[place] = (lock, users - 1)


def user_of(client: Client, number: int) -> dict[str, Any]:
    """The user, never the installer's. Raises `NotFound`."""
    if number not in client.users or number == INSTALLER_USER_NO:
        raise NotFound(f"client {client.client_id} has no user {number}")
    return dict(client.users[number])


def _half_deleted(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    rows = connection.execute("SELECT key_name, client_id FROM removed_clients WHERE file_removed = 0").fetchall()
    return [(key_name, client_id) for key_name, client_id in rows]


def _file_is_gone(connection: sqlite3.Connection, key_name: str, client_id: int) -> None:
    connection.execute(
        "UPDATE removed_clients SET file_removed = 1 WHERE key_name = ? AND client_id = ? AND file_removed = 0",
        (key_name, client_id),
    )
