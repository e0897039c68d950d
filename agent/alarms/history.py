"""What happened in the last hour, by the minute: for the console's plots and the polls a second."""

from collections import deque
from dataclasses import dataclass

MINUTES = 60


@dataclass(slots=True)
class Minute:
    start: int  # monotonic minutes
    polls: int = 0
    errors: int = 0
    alarms: int = 0


class LastHour:
    """Counts by the minute; bounded."""

    def __init__(self) -> None:
        self._minutes: deque[Minute] = deque(maxlen=MINUTES)

    def add(self, now: float, *, polls: int = 0, errors: int = 0, alarms: int = 0) -> None:
        """`now` in seconds of a monotonic clock."""
        minute = int(now // 60)
        if not self._minutes or self._minutes[-1].start != minute:
            self._minutes.append(Minute(minute))
        current = self._minutes[-1]
        current.polls += polls
        current.errors += errors
        current.alarms += alarms

    def alarms_by_minute(self, now: float) -> list[int]:
        """60 counts, oldest first, the running minute last."""
        last = int(now // 60)
        counts = {minute.start: minute.alarms for minute in self._minutes}
        return [counts.get(last - MINUTES + 1 + index, 0) for index in range(MINUTES)]

    def polls_per_second(self, now: float) -> float:
        """Over the last full minute and the running one."""
        last = int(now // 60)
        recent = [minute for minute in self._minutes if minute.start >= last - 1]
        if not recent:
            return 0.0
        seconds = max(1.0, now - recent[0].start * 60)
        return sum(minute.polls for minute in recent) / seconds
