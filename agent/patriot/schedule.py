"""When a batch is due: at a minute of every hour by the wall clock, or every so many seconds.

The wall clock may step, and daylight saving may begin: what is due is worked out anew at every look. A step forward
over a due moment makes one batch, a step back none for a moment that has just had its own, and never is there more
than an hour and a bit between two.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import trio

LOOK_S = 10.0
HOUR_S = 3600.0
QUIET_S = 300.0  # a due moment this soon after a batch is the same one, met again by a clock that was set back


class Schedule:
    """`await wait()` returns when a batch is due, and not again before the next."""

    def __init__(self, now: Callable[[], datetime], zone: ZoneInfo, minute: int, every_s: float | None = None) -> None:
        self._now = now
        self._zone = zone
        self._minute = minute
        self._every_s = every_s
        self._ran_at: float | None = None
        self.next_at: datetime = self._following(now())

    async def wait(self) -> None:
        if self._every_s is not None:
            self.next_at = self._following(self._now())
            await trio.sleep(self._every_s)
            return
        if self._ran_at is None:
            self._ran_at = trio.current_time() - QUIET_S
        while not self._is_due():
            remaining = (self.next_at - self._now()).total_seconds()
            await trio.sleep(min(max(remaining, 0.05), LOOK_S))
        self._ran_at = trio.current_time()
        self.next_at = self._following(self._now())

    def _is_due(self) -> bool:
        assert self._ran_at is not None
        now = self._now()
        quiet_for = trio.current_time() - self._ran_at
        due = now >= self.next_at or quiet_for >= HOUR_S + QUIET_S
        if due and quiet_for >= QUIET_S:
            return True
        following = self._following(now + timedelta(seconds=max(0.0, QUIET_S - quiet_for)))
        # Earlier than planned: the clock was set back. Later, though what was planned is due: too soon after the last.
        if following < self.next_at or due:
            self.next_at = following
        return False

    def _following(self, now: datetime) -> datetime:
        """The first due moment after `now`. Worked out in UTC with the offset of `now`: every hour has one."""
        if self._every_s is not None:
            return now + timedelta(seconds=self._every_s)
        offset = now.astimezone(self._zone).utcoffset() or timedelta()
        local = now.astimezone(UTC).replace(tzinfo=None) + offset
        mark = local.replace(minute=self._minute, second=0, microsecond=0)
        if mark <= local:
            mark += timedelta(hours=1)
        return (mark - offset).replace(tzinfo=UTC)
