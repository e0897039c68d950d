"""What was sent and what became of it: batches, their rows and files, and the clients' import state in the store.

A row:   staged ─committed→ pending_import ─results→ imported | import_failed
           └─the run ended before→ not_sent       └─a newer row of the id was sent→ superseded
A batch: running ─→ ok | a fault class          (found running at a start: it was cut off, see `combine.py`)

Every function runs on a connection of the store and does no other I/O. A row's XML is kept for as long as it may have
to go out again, so that a lost `clients.xml` loses nobody.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from agent.patriot.gather import Entry, Owned
from agent.patriot.results import Seen, Verdict, news, verdicts

CARRIED = "carried"
"""origin of a row that was found on the share and is somebody else's"""


@dataclass(slots=True)
class Intent:
    """What a run is about to do on the share: the temporary name, the name it rotates to ("" for none yet), the
    rescued files whose rows it carries, and what `State.partial` becomes."""

    temporary: str
    rotated: str = ""
    rescued: list[str] = field(default_factory=list)
    partial: dict[str, tuple[str, int]] = field(default_factory=dict)


@dataclass(slots=True)
class State:
    """What a run remembers from the run before.

    `partial`: files with more rows than one batch takes, path → [digest, rows sent]. `rescue`: rotated files of runs
    that were cut off, whose rows are carried into the next file. `leftovers`: temporary files to delete on the share.
    `results`: what the results file held when it was last read. `remote` and `baseline`: (size, modified) of the
    `clients.xml` on the share, and what the results held when it appeared.
    """

    partial: dict[str, tuple[str, int]] = field(default_factory=dict)
    rescue: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    results: Seen = field(default_factory=Seen)
    remote: tuple[int, float] | None = None
    baseline: Seen = field(default_factory=Seen)


def load_state(connection: sqlite3.Connection) -> State:
    row = connection.execute("SELECT state_json FROM combine_state WHERE id = 1").fetchone()
    if row is None:
        return State()
    document = json.loads(row[0])
    partial = {path: (digest, done) for path, (digest, done) in document["partial"].items()}
    return State(
        partial,
        document["rescue"],
        document["leftovers"],
        Seen(**document["results"]),
        tuple(document["remote"]) if document["remote"] else None,
        Seen(**document["baseline"]),
    )


def save_state(connection: sqlite3.Connection, state: State) -> None:
    connection.execute(
        "INSERT INTO combine_state (id, state_json) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET state_json = ?",
        (json.dumps(asdict(state)),) * 2,
    )


# Reading files ------------------------------------------------------------------------------------------------------


def owner_of(connection: sqlite3.Connection, key_name: str, client_id: int) -> Owned | str | None:
    """The client whose file `<key_name>/<client_id>.xml` is; "deleted" while it is on its way out; None for nobody."""
    row = connection.execute(
        "SELECT import_id, revision, xml_sha256, state, sent_revision, imported_revision FROM clients"
        " WHERE key_name = ? AND client_id = ?",
        (key_name, client_id),
    ).fetchone()
    if row is None:
        leaving = connection.execute(
            "SELECT 1 FROM removed_clients WHERE key_name = ? AND client_id = ? AND file_removed = 0",
            (key_name, client_id),
        ).fetchone()
        return "deleted" if leaving else None
    import_id, revision, digest, state, sent, imported = row
    is_under_way = (state == "pending_import" and sent == revision) or imported == revision
    return Owned(key_name, client_id, import_id, revision, digest, is_under_way)


def owners_of(
    connection: sqlite3.Connection, places: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], Owned | str | None]:
    return {place: owner_of(connection, *place) for place in places}


# What the share holds -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenRow:
    """A row that waits for its result."""

    batch_id: int
    import_id: str
    key_name: str | None
    client_id: int | None
    revision: int | None
    origin: str
    row_sha256: str
    waited_runs: int


def open_row(connection: sqlite3.Connection, import_id: str) -> OpenRow | None:
    row = connection.execute(
        "SELECT batch_id, import_id, key_name, client_id, revision, origin, row_sha256, waited_runs FROM batch_rows"
        " WHERE import_id = ? AND result = 'pending_import' ORDER BY batch_id DESC LIMIT 1",
        (import_id,),
    ).fetchone()
    return None if row is None else OpenRow(*row)


def open_rows(connection: sqlite3.Connection, after: str, count: int) -> list[OpenRow]:
    """Ours, by id, a page at a time."""
    rows = connection.execute(
        "SELECT batch_id, import_id, key_name, client_id, revision, origin, row_sha256, waited_runs FROM batch_rows"
        " WHERE result = 'pending_import' AND origin != 'carried' AND import_id > ? ORDER BY import_id LIMIT ?",
        (after, count),
    ).fetchall()
    return [OpenRow(*row) for row in rows]


def row_xml(connection: sqlite3.Connection, row: OpenRow) -> bytes | None:
    found = connection.execute(
        "SELECT row_xml FROM batch_rows WHERE batch_id = ? AND import_id = ?", (row.batch_id, row.import_id)
    ).fetchone()
    return None if found is None else found[0]


def is_removed(connection: sqlite3.Connection, import_id: str) -> bool:
    """Whether the client was deleted here and does not live again."""
    return (
        connection.execute(
            "SELECT 1 FROM removed_clients WHERE import_id = ? AND NOT EXISTS"
            " (SELECT 1 FROM clients WHERE clients.import_id = removed_clients.import_id)",
            (import_id,),
        ).fetchone()
        is not None
    )


def is_ours(connection: sqlite3.Connection, import_id: str) -> bool:
    """Whether this agent answers for the id, so that what the share says of it is no news."""
    return (
        connection.execute(
            "SELECT 1 FROM clients WHERE import_id = ? UNION ALL"
            " SELECT 1 FROM batch_rows WHERE import_id = ? AND origin != 'carried'"
            " AND result IN ('pending_import', 'imported', 'import_failed') LIMIT 1",
            (import_id, import_id),
        ).fetchone()
        is not None
    )


# Results ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Judged:
    """A row and what the results file says of it."""

    batch_id: int
    import_id: str
    key_name: str | None
    client_id: int | None
    revision: int | None
    verdict: Verdict


def judge(connection: sqlite3.Connection, content: bytes, modified: float) -> list[Judged]:
    """What the results file says that is not known yet. Only reads, since a long file takes its time.

    A row is judged by what was written since its own batch lay on the share. A failure is looked at again as long as
    its batch is the newest: the line may have been read half written.
    """
    found: list[Judged] = []
    for batch_id, baseline in connection.execute(
        "SELECT id, results_json FROM batches WHERE results_json != '{}' AND"
        " (id IN (SELECT batch_id FROM batch_rows WHERE result = 'pending_import')"
        " OR id = (SELECT max(id) FROM batches WHERE outcome = 'ok'))"
    ).fetchall():
        rows = {
            row["import_id"]: row
            for row in connection.execute(
                "SELECT import_id, key_name, client_id, revision, result, detail FROM batch_rows"
                " WHERE batch_id = ? AND result IN ('pending_import', 'import_failed')",
                (batch_id,),
            )
        }
        text = news(content, modified, Seen(**json.loads(baseline))) if rows else ""
        for import_id, verdict in verdicts(text, rows).items():
            row = rows[import_id]
            if (row["result"], row["detail"]) != (_result(verdict), verdict.words):
                found.append(Judged(batch_id, import_id, row["key_name"], row["client_id"], row["revision"], verdict))
    return found


def apply(connection: sqlite3.Connection, judged: Iterable[Judged]) -> None:
    for row in judged:
        result = _result(row.verdict)
        connection.execute(
            "UPDATE batch_rows SET result = ?, detail = ?, row_xml = CASE WHEN ? THEN NULL ELSE row_xml END"
            " WHERE batch_id = ? AND import_id = ?",
            (result, row.verdict.words, row.verdict.imported, row.batch_id, row.import_id),
        )
        place = (row.key_name, row.client_id, row.revision)
        if row.verdict.imported:
            connection.execute(
                "UPDATE clients SET imported_revision = max(imported_revision, ?3)"
                " WHERE key_name = ?1 AND client_id = ?2",
                place,
            )
        # A client that has changed since stays `new`: what Patriot has is not its present revision.
        connection.execute(
            "UPDATE clients SET state = ?4, detail = ?5"
            " WHERE key_name = ?1 AND client_id = ?2 AND revision = ?3 AND sent_revision = ?3",
            (*place, result, row.verdict.words),
        )


def _result(verdict: Verdict) -> str:
    return "imported" if verdict.imported else "import_failed"


def count_silence(connection: sqlite3.Connection, retry_after_runs: int) -> None:
    """A run has read the results, and these ids were not in them. What is not ours to send again is let go in time."""
    connection.execute("UPDATE batch_rows SET waited_runs = waited_runs + 1 WHERE result = 'pending_import'")
    connection.execute(
        "UPDATE batch_rows SET result = 'superseded', row_xml = NULL"
        " WHERE result = 'pending_import' AND waited_runs > ? AND (origin = 'carried' OR import_id IN"
        " (SELECT import_id FROM removed_clients WHERE import_id NOT IN (SELECT import_id FROM clients)))",
        (retry_after_runs,),
    )


# A batch ------------------------------------------------------------------------------------------------------------


def start_batch(connection: sqlite3.Connection, who: str, now: str) -> int:
    cursor = connection.execute("INSERT INTO batches (who, started_at, outcome) VALUES (?, ?, 'running')", (who, now))
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def clear_staged(connection: sqlite3.Connection, batch_id: int) -> None:
    connection.execute("DELETE FROM batch_rows WHERE batch_id = ?", (batch_id,))
    connection.execute("DELETE FROM batch_files WHERE batch_id = ?", (batch_id,))


def stage(connection: sqlite3.Connection, batch_id: int, rows: Iterable[tuple[Entry, bytes | None]]) -> None:
    connection.executemany(
        "INSERT INTO batch_rows (batch_id, import_id, key_name, client_id, revision, origin, row_sha256, row_xml)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        ((batch_id, e.import_id, e.key_name, e.client_id, e.revision, e.origin, e.sha256, xml) for e, xml in rows),
    )


def stage_files(connection: sqlite3.Connection, batch_id: int, files: Iterable[tuple[str, str]]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO batch_files (batch_id, path, sha256) VALUES (?, ?, ?)",
        ((batch_id, path, digest) for path, digest in files),
    )


def intend(connection: sqlite3.Connection, batch_id: int, intent: "Intent", file_sha256: str, baseline: Seen) -> None:
    """Note what is about to happen on the share, so that a cut-off run can be taken up."""
    connection.execute(
        "UPDATE batches SET file_sha256 = ?, results_json = ?, intent_json = ? WHERE id = ?",
        (file_sha256, json.dumps(asdict(baseline)), json.dumps(asdict(intent)), batch_id),
    )


def commit_batch(connection: sqlite3.Connection, batch_id: int, now: str, detail: str, state: State) -> None:
    """The file lies on the share: its rows wait for their results from now on."""
    connection.execute(
        "UPDATE batch_rows SET result = 'superseded', row_xml = NULL WHERE batch_id != ?1"
        " AND result IN ('pending_import', 'import_failed')"
        " AND import_id IN (SELECT import_id FROM batch_rows WHERE batch_id = ?1)",
        (batch_id,),
    )
    connection.execute(
        "UPDATE batch_rows SET result = 'pending_import' WHERE batch_id = ? AND result = 'staged'", (batch_id,)
    )
    connection.execute(
        "UPDATE clients SET sent_revision = max(clients.sent_revision, r.revision), last_batch = ?2,"
        " state = CASE WHEN clients.revision = r.revision THEN 'pending_import' ELSE clients.state END,"
        " detail = CASE WHEN clients.revision = r.revision THEN '' ELSE clients.detail END"
        " FROM batch_rows AS r WHERE r.batch_id = ?1 AND r.key_name = clients.key_name"
        " AND r.client_id = clients.client_id AND r.import_id = clients.import_id AND r.revision IS NOT NULL",
        (batch_id, now),
    )
    # Somebody else's row of a client of ours has taken the place of ours on the share: ours has to go out again.
    connection.execute(
        "UPDATE clients SET state = 'new' WHERE state = 'pending_import' AND import_id IN"
        " (SELECT import_id FROM batch_rows WHERE batch_id = ? AND revision IS NULL AND origin != 'carried')",
        (batch_id,),
    )
    # Deleted while its row was on its way: Patriot gets it all the same, and the central office has to know.
    connection.execute(
        "UPDATE removed_clients SET sent = 1, done_at = NULL WHERE import_id IN"
        " (SELECT import_id FROM batch_rows WHERE batch_id = ? AND revision IS NOT NULL)"
        " AND import_id NOT IN (SELECT import_id FROM clients)",
        (batch_id,),
    )
    connection.execute(
        "UPDATE batches SET outcome = 'ok', finished_at = ?2, detail = ?3, cleaned = 0,"
        " clients = (SELECT count(*) FROM batch_rows WHERE batch_id = ?1 AND origin NOT IN ('carried', 'kept')),"
        " carried = (SELECT count(*) FROM batch_rows WHERE batch_id = ?1 AND origin IN ('carried', 'kept')),"
        " intent_json = '{}' WHERE id = ?1",
        (batch_id, now, detail),
    )
    save_state(connection, state)


def end_batch(connection: sqlite3.Connection, batch_id: int, outcome: str, now: str, detail: str) -> None:
    """The run ended early. Whether its file arrived is settled by `unsettled` and what follows from it."""
    connection.execute(
        "UPDATE batches SET outcome = ?, finished_at = ?, detail = ?,"
        " clients = (SELECT count(*) FROM batch_rows WHERE batch_id = ?4 AND origin NOT IN ('carried', 'kept')),"
        " carried = (SELECT count(*) FROM batch_rows WHERE batch_id = ?4 AND origin IN ('carried', 'kept'))"
        " WHERE id = ?4",
        (outcome, now, detail, batch_id),
    )


def give_up(connection: sqlite3.Connection, batch_id: int, now: str, state: State) -> None:
    """The batch did not reach the share; its rows go out with another."""
    connection.execute(
        "UPDATE batch_rows SET result = 'not_sent', row_xml = NULL WHERE batch_id = ? AND result = 'staged'",
        (batch_id,),
    )
    connection.execute("DELETE FROM batch_files WHERE batch_id = ?", (batch_id,))
    connection.execute(
        "UPDATE batches SET intent_json = '{}', finished_at = coalesce(finished_at, ?),"
        " outcome = CASE outcome WHEN 'running' THEN 'interrupted' ELSE outcome END WHERE id = ?",
        (now, batch_id),
    )
    save_state(connection, state)


def unsettled(connection: sqlite3.Connection) -> list[tuple[int, str, "Intent | None"]]:
    """Runs that were cut off: (batch, digest of its file, what it was about to do; None: nothing on the share)."""
    rows = connection.execute(
        "SELECT id, file_sha256, intent_json FROM batches WHERE outcome = 'running' OR intent_json != '{}' ORDER BY id"
    ).fetchall()
    return [(row[0], row[1], Intent(**json.loads(row[2])) if row[2] != "{}" else None) for row in rows]


def uncleaned_files(connection: sqlite3.Connection) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    for (batch_id,) in connection.execute("SELECT id FROM batches WHERE cleaned = 0 ORDER BY id").fetchall():
        rows = connection.execute("SELECT path, sha256 FROM batch_files WHERE batch_id = ?", (batch_id,)).fetchall()
        yield batch_id, [(path, digest) for path, digest in rows]


def mark_cleaned(connection: sqlite3.Connection, batch_id: int) -> None:
    connection.execute("UPDATE batches SET cleaned = 1 WHERE id = ?", (batch_id,))
    connection.execute("DELETE FROM batch_files WHERE batch_id = ?", (batch_id,))


def client_states(connection: sqlite3.Connection) -> Mapping[str, int]:
    return dict(connection.execute("SELECT state, count(*) FROM clients GROUP BY state").fetchall())


def has_failed(connection: sqlite3.Connection, import_id: str) -> bool:
    row = connection.execute(
        "SELECT result FROM batch_rows WHERE import_id = ? AND origin != 'carried' ORDER BY batch_id DESC LIMIT 1",
        (import_id,),
    ).fetchone()
    return row is not None and row[0] == "import_failed"


def batch(connection: sqlite3.Connection, batch_id: int) -> tuple[int, str, str, str, str, int, int, str]:
    """(id, who, started_at, finished_at, outcome, clients, carried, detail)"""
    row = connection.execute(
        "SELECT id, who, started_at, coalesce(finished_at, ''), outcome, clients, carried, detail FROM batches"
        " WHERE id = ?",
        (batch_id,),
    ).fetchone()
    assert row is not None
    return tuple(row)


def record_failure(
    connection: sqlite3.Connection,
    batch_id: int | None,
    who: str,
    started: str,
    finished: str,
    outcome: str,
    detail: str,
) -> int:
    """End the batch, or note a run that did not get as far as one; the same again and again is one entry."""
    if batch_id is None:
        last = connection.execute(
            "SELECT id, outcome, detail, clients, carried FROM batches ORDER BY id DESC LIMIT 1"
        ).fetchone()
        if last is not None and tuple(last)[1:] == (outcome, detail, 0, 0):
            batch_id = last[0]
        else:
            batch_id = start_batch(connection, who, started)
    end_batch(connection, batch_id, outcome, finished, detail)
    return batch_id
