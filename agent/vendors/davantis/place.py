"""Where a DAVANTIS source is: the position that the journal stores."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from agent.alarms.model import Position, instant, parse_instant
from agent.vendors.wire import whole

MACHINES_KEPT = 8


@dataclass(frozen=True, slots=True)
class Place:
    """`mark` is the highest id that is journalled, -1 while none is: then rows from `since` on count (None: all).
    `machines` are the units (`idmachine`) whose rows belong to this numbering, the newest last; `generation` counts
    the restarts of the numbering; `newest` is the latest instant that a row has shown.
    """

    mark: int = -1
    since: datetime | None = None
    machines: tuple[str, ...] = ()
    generation: int = 0
    newest: datetime | None = None

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
        )

    def position(self) -> Position:
        return {
            "mark": self.mark,
            "since": instant(self.since) if self.since else None,
            "machines": list(self.machines),
            "generation": self.generation,
            "newest": instant(self.newest) if self.newest else None,
        }

    def epoch(self, machine: str) -> str:
        """The name of the numbering that a row of `machine` belongs to."""
        unit = machine or (self.machines[-1] if self.machines else "")
        return f"{unit}#{self.generation}" if self.generation else unit

    def with_machines(self, machines: Iterable[str]) -> "Place":
        known = [
            *self.machines,
            *(machine for machine in dict.fromkeys(machines) if machine not in ("", *self.machines)),
        ]
        return replace(self, machines=tuple(known[-MACHINES_KEPT:]))
