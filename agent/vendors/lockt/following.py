"""Following the event numbers of a cloud that forgets: what is new, what may be missing, what began again. Pure.

Facts. Nobody says whether `events?id=N` gives event N itself. The cloud holds the newest 5,000 events by default.
Ids have natural holes, so that a hole proves nothing. An offline lock's events come hours late with new ids. A site
that is provisioned anew numbers from the start again.

Decisions. The id alone is the mark. The question is asked from the event *before* the mark, so that an honest answer
holds the mark itself whichever way the vendor counts: the mark is the witness.

    the witness is there, with its own db_time ─→ what is above it is new
    there, with another db_time ────────────────→ restarted: another event bears its number
    not there, all above it ────────────────────→ gap: the cloud has forgotten events we never saw
    not there, nothing above it ────────────────→ look at the whole cache; all below the mark: restarted
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from enum import Enum
from typing import Any

from agent.vendors import wire
from agent.vendors.lockt.models import Event

CHUNK = 1000
"""Events delivered in one poll; the rest of a backlog comes with the next, at once."""


class Finding(Enum):
    CONTIGUOUS = "contiguous"
    GAP = "gap"
    RESTARTED = "restarted"
    UNCLEAR = "unclear"  # only the whole cache can tell


@dataclass(frozen=True, slots=True)
class Mark:
    """The newest event delivered: its id (0: none yet), the id delivered before it, its db_time as received."""

    id: int = 0
    before: int = 0
    at: str = ""
    restarts: int = 0

    @classmethod
    def of_json(cls, value: Any) -> "Mark":
        stored = wire.table(value)
        identifier, before, restarts = (wire.whole(stored.get(key)) or 0 for key in ("id", "before", "restarts"))
        return cls(identifier, before, wire.text(stored.get("at")), restarts)

    def as_json(self) -> Mapping[str, Any]:
        return {"id": self.id, "before": self.before, "at": self.at, "restarts": self.restarts}

    @property
    def epoch(self) -> str:
        """The name of the numbering: "" until it restarts."""
        return str(self.restarts) if self.restarts else ""

    @property
    def ask_from(self) -> int | None:
        """The id to ask with; None asks for the whole cache."""
        return self.before or self.id or None

    def past(self, events: Sequence[Event]) -> "Mark":
        """The mark after the delivery of `events`, which stand in the order of their ids."""
        if not events:
            return self
        before = events[-2].id if len(events) > 1 else self.id
        return replace(self, id=events[-1].id, before=before, at=_recorded(events[-1]))

    def renumbered(self) -> "Mark":
        return Mark(restarts=self.restarts + 1)


def in_order(events: Iterable[Event]) -> list[Event]:
    """By id, each id once: the cloud's own order is not promised."""
    return sorted({event.id: event for event in events}.values(), key=lambda event: event.id)


def judge(mark: Mark, events: Sequence[Event]) -> Finding:
    """What an answer to `mark.ask_from` says; `events` in order."""
    if not mark.id:
        return Finding.CONTIGUOUS
    witness = _witness(mark, events)
    if witness is not None:
        return Finding.CONTIGUOUS if _same(mark, witness) else Finding.RESTARTED
    if not events or events[-1].id < mark.id or not mark.before:
        return Finding.UNCLEAR
    return Finding.GAP if events[0].id > mark.id else Finding.CONTIGUOUS


def judge_whole(mark: Mark, cache: Sequence[Event]) -> Finding:
    """What the whole cache says; an empty one says nothing."""
    witness = _witness(mark, cache)
    if witness is not None:
        return Finding.CONTIGUOUS if _same(mark, witness) else Finding.RESTARTED
    if not cache:
        return Finding.CONTIGUOUS
    if cache[-1].id < mark.id:
        return Finding.RESTARTED
    return Finding.GAP if cache[0].id > mark.id else Finding.CONTIGUOUS


def above(mark: Mark, events: Sequence[Event]) -> list[Event]:
    return [event for event in events if event.id > mark.id]


def recorded_since(moment: datetime, events: Sequence[Event], zone: tzinfo) -> list[Event]:
    """Events that the cloud recorded at `moment` or later. One without a time counts: nothing says that it is old."""
    kept = []
    for event in events:
        stamp = event.db_time or event.event_time
        if stamp is None or stamp.at(zone) >= moment:
            kept.append(event)
    return kept


def split(mark: Mark, cache: Sequence[Event], fresh: list[Event]) -> tuple[list[Event], Mark]:
    """`fresh` out of `cache`, and the mark at the event before it, which is known and not delivered."""
    older = [event for event in cache if event.id < fresh[0].id] if fresh else cache
    return fresh, mark.past(older)


def _witness(mark: Mark, events: Sequence[Event]) -> Event | None:
    return next((event for event in events if event.id == mark.id), None)


def _same(mark: Mark, event: Event) -> bool:
    return not mark.at or not _recorded(event) or mark.at == _recorded(event)


def _recorded(event: Event) -> str:
    return event.db_time.text if event.db_time else ""
