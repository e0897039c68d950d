"""Where a DAVANTIS source is: the position that the journal stores."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from agent.alarms.model import Position, instant, parse_instant
from agent.vendors.wire import whole

MACHINES_KEPT = 8
NEWEST_IDS_KEPT = 300


@dataclass(frozen=True, slots=True)
class Place:
    """`mark` is the highest id that is journalled, -1 while none is: then rows from `since` on count (None: all).
    `machines` are the units (`idmachine`) whose rows belong to this numbering, the newest last; `generation` counts
    the restarts of the numbering; `newest` is the latest instant that a row has shown, and `newest_ids` are the rows
    that showed it: a device's instants are whole seconds, and much can happen in one.
    """

    mark: int = -1
    since: datetime | None = None
    machines: tuple[str, ...] = ()
    generation: int = 0
    newest: datetime | None = None
    newest_ids: tuple[int, ...] = ()

    @classmethod
    def of(cls, position: Position) -> "Place":
        def moment(key: str) -> datetime | None:
            return parse_instant(position[key]) if position.get(key) else None

        mark = whole(position.get("mark"))
        return cls(
            mark=-1 if mark is None else mark,
            since=moment("since"),
            machines=tuple(map(str, position.get("machines") or ())),
            generation=whole(position.get("generation")) or 0,
            newest=moment("newest"),
            newest_ids=tuple(position.get("newest_ids") or ()),
        )

    def position(self) -> Position:
        return {
            "mark": self.mark,
            "since": instant(self.since) if self.since else None,
            "machines": list(self.machines),
            "generation": self.generation,
            "newest": instant(self.newest) if self.newest else None,
            "newest_ids": list(self.newest_ids),
        }

    def epoch(self, machine: str) -> str:
        """The name of the numbering that a row of `machine` belongs to."""
        unit = machine or (self.machines[-1] if self.machines else "")
        return f"{unit}#{self.generation}" if self.generation else unit

    def is_present(self, epoch: str) -> bool:
        """Whether `epoch`, made by `epoch()`, is of the numbering in force."""
        _, mark, generation = epoch.rpartition("#")
        return (generation if mark else "0") == str(self.generation)

    def knows(self, number: int, moment: datetime) -> bool:
        """Whether a row of that id and instant was there when the place was taken, going by the instant."""
        if self.newest is None:
            return False
        return moment < self.newest or (moment == self.newest and number in self.newest_ids)

    def seen_until(self, newest: datetime, numbers: Iterable[int]) -> "Place":
        """The place after rows up to `newest`, which `numbers` show."""
        if self.newest is not None and newest < self.newest:
            return self
        known = self.newest_ids if newest == self.newest else ()
        return replace(self, newest=newest, newest_ids=(*known, *numbers)[-NEWEST_IDS_KEPT:])

    def with_machines(self, machines: Iterable[str]) -> "Place":
        known = [
            *self.machines,
            *(machine for machine in dict.fromkeys(machines) if machine not in ("", *self.machines)),
        ]
        return replace(self, machines=tuple(known[-MACHINES_KEPT:]))
