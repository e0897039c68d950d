"""Acknowledgements on their way to the disk, written in groups while the next alarm is already under way.

Waiting for the disk after each alarm would make its speed the delivery's. What is not yet written when the process
dies is sent once more, so what may be unwritten is bounded.
"""

from datetime import datetime

import trio

from agent.alarms.outbox import Outbox

MAX_UNWRITTEN = 64
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
        """Returns when everything added before the call is on disk."""
        with trio.CancelScope(shield=True):
            async with self._writing:
                group, self._waiting = self._waiting, []
                self._something = trio.Event()
                if not group:
                    return
                try:
                    await self._outbox.acknowledge(group)
                except BaseException:
                    self._waiting = group + self._waiting
                    raise
                self._written += len(group)
