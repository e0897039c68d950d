"""A Patriot that watches a folder, imports each new `clients.xml` and writes its results: for demo, tests and labs.

    clients.xml appears or changes ─delay_s→ each row read ─→ clients_Import_Results.txt, written anew or appended to

Lines are made after what is known of the real file: a client that was imported has a line with its id and "Completed
processing client". The file itself stays where it is.
"""

import codecs
import logging
from dataclasses import dataclass, field
from pathlib import Path

import trio

from agent.patriot.rowstream import Unusable, rows_of

log = logging.getLogger("varde.simulator.patriot")


@dataclass
class PatriotSimulator:
    """`run` for ever. `failures`: id → the words it is turned down with; `silent`: ids it says nothing about.

    `imported` has the XML of each id's last successful import, `imports` how many files were read.
    """

    folder: Path
    name: str = "clients.xml"
    results_name: str = "clients_Import_Results.txt"
    delay_s: float = 0.5
    poll_interval_s: float = 0.1
    encoding: str = "utf-8-sig"
    appends: bool = False
    failures: dict[str, str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    imported: dict[str, bytes] = field(default_factory=dict)
    imports: int = 0

    async def run(self) -> None:
        seen: tuple[int, int] | None = None
        while True:
            now = await trio.to_thread.run_sync(self._identity)
            if now is not None and now != seen:
                await trio.sleep(self.delay_s)
                if await trio.to_thread.run_sync(self.import_now):
                    seen = now
            await trio.sleep(self.poll_interval_s)

    def import_now(self) -> bool:
        """Import what lies there now. Blocking; False where there is nothing that can be read."""
        try:
            with (self.folder / self.name).open("rb") as file:
                rows = list(rows_of(file))
        except (OSError, Unusable) as error:
            log.warning("%s cannot be imported: %s", self.name, error)
            return False
        lines = [f"Import of {self.name} started"]
        for row in rows:
            if row.import_id in self.silent:
                continue
            if row.import_id in self.failures:
                lines.append(f"{row.import_id} {self.failures[row.import_id]}")
                continue
            self.imported[row.import_id] = row.xml
            lines.append(f"{row.import_id} Completed processing client")
        lines.append(f"Import finished, {len(rows)} rows read")
        self._write("".join(f"{line}\r\n" for line in lines))
        self.imports += 1
        return True

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = (self.folder / self.name).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _write(self, text: str) -> None:
        path = self.folder / self.results_name
        if self.appends and path.exists():
            with path.open("ab") as file:
                file.write(_without_mark(text, self.encoding))
            return
        temporary = path.with_name(f"{path.name}.tmp")
        temporary.write_bytes(text.encode(self.encoding))
        temporary.replace(path)


def _without_mark(text: str, encoding: str) -> bytes:
    """What is appended has no byte order mark of its own."""
    data = text.encode(encoding)
    for mark in (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        data = data.removeprefix(mark)
    return data
