"""The schema, as migrations. One place for every table of `varde.db`.

Times are ISO 8601 UTC texts ending in Z (`model.instant`), so that they sort; `*_epoch` columns are Unix seconds,
for what is compared with a clock. JSON columns end in `_json`.

`SCHEMA_VERSION` counts the migrations; it is the database's `user_version`. A database with a larger number was
written by a newer Varde and is refused.
"""

from sqlite_utils import Database, Migrations

SCHEMA_VERSION = 2

migrations = Migrations("varde")


@migrations()
def m001_alarm_path(db: Database) -> None:
    """Alarms, positions, outbox, evidence, audit."""
    for statement in _ALARM_PATH.split(";"):
        if statement.strip():
            db.conn.execute(statement)


_ALARM_PATH = """
CREATE TABLE alarms (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    epoch TEXT NOT NULL,
    native_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    occurred_at TEXT NOT NULL,
    received_at TEXT NOT NULL,
    account TEXT NOT NULL,
    zone INTEGER NOT NULL,
    device TEXT NOT NULL,
    device_name TEXT NOT NULL,
    description TEXT NOT NULL,
    restoral INTEGER NOT NULL,
    armed INTEGER,
    snapshot TEXT NOT NULL,
    video TEXT NOT NULL,
    raw_json TEXT NOT NULL,
    UNIQUE (source, epoch, native_id)
);
CREATE INDEX alarms_by_source ON alarms (source, id);
CREATE INDEX alarms_by_kind ON alarms (kind, id);
CREATE INDEX alarms_by_time ON alarms (occurred_at);
CREATE INDEX alarms_by_source_time ON alarms (source, occurred_at);
CREATE TABLE positions (
    source TEXT PRIMARY KEY,
    position_json TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    alarm_id INTEGER NOT NULL REFERENCES alarms (id) ON DELETE CASCADE,
    sink TEXT NOT NULL,
    account TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending',
    attempts INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    next_attempt_at TEXT,
    created_at TEXT NOT NULL,
    acknowledged_at TEXT,
    memo TEXT,
    UNIQUE (alarm_id, sink)
);
CREATE INDEX outbox_pending ON outbox (sink, account, id) WHERE state = 'pending';
CREATE INDEX outbox_by_state ON outbox (state, id);
CREATE INDEX outbox_by_sink ON outbox (sink, state, id);
CREATE TABLE sink_state (
    sink TEXT PRIMARY KEY,
    state_json TEXT NOT NULL
);
CREATE TABLE media (
    alarm_id INTEGER NOT NULL REFERENCES alarms (id) ON DELETE CASCADE,
    media TEXT NOT NULL,
    state TEXT NOT NULL,
    path TEXT,
    content_type TEXT,
    bytes INTEGER NOT NULL DEFAULT 0,
    fetched_at TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (alarm_id, media)
);
CREATE INDEX media_pending ON media (alarm_id) WHERE state = 'recording';
CREATE INDEX media_ready ON media (fetched_at) WHERE state = 'ready';
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    who TEXT NOT NULL,
    source TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    outcome TEXT NOT NULL,
    detail TEXT NOT NULL
)
"""


@migrations()
def m002_client_path(db: Database) -> None:
    """Clients of the Patriot client API, batches, removed clients.

    `removed_clients` keeps every deleted client's last revision, so that a new life of the same id counts on from it
    and a result of the old life is never taken for one of the new. `sent` says that the share has had it: then only
    people at the central office can remove it. A row whose `file_removed` is 0 is a deletion half done.
    """
    for statement in _CLIENT_PATH.split(";"):
        if statement.strip():
            db.conn.execute(statement)


_CLIENT_PATH = """
CREATE TABLE clients (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key_name TEXT NOT NULL,
    client_id INTEGER NOT NULL,
    import_id TEXT NOT NULL,
    info_json TEXT NOT NULL,
    zones_json TEXT NOT NULL DEFAULT '{}',
    users_json TEXT NOT NULL DEFAULT '{}',
    revision INTEGER NOT NULL,
    changed_at TEXT NOT NULL,
    xml_sha256 TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL DEFAULT 'new',
    sent_revision INTEGER NOT NULL DEFAULT 0,
    imported_revision INTEGER NOT NULL DEFAULT 0,
    waited_runs INTEGER NOT NULL DEFAULT 0,
    last_batch TEXT,
    detail TEXT NOT NULL DEFAULT '',
    locked_until TEXT,
    UNIQUE (key_name, client_id)
);
CREATE UNIQUE INDEX clients_by_import_id ON clients (import_id);
CREATE INDEX clients_by_state ON clients (state, changed_at);
CREATE TABLE batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    who TEXT NOT NULL,
    started_at TEXT NOT NULL,
    finished_at TEXT,
    outcome TEXT NOT NULL,
    clients INTEGER NOT NULL DEFAULT 0,
    carried INTEGER NOT NULL DEFAULT 0,
    detail TEXT NOT NULL DEFAULT '',
    file_sha256 TEXT NOT NULL DEFAULT '',
    intent_json TEXT NOT NULL DEFAULT '{}',
    results_json TEXT NOT NULL DEFAULT '{}',
    cleaned INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX batches_unfinished ON batches (id) WHERE outcome = 'running' OR intent_json != '{}' OR cleaned = 0;
CREATE TABLE batch_rows (
    batch_id INTEGER NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    import_id TEXT NOT NULL,
    key_name TEXT,
    client_id INTEGER,
    revision INTEGER,
    origin TEXT NOT NULL,
    row_sha256 TEXT NOT NULL,
    row_xml BLOB,
    waited_runs INTEGER NOT NULL DEFAULT 0,
    result TEXT NOT NULL DEFAULT 'staged',
    detail TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (batch_id, import_id)
);
CREATE INDEX batch_rows_by_import_id ON batch_rows (import_id, batch_id);
CREATE INDEX batch_rows_of_others ON batch_rows (import_id, batch_id) WHERE key_name IS NULL AND origin != 'carried';
CREATE INDEX batch_rows_open ON batch_rows (import_id, batch_id) WHERE result = 'pending_import';
CREATE TABLE batch_files (
    batch_id INTEGER NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (batch_id, path)
);
CREATE TABLE removed_clients (
    import_id TEXT PRIMARY KEY,
    key_name TEXT NOT NULL,
    client_id INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    file_removed INTEGER NOT NULL DEFAULT 0,
    removed_at TEXT NOT NULL,
    done_at TEXT
);
CREATE INDEX removed_clients_with_file ON removed_clients (key_name) WHERE file_removed = 0;
CREATE TABLE combine_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    state_json TEXT NOT NULL
)
"""
