"""What the next `clients.xml` holds, worked out from the share, the store and the files. Blocking; call from a thread.

    rows on the share without a result ── ours: as we sent them last ──┐ carried along, whatever their number
                                       └─ somebody else's: as they lie ┤
    ours that were waited for long enough, or that lie there no more ──┤ at most max_clients_per_run,
    files below out/clients, the oldest change first ──────────────────┘ half of it kept for these where both wait

A new file is made only for the last two: with nothing to send the share is only read.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agent.patriot import ledger
from agent.patriot.gather import Gatherer, Spool, Taken
from agent.patriot.results import Seen, Verdict, news, verdicts
from agent.patriot.rowstream import Row, Unusable, rows_of

PAGE = 500


@dataclass(slots=True)
class View:
    """The share as a run has found it. `files`: local copies of `clients.xml` and of rescued files, the newest last,
    with the size and time they have on the share; `present` says whether `clients.xml` itself is there."""

    files: list[tuple[Path, tuple[int, float]]] = field(default_factory=list)
    present: bool = False
    results: bytes = b""
    results_modified: float = 0.0


@dataclass(slots=True)
class Plan:
    """`missing`: ids without a success line, with what is known. `rescues`: rows lie in a file that a cut-off run has
    rotated away, and in no other."""

    spool: Spool
    taken: Taken = field(default_factory=Taken)
    again: int = 0
    rescues: bool = False
    missing: list[tuple[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def is_to_be_sent(self) -> bool:
        return bool(self.taken.clients or self.again or (self.rescues and self.spool.entries))


class Planner:
    def __init__(self, connection: sqlite3.Connection, state: ledger.State, limit: int, retry_after_runs: int) -> None:
        self._connection = connection
        self._state = state
        self._limit = limit
        self._retry_after_runs = retry_after_runs

    def plan(self, view: View, gatherer: Gatherer, spool: Spool) -> Plan:
        plan = Plan(spool, rescues=len(view.files) > view.present)
        on_share: set[str] = set()
        for path, identity in view.files:
            self._carry(path, self._text_for(view, identity), plan, on_share)
        due = list(self._due(view, on_share, plan))
        quota = min(len(due), (self._limit + 1) // 2)
        plan.taken = gatherer.take(spool, self._limit - quota, self._state.partial)
        for row in due[: self._limit - plan.taken.clients]:
            self._send_again(row, plan)
        return plan

    def _text_for(self, view: View, identity: tuple[int, float]) -> str:
        """The results that can be about rows of a file: written after it appeared on the share."""
        if view.results_modified <= identity[1]:
            return ""
        baseline = self._state.baseline if self._state.remote == identity else Seen()
        return news(view.results, view.results_modified, baseline)

    def _carry(self, path: Path, text: str, plan: Plan, on_share: set[str]) -> None:
        """Take along what Patriot has not said a word about."""
        ids: list[str] = [row.import_id for row in _rows(path, [])]
        found = verdicts(text, ids)
        for row in _rows(path, plan.faults):
            on_share.add(row.import_id)
            self._carry_row(row, found.get(row.import_id), plan)

    def _carry_row(self, row: Row, verdict: Verdict | None, plan: Plan) -> None:
        connection = self._connection
        waiting = ledger.open_row(connection, row.import_id)
        if ledger.is_removed(connection, row.import_id):
            return
        if waiting is not None and waiting.origin != ledger.CARRIED:
            plan.missing.append((row.import_id, "no result"))
            is_due = waiting.waited_runs >= self._retry_after_runs
            self._add(waiting, "again" if is_due else "kept", plan)
            plan.again += is_due
        elif ledger.is_ours(connection, row.import_id):
            if ledger.has_failed(connection, row.import_id):
                plan.missing.append((row.import_id, "import failed"))
        elif verdict is None:
            plan.missing.append((row.import_id, "no result"))
            plan.spool.add(row, ledger.CARRIED)
        elif not verdict.imported:
            plan.missing.append((row.import_id, "import failed"))

    def _due(self, view: View, on_share: set[str], plan: Plan) -> Iterator[ledger.OpenRow]:
        """Ours that wait for a result and lie on the share no more: rotated away, or read and not answered."""
        after = ""
        while page := ledger.open_rows(self._connection, after, PAGE):
            for row in page:
                after = row.import_id
                if row.import_id in on_share or ledger.is_removed(self._connection, row.import_id):
                    continue
                plan.missing.append((row.import_id, "no result"))
                if view.present or view.files or row.waited_runs >= self._retry_after_runs:
                    yield row

    def _send_again(self, row: ledger.OpenRow, plan: Plan) -> None:
        if row.import_id not in plan.spool.entries:
            plan.again += self._add(row, "again", plan)

    def _add(self, waiting: ledger.OpenRow, origin: str, plan: Plan) -> bool:
        xml = ledger.row_xml(self._connection, waiting)
        if xml is not None:
            row = Row(waiting.import_id, xml)
            plan.spool.add(row, origin, waiting.key_name, waiting.client_id, waiting.revision)
        return xml is not None


def _rows(path: Path, faults: list[str]) -> Iterator[Row]:
    """The rows of a file from the share, up to where it is broken."""
    with path.open("rb") as file:
        try:
            yield from rows_of(file)
        except Unusable as reason:
            faults.append(f"clients.xml on the share {reason}: what stands after that is not carried over")
