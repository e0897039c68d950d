"""How long the journal remembers: alarms that every sink has acknowledged, audit lines and batches go by age.

An alarm that still waits or was turned down is never removed: somebody has to see it first.
"""

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio

from agent.alarms.model import instant
from agent.settings.models import Retention
from agent.store import Store

ROUND_S = 3600.0
STEP = 500  # rows a transaction: alarms must not wait behind a clean-up


class Retirement:
    """Removes what is past its time. `settings` is asked anew each round, so that a reload counts."""

    def __init__(
        self,
        store: Store,
        settings: Callable[[], Retention],
        media_dir: Path,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._settings = settings
        self._media_dir = media_dir
        self._now = now

    async def run(self) -> None:
        """Never returns."""
        while True:
            await self.once()
            await trio.sleep(ROUND_S)

    async def once(self) -> None:
        settings = self._settings()
        if settings.alarms_s is not None:
            before = self._before(settings.alarms_s)
            while await self._store.write(lambda c: self._remove_alarms(c, before)) == STEP:
                pass
            await self._store.write(lambda c: c.execute("DELETE FROM audit WHERE at < ?", (before,)))
        batches_before = self._before(settings.batches_s)
        await self._store.write(lambda c: c.execute("DELETE FROM batches WHERE started_at < ?", (batches_before,)))

    def _before(self, age_s: float) -> str:
        return instant(self._now() - timedelta(seconds=age_s))

    def _remove_alarms(self, connection: sqlite3.Connection, before: str) -> int:
        """Remove up to STEP alarms with their deliveries and pictures; how many."""
        found = connection.execute(
            "SELECT id FROM alarms WHERE received_at < ? AND NOT EXISTS"
            " (SELECT 1 FROM outbox WHERE alarm_id = alarms.id AND state <> 'acknowledged') ORDER BY id LIMIT ?",
            (before, STEP),
        ).fetchall()
        for (alarm_id,) in found:
            for (name,) in connection.execute(
                "SELECT path FROM media WHERE alarm_id = ? AND path IS NOT NULL", (alarm_id,)
            ).fetchall():
                (self._media_dir / name).unlink(missing_ok=True)
            connection.execute("DELETE FROM alarms WHERE id = ?", (alarm_id,))
        return len(found)
