"""XML files below `out/clients` → the rows of one batch → `clients.xml`. Blocking; call from a thread.

    folders ─the oldest files first→ rows ─┐
    rows that the share still waits for ───┴→ spool (on disk; of one id the last counts) ─→ clients.xml, atomically

Memory holds the ids of one batch and one client file, however many files wait.
"""

import hashlib
import heapq
import io
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from agent.patriot.row import DECLARATION, row_within
from agent.patriot.rowstream import Row, Unusable, rows_of
from agent.patriot.xmlfiles import FILE_MODE, make_folder

log = logging.getLogger("varde.xml_combine")

MAX_FILE_BYTES = 64 * 1024 * 1024
USUAL_FILE_BYTES = 64 * 1024
SETTLE_TRIES = 60  # for all files of a batch: the registry's file follows its commit within moments
SETTLE_S = 0.05
ASKED_AT_ONCE = 200
TAKEN = ".taken"

FileKey = tuple[int, str]
"""(mtime in ns, path): the order in which files go out"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the batch. `revision` is None for a row that the registry did not write."""

    import_id: str
    sha256: str
    offset: int
    length: int
    origin: str
    key_name: str | None = None
    client_id: int | None = None
    revision: int | None = None


class Spool:
    """Rows on disk in the order they came; `entries` by id, the last one of an id in its place."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `close`
        self._end = 0
        self.entries: dict[str, Entry] = {}

    def add(
        self,
        row: Row,
        origin: str,
        key_name: str | None = None,
        client_id: int | None = None,
        revision: int | None = None,
    ) -> None:
        self.entries.pop(row.import_id, None)
        self._file.write(row.xml)
        entry = Entry(row.import_id, row.sha256, self._end, len(row.xml), origin, key_name, client_id, revision)
        self.entries[row.import_id] = entry
        self._end += len(row.xml)

    def read(self, entry: Entry) -> bytes:
        self._file.flush()
        return os.pread(self._file.fileno(), entry.length, entry.offset)

    def write_to(self, path: Path) -> str:
        """Put the whole file at `path` atomically; its digest."""
        temporary = path.with_name(f".{path.name}.tmp")
        digest = hashlib.sha256()
        with temporary.open("wb") as file:
            os.fchmod(file.fileno(), FILE_MODE)
            for part in self._parts():
                digest.update(part)
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        return digest.hexdigest()

    def _parts(self) -> Iterator[bytes]:
        yield DECLARATION + b"<Clients>\n"
        for entry in self.entries.values():
            yield self.read(entry) + b"\n"
        yield b"</Clients>\n"

    def close(self) -> None:
        self._file.close()


@dataclass(slots=True)
class Taken:
    """What came out of the files. `files`: (path, digest) of those that are wholly in the batch, or need not be sent.

    `partial`: path → (digest, rows sent so far) of a file with more rows than one batch takes.
    """

    clients: int = 0
    files: list[tuple[str, str]] = field(default_factory=list)
    partial: dict[str, tuple[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Owned:
    """A client of the registry whose file this is."""

    key_name: str
    client_id: int
    import_id: str
    revision: int
    xml_sha256: str
    is_under_way: bool


Place = tuple[str, int]
"""(key_name, client_id)"""
OwnersOf = Callable[[Sequence[Place]], dict[Place, Owned | str | None]]
"""The client of each place; "deleted" while its file is being removed; None for nobody."""


class Gatherer:
    """Takes files below `clients_dir`. Remembers which files cannot be used, so that each is named once."""

    def __init__(self, clients_dir: Path, owners_of: OwnersOf) -> None:
        self._clients_dir = clients_dir
        self._owners_of = owners_of
        self._owners: dict[Place, Owned | str | None] = {}  # asked for many files at once, each used once
        self.unusable: dict[str, tuple[int, int, str]] = {}
        self._patience = SETTLE_TRIES

    def take(self, spool: Spool, limit: int, partial: dict[str, tuple[str, int]]) -> Taken:
        """Add rows of at most `limit` clients to the spool, from the files that changed longest ago."""
        taken = Taken()
        self._patience = SETTLE_TRIES
        after: FileKey = (-1, "")
        before = len(spool.entries)
        fresh: set[str] = set()
        while len(fresh) < limit:
            page = self._oldest(limit, after)
            if not page:
                break
            for number, key in enumerate(page):
                if number % ASKED_AT_ONCE == 0:
                    places = [self._place(path) for _, path in page[number : number + ASKED_AT_ONCE]]
                    self._owners = self._owners_of([place for place in places if place is not None])
                after = key
                self._take_file(Path(key[1]), spool, fresh, limit, partial, taken)
                if len(fresh) >= limit:
                    break
        self._owners = {}
        taken.clients = len(fresh)
        log.debug("%d files, %d clients, %d rows in all", len(taken.files), len(fresh), len(spool.entries) - before)
        return taken

    def clean(self, files: list[tuple[str, str]]) -> None:
        """Remove each file that still is the one that was sent."""
        for path, digest in files:
            _remove_if(Path(path), digest)

    def put_back(self) -> None:
        """After a crash in the middle of `clean`: what was taken away and not yet looked at."""
        for taken in self._clients_dir.rglob(f".*.xml{TAKEN}"):
            _put_back(taken, taken.with_name(taken.name[1 : -len(TAKEN)]))

    def _oldest(self, count: int, after: FileKey) -> list[FileKey]:
        return heapq.nsmallest(max(count, 100), (key for key in self._scan(self._clients_dir) if key > after))

    def _scan(self, folder: Path, depth: int = 0) -> Iterator[FileKey]:
        try:
            entries = os.scandir(folder)
        except OSError:
            return
        with entries:
            for entry in entries:
                try:
                    found = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if stat.S_ISDIR(found.st_mode) and depth < 20:
                    yield from self._scan(Path(entry.path), depth + 1)
                elif (
                    entry.name.endswith(".xml")
                    and stat.S_ISREG(found.st_mode)
                    and not self._is_known(entry.path, found)
                ):
                    yield (found.st_mtime_ns, entry.path)

    def _is_known(self, path: str, found: os.stat_result) -> bool:
        known = self.unusable.get(path)
        if known is None:
            return False
        if known[:2] == (found.st_mtime_ns, found.st_size):
            return True
        del self.unusable[path]
        return False

    def _set_aside(self, path: Path, reason: str) -> None:
        """In place: the file stays, is named once, and is looked at again when it changes."""
        try:
            found = path.lstat()
        except OSError:
            return
        self.unusable[str(path)] = (found.st_mtime_ns, found.st_size, reason)
        log.warning("%s is not sent: it %s", path, reason)

    def _take_file(
        self,
        path: Path,
        spool: Spool,
        fresh: set[str],
        limit: int,
        partial: dict[str, tuple[str, int]],
        taken: Taken,
    ) -> None:
        try:
            found = self._settled(path)
            if found is None:
                return
            data, digest, owner = found
            if owner is not None and owner.is_under_way:
                taken.files.append((str(path), digest))
                return
            rows = [_own_row(data, owner)] if owner is not None else list(rows_of(io.BytesIO(data)))
        except Unusable as reason:
            self._set_aside(path, str(reason))
            return
        if not rows:
            self._set_aside(path, "holds no row with an __id")
            return
        done = partial[str(path)][1] if partial.get(str(path), ("",))[0] == digest else 0
        for number, row in enumerate(rows):
            if number < done:
                continue
            if row.import_id not in fresh and len(fresh) >= limit:
                taken.partial[str(path)] = (digest, number)
                return
            fresh.add(row.import_id)
            ours = owner if owner is not None and owner.import_id == row.import_id else None
            spool.add(
                row,
                "client" if ours else "file",
                ours.key_name if ours else None,
                ours.client_id if ours else None,
                ours.revision if ours else None,
            )
        taken.files.append((str(path), digest))

    def _settled(self, path: Path) -> tuple[bytes, str, Owned | None] | None:
        """The file, its digest and whose it is; None where it is gone or on its way out.

        The registry commits first and writes the file a moment later, so a digest that is not the store's is looked at
        again. If it stays so, somebody else wrote that file, and it is sent as theirs.
        """
        while True:
            data = _read(path)
            if data is None:
                return None
            digest = hashlib.sha256(data).hexdigest()
            owner = self._owner(str(path))
            if owner == "deleted":
                return None
            if owner is None or (isinstance(owner, Owned) and owner.xml_sha256 == digest):
                return data, digest, owner
            if self._patience <= 0:
                return data, digest, None
            self._patience -= 1
            time.sleep(SETTLE_S)

    def _owner(self, path: str) -> Owned | str | None:
        """What was asked beforehand counts once: whoever looks again wants to know how it is now."""
        place = self._place(path)
        if place is None:
            return None
        return self._owners.pop(place) if place in self._owners else self._owners_of([place])[place]

    def _place(self, path: str) -> Place | None:
        """Where the registry keeps the file of a client; None for any other file."""
        folder, _, name = path.rpartition("/")
        above, _, key_name = folder.rpartition("/")
        client_id = name.removesuffix(".xml")
        if above != str(self._clients_dir) or not client_id.isdecimal() or len(client_id) > 16:
            return None
        return key_name, int(client_id)


def _own_row(data: bytes, owner: Owned) -> Row:
    """The row of a file whose digest the store knows: the registry made it, so it need not be read as XML again."""
    try:
        return Row(owner.import_id, row_within(data))
    except ValueError:
        raise Unusable("holds no row with an __id") from None


def _read(path: Path) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unusable(f"cannot be read ({error.strerror})") from None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        data = file.read(USUAL_FILE_BYTES)
        while (part := file.read(USUAL_FILE_BYTES)) and len(data) <= MAX_FILE_BYTES:
            data += part
    if len(data) > MAX_FILE_BYTES:
        raise Unusable(f"is larger than {MAX_FILE_BYTES} bytes")
    return data


def _remove_if(path: Path, digest: str) -> None:
    """Take the file away, look at it, and put it back if it is another than the one that was sent.

    Looking first and deleting then would delete what the registry wrote in between.
    """
    aside = path.with_name(f".{path.name}{TAKEN}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    with aside.open("rb") as file:
        is_the_one = hashlib.file_digest(file, "sha256").hexdigest() == digest
    if is_the_one:
        aside.unlink()
    else:
        _put_back(aside, path)


def _put_back(aside: Path, path: Path) -> None:
    try:
        os.link(aside, path)
    except FileExistsError:
        pass  # a newer one stands there already
    except OSError:
        if not path.exists():
            shutil.move(aside, path)
            return
    aside.unlink(missing_ok=True)
