"""From levels to happenings: what begins, worsens and ends between two readings.

    normal ──in alarm──▶ active ──a state more, or raised again after an acknowledgement──▶ active (a new row)
                           │  ▲
                           │  └ acknowledged, offline, unreadable: nothing happens
                           └──read as normal──▶ normal (a restoral, where its beginning was reported)

Sensaphone shows only what is; it has no alarm ids. The set of active conditions is therefore the source's position,
stored with the alarms in one transaction: a restart repeats nothing. Each row gets an id of its own: the condition,
a serial number, and when.

An entry (JSON): `{"device", "zone", "alias", "base", "label", "acknowledged", "kinds": {kind: {"states", "row"}}}`.
`row` is the id of the row that reported the condition, "" where it stood before the first reading. The unit's own
conditions (offline, mains, battery) are entries whose zone begins with ":".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agent.alarms.model import Kind
from agent.vendors import wire
from agent.vendors.sensaphone.readings import ALARM

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Observed:
    """One zone, or the unit, as read: the states by kind (empty: normal), and who has seen to them."""

    device: str
    zone: str
    label: str
    base: Kind
    kinds: Mapping[Kind, frozenset[int]]
    alias: str = ""
    acknowledged: bool | None = None
    unacknowledged: frozenset[int] = frozenset()
    may_end: bool = True
    """False where what is missing proves nothing: the sensor fails"""


@dataclass(frozen=True, slots=True)
class Change:
    """A row to be: a condition that began (or worsened), or that ended."""

    id: str
    entry: Entry
    kind: Kind
    states: frozenset[int]
    at: datetime
    restoral: bool


@dataclass(slots=True)
class Conditions:
    """The active set, and the serial number of the last row."""

    active: dict[str, Entry] = field(default_factory=dict)
    serial: int = 0

    def find(self, device: str, zone: str, alias: str) -> str | None:
        """The key of an entry, by zone id or, where an earlier reading had only the other name, by that."""
        key = key_of(device, zone or alias)
        if key in self.active:
            return key
        for other, entry in self.active.items():
            if alias and entry["device"] == device and alias == entry["alias"]:
                return other
        return None

    def of_device(self, device: str) -> list[str]:
        return [key for key, entry in self.active.items() if entry["device"] == device]

    def observe(self, seen: Observed, now: datetime, *, report: bool = True) -> Iterator[Change]:
        """Take a reading in; what changed. `report` False: what stands is known and no row (the first reading)."""
        key = self.find(seen.device, seen.zone, seen.alias) or key_of(seen.device, seen.zone or seen.alias)
        entry = self.active.get(key) or _entry(seen)
        raised_again = entry["acknowledged"] is True and seen.acknowledged is False
        for kind, states in seen.kinds.items():
            yield from self._onset(key, entry, kind, states, seen, raised_again, now, report)
        if seen.may_end:
            for ended in [kind for kind in entry["kinds"] if kind not in seen.kinds]:
                yield from self._end(key, entry, ended, now)
        if seen.acknowledged is not None:
            entry["acknowledged"] = seen.acknowledged
        if entry["kinds"]:
            self.active[key] = entry
        else:
            self.active.pop(key, None)

    def _onset(
        self,
        key: str,
        entry: Entry,
        kind: Kind,
        states: frozenset[int],
        seen: Observed,
        raised_again: bool,
        now: datetime,
        report: bool,
    ) -> Iterator[Change]:
        known = entry["kinds"].get(kind.value)
        before = frozenset(known["states"]) if known else frozenset()
        # "Alarm" without more is what a zone is called until its state is known, so more is no worsening.
        worse = bool(states - before) and before != {ALARM}
        again = raised_again and (not seen.unacknowledged or bool(states & seen.unacknowledged))
        row = known["row"] if known else ""
        if known is None or worse or again:
            row = self._row_id(key, kind, now) if report else ""
            if report:
                yield Change(row, entry, kind, states, now, restoral=False)
        entry["kinds"][kind.value] = {"states": sorted(states), "row": row}

    def _end(self, key: str, entry: Entry, kind: str, now: datetime) -> Iterator[Change]:
        ended = entry["kinds"].pop(kind)
        if ended["row"]:
            states = frozenset(ended["states"])
            yield Change(f"{ended['row']}/end", entry, Kind(kind), states, now, restoral=True)

    def _row_id(self, key: str, kind: Kind, now: datetime) -> str:
        self.serial += 1
        return f"{key}/{kind.value}/{self.serial}-{int(now.timestamp() * 1000)}"

    def as_json(self) -> dict[str, Any]:
        return {"serial": self.serial, "active": self.active}

    @classmethod
    def from_json(cls, position: Mapping[str, Any]) -> "Conditions":
        active = {
            key: {**entry, "kinds": {kind: dict(known) for kind, known in entry["kinds"].items()}}
            for key, entry in wire.table(position.get("active")).items()
        }
        return cls(active, wire.whole(position.get("serial")) or 0)


def key_of(device: str, zone: str) -> str:
    return f"{device}/{zone}"


def _entry(seen: Observed) -> Entry:
    return {
        "device": seen.device,
        "zone": seen.zone or seen.alias,
        "alias": seen.alias,
        "base": seen.base.value,
        "label": seen.label,
        "acknowledged": None,
        "kinds": {},
    }


def now_utc() -> datetime:
    return datetime.now(UTC)
