"""One run: the share is read, a file is made, and it takes the place of the one that lies there.

    settle what a cut-off run left ─→ read clients.xml and the results ─→ judge ─→ plan ─→ clients.xml here
      ─→ intent noted ─→ upload under a temporary name ─→ rotate what lies there ─→ results remembered ─→ rename
      ─→ committed ─→ files cleaned up

Killed at any arrow, the next run finds out from the share what became of it: the file with the digest that was noted
lies there, and the commit is made up for; or it does not, and everything goes out with the next file. What was rotated
away in between is read again and carried. Nothing is renamed over a file: an agent that comes between finds the name
taken, or we find another file under the rotated name than the one we read, and then we begin again.
"""

import hashlib
import logging
import secrets
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

import trio

from agent.alarms.model import instant
from agent.faults import Fault, FaultClass
from agent.patriot import ledger
from agent.patriot.gather import Gatherer, Spool
from agent.patriot.ledger import Intent, State
from agent.patriot.plan import Plan, Planner, View
from agent.patriot.results import Seen, seen
from agent.patriot.share.base import FileInfo, Gone, InUse, NameTaken, Share
from agent.patriot.share.health import LocalFault
from agent.patriot.xmlfiles import make_folder
from agent.settings.models import Combine
from agent.settings.models import Share as ShareSettings
from agent.store import Store

T = TypeVar("T")

log = logging.getLogger("varde.xml_combine")
import_errors = logging.getLogger("varde.import_errors")

ATTEMPTS = 5
PAGE = 200  # rows a write to the store: the alarm path shares its writer
SCRATCH = ".scratch-"
MAX_STAMPS = 100
IN_USE_TRIES = 5
IN_USE_S = 1.0


class Overtaken(Exception):
    """Somebody else has put a file on the share while this run was under way."""


class Shipment:
    """The share's side and the store's side of batches. Used by one task at a time."""

    def __init__(
        self,
        store: Store,
        share: Share,
        settings: ShareSettings,
        combine: Combine,
        clients_dir: Path,
        ready: Path,
        zone: ZoneInfo,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._share = share
        self._remote = settings.remote_path
        folder, slash, _ = settings.remote_path.rpartition("/")
        self._results = f"{folder}{slash}{settings.results_filename}"
        self._combine = combine
        self._ready = ready
        self._zone = zone
        self._now = now
        self.gatherer = Gatherer(
            clients_dir,
            lambda places: store.read_now(lambda connection: ledger.owners_of(connection, places)),
        )
        self._state = State()
        self._logged: set[tuple[str, str]] = set()

    async def recover(self) -> None:
        """Finish the local half of what a crash cut short. Needs no share."""
        self._state = await self._store.read(ledger.load_state)
        await self._local(_remove_scratch, self._ready.parent)
        await trio.to_thread.run_sync(self.gatherer.put_back)
        await self._clean_up()

    async def look(self) -> bool:
        """Settle, and read the results if they changed; whether anything became known."""
        settled = await self._settle()
        await self._pin()
        info = await self._share.stat(self._results) or FileInfo(0, 0.0)
        if info == FileInfo(self._state.results.size, self._state.results.modified):
            return settled
        content, modified = await self._read_results()
        judged = await self._judge(content, modified)
        self._state.results = seen(content, modified)
        await self._save()
        return settled or judged

    async def run(self, batch_started: Callable[[int], None], who: str) -> tuple[int | None, str]:
        """One batch; its number (None: nothing was to be sent) and a sentence. Raises `Fault`."""
        with tempfile.TemporaryDirectory(dir=await self._local(_scratch, self._ready.parent), prefix=SCRATCH) as folder:
            for attempt in range(ATTEMPTS):
                await self._settle()
                view = await self._view(Path(folder))
                if attempt == 0:
                    retry = self._combine.retry_after_runs
                    await self._store.write(partial(ledger.count_silence, retry_after_runs=retry))
                try:
                    return await self._ship(view, batch_started, who)
                except Overtaken:
                    log.info("another agent has replaced clients.xml meanwhile; its rows are taken along")
        raise Fault(
            FaultClass.REJECTED,
            f"{self._share.place}: clients.xml was replaced {ATTEMPTS} times while a batch was made.",
            hint="Find out who else writes there; it is tried again at the next run.",
        )

    # Reading --------------------------------------------------------------------------------------------------------

    async def _settle(self) -> bool:
        """Find out what became of runs that were cut off; whether one of them had arrived."""
        arrived = False
        for batch_id, digest, intent in await self._store.read(ledger.unsettled):
            if intent is None:
                await self._give_up(batch_id)
            elif digest == await self._digest_on_share():
                arrived = True
                self._state.partial = intent.partial
                self._state.rescue = [name for name in self._state.rescue if name not in intent.rescued]
                await self._commit(batch_id, "found on the share after the run was cut off")
            else:
                self._state.leftovers.append(intent.temporary)
                if intent.rotated:
                    self._state.rescue.append(intent.rotated)
                await self._give_up(batch_id)
        await self._clean_up()
        for name in list(self._state.leftovers):
            try:
                await self._share.delete(name)
            except Fault as fault:
                if fault.fault_class is not FaultClass.REJECTED:
                    raise
                log.warning("a temporary file stays on the share: %s", fault)
            self._state.leftovers.remove(name)
            await self._save()
        return arrived

    async def _digest_on_share(self) -> str | None:
        folder = await self._local(_scratch, self._ready.parent)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=SCRATCH) as file:
            found = await self._share.fetch(self._remote, Path(file.name))
            return await self._local(_digest, Path(file.name)) if found else None

    async def _view(self, folder: Path) -> View:
        view = View()
        view.results, view.results_modified = await self._read_results()
        await self._pin()
        await self._judge(view.results, view.results_modified)
        self._state.results = seen(view.results, view.results_modified)
        for number, name in enumerate((*self._state.rescue, self._remote)):
            path = folder / f"{number}.xml"
            info = await self._fetch(name, path)
            if info is not None:
                view.files.append((path, (info.size, info.modified)))
                view.present = name == self._remote
        return view

    async def _fetch(self, name: str, path: Path) -> FileInfo | None:
        """A copy and what it is a copy of; begun again while somebody writes to it."""
        for _ in range(ATTEMPTS):
            before = await self._share.stat(name)
            if before is None or not await self._share.fetch(name, path):
                return None
            if await self._share.stat(name) == before:
                return before
        raise Fault(FaultClass.REJECTED, f"{self._share.place}: {name} is being written.", hint="It is tried again.")

    async def _read_results(self) -> tuple[bytes, float]:
        """The contents and their time, which belong together."""
        before = await self._share.stat(self._results)
        for _ in range(ATTEMPTS):
            content = await self._share.read(self._results) if before is not None else None
            after = await self._share.stat(self._results) if before is not None else None
            if before == after:
                break
            before = after
        return (content, after.modified) if content is not None and after is not None else (b"", 0.0)

    async def _pin(self) -> None:
        """Remember what the results held when the present `clients.xml` appeared, whoever put it there."""
        remote = await self._share.stat(self._remote)
        identity = (remote.size, remote.modified) if remote else None
        if identity == self._state.remote:
            return
        self._state.remote = identity
        self._state.baseline = Seen()
        if remote is not None and self._state.results.modified <= remote.modified:
            self._state.baseline = self._state.results
        await self._save()

    async def _judge(self, content: bytes, modified: float) -> bool:
        judged = await self._store.read(lambda connection: ledger.judge(connection, content, modified))
        for page in _pages(judged):
            await self._store.write(partial(ledger.apply, judged=page))
        if judged:
            good = sum(row.verdict.imported for row in judged)
            log.info("results: %d imported, %d failed", good, len(judged) - good)
        return bool(judged)

    # Sending --------------------------------------------------------------------------------------------------------

    async def _ship(self, view: View, batch_started: Callable[[int], None], who: str) -> tuple[int | None, str]:
        spool = await self._local(Spool, self._ready.parent)
        try:
            plan = await self._local(self._make_plan, view, spool)
            self._log_missing(plan)
            if not plan.is_to_be_sent:
                await self._local(self.gatherer.clean, plan.taken.files)
                self._state.rescue = []
                await self._save()
                return None, "nothing to send"
            digest = await self._local(spool.write_to, self._ready)
            batch_id = await self._start(plan, batch_started, who)
            detail = await self._send(batch_id, plan, view, digest)
        finally:
            spool.close()
        await self._commit(batch_id, detail)
        await self._clean_up()
        return batch_id, detail

    def _make_plan(self, view: View, spool: Spool) -> Plan:
        limit, retry = self._combine.max_clients_per_run, self._combine.retry_after_runs
        return self._store.read_now(
            lambda connection: Planner(connection, self._state, limit, retry).plan(view, self.gatherer, spool)
        )

    def _log_missing(self, plan: Plan) -> None:
        """Every id without a success line, in each batch that is sent; in runs that send nothing, once."""
        for fault in plan.faults:
            log.warning("%s", fault)
        missing = dict(plan.missing).items()
        for import_id, what in missing:
            if plan.is_to_be_sent or (import_id, what) not in self._logged:
                import_errors.warning("id=%s %s", import_id, what)
        self._logged = set(missing)

    async def _start(self, plan: Plan, batch_started: Callable[[int], None], who: str) -> int:
        """The batch in the store, with everything that is needed to take it up again."""
        moment = instant(self._now())
        batch_id = await self._store.write(lambda connection: ledger.start_batch(connection, who, moment))
        batch_started(batch_id)
        spool = plan.spool
        for page in _pages(list(spool.entries.values())):
            rows = [(entry, None if entry.origin == ledger.CARRIED else spool.read(entry)) for entry in page]
            await self._store.write(partial(ledger.stage, batch_id=batch_id, rows=rows))
        await self._store.write(partial(ledger.stage_files, batch_id=batch_id, files=plan.taken.files))
        return batch_id

    async def _send(self, batch_id: int, plan: Plan, view: View, digest: str) -> str:
        """Put the file in its place. From the first noted intent on, only the share knows how far it came."""
        intent = Intent(
            f"{self._remote}.{secrets.token_hex(4)}.tmp", rescued=list(self._state.rescue), partial=self._partial(plan)
        )
        await self._intend(batch_id, intent, digest, Seen())
        await self._share.write_new(intent.temporary, self._ready)
        info = await self._share.stat(intent.temporary)
        if view.present:
            await self._rotate(batch_id, intent, digest, view)
        content, modified = await self._read_results()
        await self._judge(content, modified)
        baseline = seen(content, modified)
        await self._intend(batch_id, intent, digest, baseline)
        try:
            await self._in_use_again(lambda: self._share.rename(intent.temporary, self._remote))
        except NameTaken:
            await self._overtaken(batch_id, intent)
        except Gone:
            raise Fault(
                FaultClass.REJECTED,
                f"{self._share.place}: the uploaded file was taken away before it had its name.",
                hint="Find out what tidies up there; it is tried again.",
            ) from None
        self._state.partial, self._state.rescue, self._state.results = intent.partial, [], baseline
        self._state.remote, self._state.baseline = (info.size, info.modified) if info else None, baseline
        return f"rotated to {intent.rotated}" if intent.rotated else "no file lay there"

    async def _rotate(self, batch_id: int, intent: Intent, digest: str, view: View) -> None:
        """Move what lies there to a name with the time in it, and make sure that it was what we have read."""
        for name in self._stamped_names():
            if await self._share.stat(name) is not None:
                continue
            intent.rotated = name
            await self._intend(batch_id, intent, digest, Seen())
            try:
                await self._in_use_again(partial(self._share.rename, self._remote, name))
            except NameTaken:
                continue
            except Gone:
                intent.rotated = ""  # Patriot has taken it away meanwhile
                return
            moved = await self._share.stat(name)
            if moved is None or (moved.size, moved.modified) != view.files[-1][1]:
                await self._overtaken(batch_id, intent)
            return
        raise Fault(FaultClass.REJECTED, f"{self._share.place}: no free name to rotate to.", hint="Tidy up the share.")

    def _stamped_names(self) -> list[str]:
        stem, dot, suffix = self._remote.rpartition(".")
        stamp = self._now().astimezone(self._zone).strftime("%Y%m%d_%H%M%S")
        first = f"{stem}_{stamp}" if dot else f"{suffix}_{stamp}"
        ending = f".{suffix}" if dot else ""
        return [f"{first}{ending}", *(f"{first}_{number}{ending}" for number in range(2, MAX_STAMPS))]

    async def _in_use_again(self, rename: Callable[[], Awaitable[None]]) -> None:
        """Patriot holds the file while it reads it: a short while is waited."""
        for _ in range(IN_USE_TRIES - 1):
            try:
                return await rename()
            except InUse:
                await trio.sleep(IN_USE_S)
        return await rename()

    async def _overtaken(self, batch_id: int, intent: Intent) -> None:
        self._state.leftovers.append(intent.temporary)
        if intent.rotated:
            self._state.rescue.append(intent.rotated)
        await self._give_up(batch_id)
        raise Overtaken

    # The store ------------------------------------------------------------------------------------------------------

    def _partial(self, plan: Plan) -> dict[str, tuple[str, int]]:
        whole = {path for path, _ in plan.taken.files}
        return {path: done for path, done in (self._state.partial | plan.taken.partial).items() if path not in whole}

    async def _intend(self, batch_id: int, intent: Intent, digest: str, baseline: Seen) -> None:
        await self._store.write(lambda connection: ledger.intend(connection, batch_id, intent, digest, baseline))

    async def _commit(self, batch_id: int, detail: str) -> None:
        moment = instant(self._now())
        await self._store.write(
            lambda connection: ledger.commit_batch(connection, batch_id, moment, detail, self._state)
        )

    async def _give_up(self, batch_id: int) -> None:
        moment = instant(self._now())
        await self._store.write(lambda connection: ledger.give_up(connection, batch_id, moment, self._state))

    async def _save(self) -> None:
        await self._store.write(lambda connection: ledger.save_state(connection, self._state))

    async def _clean_up(self) -> None:
        """Remove the local files of committed batches that still are what was sent."""
        for batch_id, files in await self._store.read(lambda connection: list(ledger.uncleaned_files(connection))):
            await self._local(self.gatherer.clean, files)
            await self._store.write(partial(ledger.mark_cleaned, batch_id=batch_id))

    async def _local(self, work: Callable[..., T], *arguments: object) -> T:
        """`work` in a thread; what the local disk refuses is a fault as well."""
        try:
            return await trio.to_thread.run_sync(work, *arguments)
        except OSError as error:
            raise LocalFault(
                FaultClass.REJECTED,
                f"{error.filename or self._ready.parent} on this box: {error.strerror or error}.",
                hint="Check the disk's free space and the owner of the state directory.",
            ) from None


def _pages(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), PAGE):
        yield items[start : start + PAGE]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _scratch(folder: Path) -> Path:
    make_folder(folder)
    return folder


def _remove_scratch(folder: Path) -> None:
    """What a killed process has left."""
    for path in folder.glob(f"{SCRATCH}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
