"""Low batteries: a level becomes one alarm and one restoral, whatever happens in between. Pure.

    unknown or fine ──level ≤ low_battery──→ low ──level ≥ low_battery + 5──→ fine
                           alarm                        restoral

A door that is missing from the list, or whose level is no number from 0 to 100, stays as it was: a reading that fails
is no new battery. The five points between keep a level that trembles on the threshold from alarming every time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agent.alarms.model import Alarm, Kind
from agent.vendors import wire
from agent.vendors.lockt.models import DoorState

MARGIN = 5.0
EPOCH = "battery"


@dataclass(frozen=True, slots=True)
class Batteries:
    """The doors whose battery is low, each with the serial number of its alarm; `serial` counts alarms for ever."""

    low: Mapping[str, int] = field(default_factory=dict)
    serial: int = 0

    @classmethod
    def of_json(cls, value: Any) -> "Batteries":
        stored = wire.table(value)
        low = {str(door): wire.whole(serial) or 0 for door, serial in wire.table(stored.get("low")).items()}
        return cls(low, wire.whole(stored.get("serial")) or 0)

    def as_json(self) -> Mapping[str, Any]:
        return {"low": dict(self.low), "serial": self.serial}


def percent(states: Sequence[DoorState]) -> dict[int, float]:
    """Door id → level in percent, for the doors that have a usable one.

    The reference calls the level a decimal and shows whole percentages. A list without anything above 1 and with
    something broken in it can only be fractions.
    """
    levels = {state.id: state.battery_level for state in states if state.battery_level is not None}
    fractions = levels and max(levels.values()) <= 1 and any(level % 1 for level in levels.values())
    scaled = {door: level * 100 if fractions else level for door, level in levels.items()}
    return {door: level for door, level in scaled.items() if 0 <= level <= 100}


def observe(
    states: Sequence[DoorState], threshold: int, known: Batteries, now: datetime
) -> tuple[list[Alarm], Batteries]:
    """The alarms and restorals of one reading, and what is known after it."""
    low, serial = dict(known.low), known.serial
    levels = percent(states)
    alarms: list[Alarm] = []
    for state in _once_each(states):
        level, door = levels.get(state.id), str(state.id)
        if level is None:
            continue
        if door not in low and level <= threshold:
            serial += 1
            low[door] = serial
            alarms.append(_alarm(state, level, serial, now, restoral=False))
        elif door in low and level >= min(threshold + MARGIN, 100):
            alarms.append(_alarm(state, level, low.pop(door), now, restoral=True))
    return alarms, Batteries(low, serial)


def _once_each(states: Iterable[DoorState]) -> Iterable[DoorState]:
    return {state.id: state for state in states}.values()


def _alarm(state: DoorState, level: float, serial: int, now: datetime, *, restoral: bool) -> Alarm:
    name = wire.text(state.name) or f"Door {state.id}"
    return Alarm(
        native_id=f"{state.id}-{serial}" + ("-restored" if restoral else ""),
        kind=Kind.LOW_BATTERY,
        occurred_at=now,
        description=f"{name}: battery {'is' if restoral else 'low,'} {level:g} %",
        device=str(state.id),
        device_name=name,
        restoral=restoral,
        raw=state.raw,
        epoch=EPOCH,
    )
