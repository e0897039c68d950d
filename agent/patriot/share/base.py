"""What the client path asks of a share, and the watchdog that keeps a hung one from holding anybody.

    task ─_call→ thread: blocking library ──result──→ task
           └─→ watchdog: no byte moved for timeout_s, or the task is cancelled → sever the socket → the thread fails

SMB libraries block, and smbprotocol waits for ever on a server that has stopped answering. A thread cannot be
cancelled; its socket can be shut, which ends the call within moments. A thread that does not end even then is left
behind: the task goes on.
"""

import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, TypeVar

import outcome
import trio

from agent.faults import Fault, FaultClass

T = TypeVar("T")

CHUNK_BYTES = 128 * 1024
LARGEST_CHUNK_BYTES = 256 * 1024  # on a fast line; larger ones cost more in memory than they save in messages
MAX_READ_BYTES = 64 * 1024 * 1024
MAX_FETCH_BYTES = 1024 * 1024 * 1024
GRACE_S = 1.0  # for a severed call to come back with its error
THREADS = 4  # calls of a hung share that may be left behind before the next one waits for them
RESERVED = set('*?"<>|:')


class NameTaken(Exception):
    """A file of the new name is there already; nothing was changed."""


class Gone(Exception):
    """The file to rename is not there; nothing was changed."""


class InUse(Fault):
    """Somebody has the file open and lets nobody move it; in a moment he may be done."""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """`modified` is in Unix seconds by the clock of the share, so compare it only with another of the same share."""

    size: int
    modified: float


class Share(Protocol):
    """Files by name (`folder/name` allowed, never a pattern). Everything raises `Fault` with a hint.

    `rename` and `write_new` never replace a file: they raise `NameTaken`; `rename` of an absent one raises `Gone`. A
    `write_new` that failed may leave a part of the file behind under that name. `delete` of an absent file is no
    error. Calls are made one at a time; `close` drops the connection, and the next call makes a new one.
    """

    place: str

    async def stat(self, name: str) -> FileInfo | None: ...

    async def read(self, name: str) -> bytes | None: ...

    async def fetch(self, name: str, into: Path) -> bool: ...

    async def write_new(self, name: str, source: Path) -> None: ...

    async def rename(self, old: str, new: str) -> None: ...

    async def delete(self, name: str) -> None: ...

    async def close(self) -> None: ...


async def probe(share: Share, beside: str = "") -> str:
    """Write, rename and delete a probe file in the folder of `beside`; says what works. Raises `Fault`."""
    folder, slash, _ = beside.rpartition("/")
    first = f"{folder}{slash}varde-probe-{secrets.token_hex(6)}.tmp"
    second = first.replace("varde-probe-", "varde-probe-renamed-")
    with tempfile.NamedTemporaryFile() as local:
        local.write(b"Varde checks that it may write, rename and delete here. This file may be deleted.\r\n")
        local.flush()
        try:
            await share.write_new(first, Path(local.name))
            await share.rename(first, second)
            await share.delete(second)
            if await share.stat(second) is not None:
                raise Fault(FaultClass.REJECTED, f"{share.place} keeps a file that was deleted.", hint=f"See {second}.")
        finally:
            await share.close()
    return f"wrote, renamed and deleted a file on {share.place}"


class Progress:
    """A blocking call's sign of life. `moved` is called from its thread for each chunk."""

    def __init__(self) -> None:
        self.moved_at = time.monotonic()
        self.cut = False

    def moved(self) -> None:
        if self.cut:
            raise ConnectionAbortedError("cut off by the watchdog")
        self.moved_at = time.monotonic()


class Watched:
    """A local file whose reads and writes count as progress; what is written is bounded."""

    def __init__(self, file: IO[bytes], progress: Progress, limit: int = MAX_FETCH_BYTES) -> None:
        self._file = file
        self._progress = progress
        self._left = limit

    def read(self, size: int = -1) -> bytes:
        self._progress.moved()
        return self._file.read(min(size, LARGEST_CHUNK_BYTES) if size > 0 else CHUNK_BYTES)

    def write(self, data: bytes) -> int:
        self._progress.moved()
        self._left -= len(data)
        if self._left < 0:
            raise Fault(
                FaultClass.PROTOCOL, "A file on the share is larger than Varde reads.", hint="Look at the share."
            )
        return self._file.write(data)


class BlockingShare:
    """The part that the three implementations have in common. They give the blocking halves, `_fault` and `_sever`."""

    def __init__(self, place: str, timeout_s: float) -> None:
        self.place = place
        self._timeout_s = timeout_s
        self._limiter = trio.CapacityLimiter(THREADS)

    async def stat(self, name: str) -> FileInfo | None:
        _check(name)
        return await self._call(lambda progress: self._stat(name, progress))

    async def read(self, name: str) -> bytes | None:
        """The whole file, None where there is none; at most `MAX_READ_BYTES`."""
        _check(name)

        def work(progress: Progress) -> bytes | None:
            with tempfile.SpooledTemporaryFile(max_size=MAX_READ_BYTES) as file:
                found = self._fetch(name, Watched(file, progress, MAX_READ_BYTES), progress)
                file.seek(0)
                return file.read() if found else None

        return await self._call(work)

    async def fetch(self, name: str, into: Path) -> bool:
        """Copy the file to the local path `into`, chunk by chunk; False where there is none."""
        _check(name)

        def work(progress: Progress) -> bool:
            with into.open("wb") as file:
                return self._fetch(name, Watched(file, progress), progress)

        return await self._call(work)

    async def write_new(self, name: str, source: Path) -> None:
        _check(name)

        def work(progress: Progress) -> None:
            with source.open("rb") as file:
                self._write_new(name, Watched(file, progress), progress)
            # A library that swallows a failed close or write must not pass for a success.
            written = self._stat(name, progress)
            if written is None or written.size != source.stat().st_size:
                raise Fault(FaultClass.PROTOCOL, f"{self.place} kept less than was sent.", hint="Check its free space.")

        await self._call(work)

    async def rename(self, old: str, new: str) -> None:
        _check(old)
        _check(new)
        await self._call(lambda progress: self._rename(old, new, progress))

    async def delete(self, name: str) -> None:
        _check(name)
        await self._call(lambda progress: self._delete(name, progress))

    async def close(self) -> None:
        self._sever()

    async def _call(self, work: Callable[[Progress], T]) -> T:
        """Run `work` in a thread under the watchdog. Raises `Fault` or `NameTaken`."""
        progress = Progress()
        result: outcome.Outcome[T] | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, progress, nursery.cancel_scope)
                result = await trio.to_thread.run_sync(
                    outcome.capture, work, progress, abandon_on_cancel=True, limiter=self._limiter
                )
                nursery.cancel_scope.cancel()
        finally:
            if result is None:
                progress.cut = True
                self._sever()
        if result is None or (progress.cut and isinstance(result, outcome.Error)):
            raise Fault(
                FaultClass.SLOW,
                f"{self.place} did not answer within {self._timeout_s:g} s.",
                hint="Check the server and the line to it; timeout_s is how long is waited.",
            )
        if isinstance(result, outcome.Error):
            raise self._judged(result.error) from None
        value: T = result.unwrap()
        return value

    def _judged(self, error: BaseException) -> BaseException:
        if isinstance(error, NameTaken | Gone):
            return error
        self._sever()
        return error if isinstance(error, Fault) else self._fault(error)

    async def _watch(self, progress: Progress, scope: trio.CancelScope) -> None:
        left = self._timeout_s
        while left > 0:
            await trio.sleep(left)
            left = progress.moved_at + self._timeout_s - time.monotonic()
        progress.cut = True
        self._sever()
        await trio.sleep(GRACE_S)
        scope.cancel()

    def _stat(self, name: str, progress: Progress) -> FileInfo | None:
        raise NotImplementedError

    def _fetch(self, name: str, into: Watched, progress: Progress) -> bool:
        raise NotImplementedError

    def _write_new(self, name: str, source: Watched, progress: Progress) -> None:
        raise NotImplementedError

    def _rename(self, old: str, new: str, progress: Progress) -> None:
        raise NotImplementedError

    def _delete(self, name: str, progress: Progress) -> None:
        raise NotImplementedError

    def _fault(self, error: BaseException) -> BaseException:
        """What `error` of the library means. Anything unknown to it is a defect and comes back as it is."""
        raise NotImplementedError

    def _sever(self) -> None:
        """Drop the connection, from any thread, without waiting; a call under way fails."""
        raise NotImplementedError


def _check(name: str) -> None:
    # pysmb's deleteFiles expands wildcards: a name that could be a pattern never reaches a library.
    parts = name.split("/")
    if any(part in ("", ".", "..") or set(part) & RESERVED or not part.isprintable() for part in parts):
        raise ValueError(f"not a plain file name: {name!r}")
