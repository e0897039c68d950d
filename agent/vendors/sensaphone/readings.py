"""What a dashboard says, zone by zone: in alarm, normal, or not readable.

Source: the vendor's wiki on dashboard, device and zone; the numbers are its ZoneState list.

Facts. The dashboard's `zone` lists only zones in alarm. A zone says its state in up to three ways: `alarm_condition`
(what is wrong), `alarm_status` (two states, the second for acknowledgement) and `alarm_status_str`. `unack_alarms` may
hold an OK, which means nothing is open. A zone of the dashboard may lack `zone_id` and be known by `canonical_name`.
Values are strings. Decisions: only OK or Return to normal in `alarm_status` is normal; a zone without any state in
a list of zones in alarm is in alarm; numbers not in the list pass through as conditions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.alarms.model import Kind
from agent.vendors import wire

STATES = {
    0: "none",
    1: "alarm",
    2: "OK",
    3: "pending",
    4: "open",
    5: "closed",
    6: "cycle",
    7: "low",
    8: "high",
    9: "off",
    10: "on",
    11: "return to normal",
    12: "route down",
    13: "trouble",
    14: "not responding",
    15: "dependency failure",
    16: "battery low",
    17: "acknowledged",
    18: "unacknowledged",
}
ALARM = 1
NORMAL = frozenset({2, 11})
ACKNOWLEDGED, UNACKNOWLEDGED = 17, 18
NO_CONDITION = frozenset({0, 2, 3, 11, ACKNOWLEDGED, UNACKNOWLEDGED})
UNREADABLE = frozenset({12, 13, 14, 15})
"""States in which the zone's value means nothing: an alarm of the installation, and never the end of another."""
BATTERY = 16
NUMBERS = {name.lower(): number for number, name in STATES.items()}


@dataclass(frozen=True, slots=True)
class ZoneInfo:
    """What the device list knows of a zone that the dashboard does not say."""

    zone_id: str
    canonical: str
    name: str
    type: str
    units: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One zone, as read once. `states` are the conditions it is in: empty where it is normal, None where unreadable.

    `unacknowledged` are those an operator has not acknowledged, `acknowledged` what is known of the zone as a whole.
    """

    zone_id: str
    canonical: str
    states: frozenset[int] | None
    acknowledged: bool | None = None
    unacknowledged: frozenset[int] = frozenset()
    value: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def readable(self) -> bool:
        """False where the sensor itself fails, so that nothing else about the zone can be believed."""
        return self.states is not None and not self.states & UNREADABLE


def reading_of(zone: Mapping[str, Any], *, listed_in_alarm: bool) -> Reading:
    """`listed_in_alarm`: the zone stands in a list that holds only zones in alarm."""
    alarm_zone = wire.table(zone.get("alarm_zone"))
    status = _numbers(alarm_zone.get("alarm_status")) or _numbers(alarm_zone.get("current_status"))
    unack = _numbers(alarm_zone.get("unack_alarms")) - NO_CONDITION
    return Reading(
        wire.text(zone.get("zone_id"), 40),
        wire.text(zone.get("canonical_name"), 60),
        _states(alarm_zone, status, zone, listed_in_alarm),
        _acknowledged(status, alarm_zone, unack),
        unack,
        wire.text(zone.get("value"), 40),
        zone,
    )


def _states(
    alarm_zone: Mapping[str, Any], status: frozenset[int], zone: Mapping[str, Any], listed_in_alarm: bool
) -> frozenset[int] | None:
    now = status - {ACKNOWLEDGED, UNACKNOWLEDGED, 0, 3}
    if now and now <= NORMAL:
        return frozenset()
    named = NUMBERS.get(wire.text(alarm_zone.get("alarm_status_str")).lower())
    conditions = (
        _numbers(alarm_zone.get("alarm_condition")) - NO_CONDITION
        or now - NO_CONDITION
        or frozenset({named} if named is not None else ()) - NO_CONDITION
    )
    if conditions:
        return conditions
    if listed_in_alarm and not alarm_zone and zone.get("value") is not None:
        return frozenset({ALARM})
    return frozenset() if named in NORMAL else None


def _acknowledged(status: frozenset[int], alarm_zone: Mapping[str, Any], unack: frozenset[int]) -> bool | None:
    if UNACKNOWLEDGED in status:
        return False
    if ACKNOWLEDGED in status:
        return True
    return not unack if isinstance(alarm_zone.get("unack_alarms"), list) else None


def _numbers(value: Any) -> frozenset[int]:
    items = value if isinstance(value, list) else [value]
    return frozenset(number for number in map(wire.whole, items) if number is not None)


def online(device: Mapping[str, Any]) -> bool | None:
    """Whether the unit reports; None where the answer does not say."""
    said = wire.truth(device.get("is_online"))
    if said is None:
        return {"online": True, "offline": False}.get(wire.text(device.get("connection_status")).lower())
    return said


POWER_FAILS = frozenset({"off", "out", "fail", "failed", "failure", "lost", "no", "power out", "ac off", "battery"})
BATTERY_FAILS = frozenset({"low", "bad", "dead", "fail", "failed", "failure", "replace", "critical"})


def unit_conditions(device: Mapping[str, Any]) -> dict[Kind, frozenset[int] | None]:
    """Mains and battery of the unit itself, in words whose list the vendor does not publish.

    Known bad words are a condition, any other word is none, no word at all is not readable.
    """
    found: dict[Kind, frozenset[int] | None] = {}
    for kind, key, bad, state in (
        (Kind.POWER, "power_status", POWER_FAILS, 9),
        (Kind.LOW_BATTERY, "battery_status", BATTERY_FAILS, BATTERY),
    ):
        word = wire.text(device.get(key)).lower()
        found[kind] = (frozenset({state}) if word in bad else frozenset()) if word else None
    return found


def kind_of_zone(info: ZoneInfo | None, canonical: str) -> Kind:
    """What a zone measures, from its type and the vendor's own name for it; the installer's name proves nothing."""
    words = f"{info.type if info else ''} {info.canonical if info else canonical}".lower()
    if "batter" in words:
        return Kind.LOW_BATTERY
    if "power" in words or "mains" in words:
        return Kind.POWER
    return Kind.ENVIRONMENT


def by_kind(states: Iterable[int], base: Kind) -> dict[Kind, frozenset[int]]:
    """Conditions grouped by the kind of alarm they are, `base` for what the zone measures."""
    found: dict[Kind, set[int]] = {}
    for state in states:
        kind = Kind.SYSTEM if state in UNREADABLE else Kind.LOW_BATTERY if state == BATTERY else base
        found.setdefault(kind, set()).add(state)
    return {kind: frozenset(group) for kind, group in found.items()}


def words(states: Iterable[int]) -> str:
    return ", ".join(STATES.get(state, f"state {state}") for state in sorted(states))
