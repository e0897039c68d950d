"""Acknowledgements on their way to the disk, written in groups while the next alarm is already under way.

Waiting for the disk after each alarm would make its speed the delivery's. What is not yet written when the process
dies is sent once more, so what may be unwritten is bounded. While the disk refuses, nothing that is written down as
pending is sent again: whoever waits for the disk waits here.
"""

import logging
import sqlite3
from datetime import datetime

import trio

from agent.alarms.outbox import Outbox

log = logging.getLogger("varde.dispatch")

MAX_UNWRITTEN = 64
DISK_RETRY_S = 1.0
GATHER_S = 0.02  # a commit for each alarm would cost the sending task more than the alarm does


class Acknowledgements:
    """`add` at once, `run` writes. Counts only grow, so that a waiter knows when what it added is written."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._waiting: list[tuple[int, datetime]] = []
        self._added = 0
        self._written = 0
        self._something = trio.Event()
        self._writing = trio.Lock()
        self._is_refused = False

    def add(self, row_id: int, at: datetime) -> None:
        self._waiting.append((row_id, at))
        self._added += 1
        self._something.set()

    async def run(self) -> None:
        while True:
            await self._something.wait()
            await trio.sleep(GATHER_S)
            await self.flush()

    async def not_too_many(self) -> None:
        """Wait while more than `MAX_UNWRITTEN` are not on disk."""
        if self._added - self._written > MAX_UNWRITTEN:
            await self.flush()

    async def flush(self) -> None:
        """Returns when everything added before the call is on disk; waits for a disk that refuses."""
        wanted = self._added
        while self._written < wanted:
            if not await self.try_once():
                await trio.sleep(DISK_RETRY_S)

    async def try_once(self) -> bool:
        """Write what waits, not cancellable; False where the disk refuses, and it goes on waiting."""
        with trio.CancelScope(shield=True):
            async with self._writing:
                group, self._waiting = self._waiting, []
                self._something = trio.Event()
                if group:
                    await self._write(group)
        return not self._is_refused

    async def _write(self, group: list[tuple[int, datetime]]) -> None:
        try:
            await self._outbox.acknowledge(group)
        except sqlite3.Error as error:
            self._put_back(group)
            if not self._is_refused:
                log.error("acknowledgements cannot be written: %s. Check the disk's free space", error)
            self._is_refused = True
        except BaseException:
            self._put_back(group)
            raise
        else:
            self._written += len(group)
            self._is_refused = False

    def _put_back(self, group: list[tuple[int, datetime]]) -> None:
        self._waiting = group + self._waiting
        self._something.set()
