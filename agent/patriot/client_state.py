"""`client_state.json` in its documented form: what was last sent of each id, and when, in the site's time.

    {"9998BASE11": {"status": "pending_import", "last_batch": "2025-01-01T12:55:00"}, …}

`status` is also `imported`, `import_failed`, or `new` for a client that has changed since.
"""

import json
import os
import sqlite3
from pathlib import Path
from zoneinfo import ZoneInfo

from agent.alarms.model import parse_instant
from agent.patriot.xmlfiles import FILE_MODE, make_folder

_OURS = "SELECT import_id, state, last_batch FROM clients WHERE last_batch IS NOT NULL ORDER BY import_id"
_OTHERS = (
    "SELECT r.import_id, r.result, b.finished_at, max(r.batch_id) FROM batch_rows r JOIN batches b ON b.id = r.batch_id"
    " WHERE r.key_name IS NULL AND r.origin != 'carried'"
    " AND r.result IN ('pending_import', 'imported', 'import_failed')"
    " AND r.import_id NOT IN (SELECT import_id FROM clients) GROUP BY r.import_id"
)


def write(connection: sqlite3.Connection, path: Path, zone: ZoneInfo) -> None:
    """Blocking. Row by row, so that a hundred thousand clients take no memory; atomically."""
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), FILE_MODE)
        separator = "{\n"
        for statement in (_OURS, _OTHERS):
            for import_id, status, moment, *_ in connection.execute(statement):
                stamp = parse_instant(moment).astimezone(zone).replace(tzinfo=None).isoformat(timespec="seconds")
                entry = json.dumps({"status": status, "last_batch": stamp}, ensure_ascii=False)
                file.write(f"{separator}  {json.dumps(import_id, ensure_ascii=False)}: {entry}")
                separator = ",\n"
        file.write("\n}\n" if separator == ",\n" else "{}\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
