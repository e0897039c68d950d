"""keys.json in use: loaded, watched, and asked who calls.

    file ─read every half second→ the same? ──→ nothing
                                  good ───────→ the new set, at once
                                  broken ─────→ the last good set; said once it is seen twice the same (an editor may
                                                be half-way through a save)

Only digests of keys are held in memory.
"""

import hashlib
import hmac
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import trio

from agent.patriot.keyfile import ApiKey, BrokenKeyFile, KeySet, parse

log = logging.getLogger("varde.keys")

POLL_INTERVAL_S = 0.5
MAX_FILE_BYTES = 4 * 1024 * 1024


class Keys:
    """The key file at `path`. No file is read before `reload` or `run`.

    `on_valid(bool)` is called after each change of the file: whether it is wholly usable (`varde_keys_file_valid`).
    """

    def __init__(self, path: Path, on_valid: Callable[[bool], None] = lambda valid: None) -> None:
        self.path = path
        self.valid = False
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self._set = KeySet()
        self._on_valid = on_valid
        self._seen: bytes | str | None = None
        self._reported: bytes | str | None = None
        self._changed = trio.Event()

    @property
    def all(self) -> tuple[ApiKey, ...]:
        """Every usable entry, disabled and expired ones included: their clients still go to Patriot."""
        return self._set.keys

    def by_name(self, name: str) -> ApiKey | None:
        return next((key for key in self._set.keys if key.name == name), None)

    def authenticate(self, token: str | bytes) -> ApiKey | None:
        """The enabled, unexpired key whose secret is `token`, None for anything else.

        Digests are compared, and always all of them, so that the time taken tells nothing about a key.
        """
        given = hashlib.sha256(token if isinstance(token, bytes) else token.encode("utf-8", "surrogatepass")).digest()
        found = None
        for key in self._set.keys:
            if hmac.compare_digest(key.sha256, given):
                found = key
        return found if found is not None and found.usable_at(datetime.now(UTC)) else None

    async def run(self) -> None:
        """Watch the file for ever."""
        while True:
            self._take(await trio.to_thread.run_sync(self._read))
            await trio.sleep(POLL_INTERVAL_S)

    def reload(self) -> None:
        """Read the file now and say at once what is wrong with it. Blocking, for start and SIGHUP."""
        self._seen = self._reported = None
        found = self._read()
        self._take(found)
        self._take(found)

    async def wait_changed(self) -> None:
        """Returns after the next change of the set."""
        await self._changed.wait()

    def _read(self) -> bytes | str:
        """The file's bytes, or why there are none. The content is compared, not times: two edits may share an mtime."""
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        return data if len(data) <= MAX_FILE_BYTES else f"is larger than {MAX_FILE_BYTES} bytes"

    def _take(self, found: bytes | str) -> None:
        if found == self._reported:
            self._seen = found
            return
        try:
            if isinstance(found, str):
                raise BrokenKeyFile(found)
            keys = parse(found)
        except BrokenKeyFile as error:
            if found == self._seen:
                self._reported = found
                self._report_broken(str(error))
            self._seen = found
            return
        self._seen = self._reported = found
        self._use(keys)

    def _report_broken(self, reason: str) -> None:
        kept = f"the last good set of {len(self.all)} stays in force" if self.all else "no key works until it is mended"
        self.problems = [f"{self.path} {reason}; {kept}."]
        self.warnings = []
        self.valid = False
        log.error("%s", self.problems[0])
        self._on_valid(False)

    def _use(self, keys: KeySet) -> None:
        self._set = keys
        self.problems = [f"{self.path}: {reason}." for reason in keys.refused]
        self.warnings = [f"{self.path}: {warning}." for warning in keys.warnings]
        self.valid = not keys.refused
        log.info("%s is in force: %d keys, %d refused", self.path, len(keys.keys), len(keys.refused))
        for sentence in self.problems:
            log.error("%s", sentence)
        for sentence in self.warnings:
            log.warning("%s", sentence)
        self._on_valid(self.valid)
        self._changed.set()
        self._changed = trio.Event()
