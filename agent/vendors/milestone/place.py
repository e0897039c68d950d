"""Where a Milestone source is, and which alarms it has not reported yet.

    {"start", "baseline", "watermark", "floor", "history": […], "recent": […]}

Facts. XProtect has no cursor. `lastUpdatedTime` moves when an alarm is inserted and whenever an operator touches it,
so an alarm that was updated must be told from one that is new by its id alone. `time` may lie long before insertion.
Decisions. `recent` are the alarms reported lately; older ones the journal knows by itself. `history` are those that
were there before `start` and never count, the newest of them by id, all others by lying before `floor`. Ids are kept
as 64-bit digests, which makes the document a third of the size. While `baseline` is true the first complete sweep is
still to come, and history is collected anew after a restart.
"""

import hashlib
import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agent.alarms.model import Position
from agent.vendors.milestone.marker import key_of
from agent.vendors.milestone.records import AlarmRecord, moment

HISTORY_KEPT = 2000
RECENT_KEPT = 2000


def digest(alarm_id: str) -> str:
    return hashlib.blake2b(alarm_id.encode("utf-8", "replace"), digest_size=8).hexdigest()


@dataclass(slots=True)
class Place:
    """`start` None: everything counts, however old."""

    start: datetime | None
    baseline: bool = True
    watermark: datetime | None = None
    floor: datetime | None = None
    history: set[str] = field(default_factory=set)
    recent: dict[str, None] = field(default_factory=dict)

    def counts(self, record: AlarmRecord, past: "Past") -> bool:
        """Whether this alarm is to be reported. `past` collects history in a baseline."""
        key = digest(record.id)
        if key in self.recent or key in self.history or key_of(record) is not None:
            return False
        when = record.time or record.updated
        if self.floor is not None and when is not None and when <= self.floor:
            return False
        if self.baseline and self.start is not None and when is not None and when < self.start:
            past.add(key, when)
            return False
        return True

    def remember(self, record: AlarmRecord) -> None:
        """It is reported."""
        self.recent[digest(record.id)] = None
        while len(self.recent) > RECENT_KEPT:
            del self.recent[next(iter(self.recent))]

    def end_baseline(self, past: "Past") -> None:
        self.history, self.floor, self.baseline = set(past.keys()), past.floor, False

    def position(self) -> Position:
        found: dict[str, Any] = {"recent": list(self.recent)}
        for name in ("start", "watermark", "floor"):
            if (value := getattr(self, name)) is not None:
                found[name] = value.isoformat()  # every microsecond: these are compared
        if self.baseline:
            found["baseline"] = True
        elif self.history:
            found["history"] = sorted(self.history)
        return found

    @classmethod
    def of(cls, position: Mapping[str, Any]) -> "Place":
        return cls(
            moment(position.get("start")),
            bool(position.get("baseline", False)),
            moment(position.get("watermark")),
            moment(position.get("floor")),
            set(position.get("history", ())),
            dict.fromkeys(position.get("recent", ())),
        )


class Past:
    """The newest alarms of before the start, by id; `floor` is the time of the newest that did not fit."""

    def __init__(self, limit: int = HISTORY_KEPT) -> None:
        self.floor: datetime | None = None
        self.count = 0
        """how many were added, forgotten ones included"""
        self._limit = limit
        self._known: set[str] = set()
        self._oldest_first: list[tuple[datetime, str]] = []

    def add(self, key: str, when: datetime) -> None:
        if key in self._known or (self.floor is not None and when <= self.floor):
            return
        self._known.add(key)
        self.count += 1
        heapq.heappush(self._oldest_first, (when, key))
        if len(self._oldest_first) > self._limit:
            forgotten, gone = heapq.heappop(self._oldest_first)
            self._known.discard(gone)
            self.floor = forgotten if self.floor is None else max(self.floor, forgotten)

    def keys(self) -> Iterable[str]:
        return self._known
