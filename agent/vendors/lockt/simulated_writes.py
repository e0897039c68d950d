"""Writes to a simulated site: what is validated, what is done, and both error shapes. No HTTP."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

Row = dict[str, Any]
Answer = tuple[int, Row]

NOTHING_SENT = "No data found or invalid JSON objects supplied. Could not parse input."
VALIDATION = "Validation errors found. Batch has failed. Details provided."
# Some samples of the reference name the node otherwise than its tables do; the site takes both.
NODES = {"fobs": ("locations",), "accesslevels": ("acecsslevels",)}
MAX_CARD_DIGITS = 10
MAX_PIN_DIGITS = 6


class Site(Protocol):
    """The part of a site that writes change: its records by id."""

    timezone: str
    record_limit: int
    refuse_past: bool
    doors: dict[int, Row]
    accesslevels: dict[int, Row]
    schedules: dict[int, Row]
    locationtypes: dict[int, Row]
    locations: dict[int, Row]
    credentials: dict[int, Row]
    users: dict[int, Row]
    fobs: dict[int, Row]
    delegates: dict[int, Row]

    @property
    def now(self) -> Callable[[], datetime]: ...

    def new_id(self) -> int: ...

    def user(self, number: int, index: int) -> Row: ...


def failure(status: int, sentence: str) -> Answer:
    """The first error shape: a sentence about the request."""
    return status, {"data": {"error": sentence}}


def rejection(invalid: list[tuple[Row, list[str]]]) -> Answer:
    """The second error shape: sentences about records."""
    return 400, {"result": [VALIDATION], "errors": [{"error": words, "input_data": row} for row, words in invalid]}


def fails_batch(body: Any) -> bool:
    options = body.get("options") if isinstance(body.get("options"), dict) else {}
    return str(options.get("validate_fails_batch", "true")).lower() != "false"


def records_of(body: Any, node: str, limit: int) -> tuple[list[Row], Answer | None]:
    """The records of a request, or the answer that refuses it as a whole."""
    names = (node, *NODES.get(node, ()))
    found = next((body[name] for name in names if name in body), None) if isinstance(body, dict) else None
    if not isinstance(found, list) or not found or not all(isinstance(record, dict) for record in found):
        return [], failure(400, NOTHING_SENT)
    if len(found) > limit:
        return [], failure(400, f"Batch size exceeds maximum of {limit} objects.")
    return found, None


def perform(site: Site, write: "Write", body: Any) -> Answer:
    records, refused = records_of(body, write.node, 1 if write.one else site.record_limit)
    if refused:
        return refused
    options = body.get("options")
    batch = Batch(site, options if isinstance(options, dict) else {})
    good: list[Row] = []
    for record in records:
        if words := write.check(batch, record):
            batch.invalid.append((record, words))
        else:
            good.append(record)
    if batch.invalid and (write.one or fails_batch(body)):
        return rejection(batch.invalid)
    for record in good:
        write.apply(batch, record)
    summary = {"submitted": len(records), **batch.summary(write), "errors": len(batch.invalid)}
    return 200, {"data": summary, **(rejection(batch.invalid)[1] if batch.invalid else {})}


@dataclass
class Batch:
    """One write under way: its options, its invalid records, its counts."""

    site: Site
    options: Mapping[str, Any]
    invalid: list[tuple[Row, list[str]]] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    def option(self, name: str, default: bool) -> bool:
        return str(self.options.get(name, default)).lower() == "true"

    def summary(self, write: "Write") -> Row:
        if write.node == "delegates":
            return {"processed": self.inserted}
        if write.method == "DELETE":
            return {"deleted": self.deleted}
        return {"inserted": self.inserted, "updated": self.updated}

    def twice(self, key: str, value: Any) -> bool:
        """Whether an earlier record of this batch has the same value."""
        mark = f"{key}={value}"
        known = mark in self.seen
        self.seen.add(mark)
        return known


@dataclass(frozen=True)
class Write:
    method: str
    node: str
    check: Callable[[Batch, Row], list[str]]
    apply: Callable[[Batch, Row], None]
    one: bool = False


def number(value: Any) -> int | None:
    return int(value) if re.fullmatch(r"-?\d{1,18}", str(value).strip()) else None


def _blank(record: Row, *names: str) -> list[str]:
    return [f"{name} is missing or blank" for name in names if not str(record.get(name, "")).strip()]


def _dates(site: Site, record: Row) -> list[str]:
    words = []
    for name in ("access_effective", "access_expires"):
        value = record.get(name, "")
        if value and not re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", str(value)):
            words.append(f"Invalid {name} date: {value}")
    effective, expires = str(record.get("access_effective", "")), str(record.get("access_expires", ""))
    if not words and effective and expires and effective >= expires:
        words.append(f"Invalid access_effective date: {effective}, must be before access_expires")
    local = site.now().astimezone(ZoneInfo(site.timezone)).strftime("%Y-%m-%d %H:%M:%S")
    if not words and site.refuse_past and expires and expires < local:
        words.append(f"Invalid access_expires date: {expires}, cannot be in past")
    return words


def _card(record: Row) -> list[str]:
    card = str(record.get("card_num", ""))
    if card in ("", "-1"):
        return []
    if not card.isdecimal():
        return [f"Non-Numeric card_num found: {card}"]
    return [f"card_num is too long: {card}"] if len(card) > MAX_CARD_DIGITS else []


def _levels(batch: Batch, record: Row) -> list[str]:
    ids = [number(level.get("id")) for level in record.get("accesslevels", [])]
    words = [f"Access level id {each} is not valid" for each in ids if each not in batch.site.accesslevels]
    return words + (["Duplicate Assigned Access Levels"] if len(set(ids)) < len(ids) else [])


def check_user(batch: Batch, record: Row) -> list[str]:
    words = _blank(record, "id", "id_num", "first_name", "last_name", "email", "phone")
    identifier = number(record.get("id", ""))
    if identifier == -1:
        words += _blank(record, "pin")
    if identifier is None and str(record.get("id", "")).strip():
        words.append(f"Non-Numeric id found: {record['id']}")
    users = batch.site.users
    if identifier not in (None, -1) and identifier not in users:
        words.append(f"User id {identifier} is not valid")
    email, phone = str(record.get("email", "")), str(record.get("phone", ""))
    if email and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", email):
        words.append(f"Invalid email address found: {email}")
    if phone and not re.fullmatch(r"\+?[\d\s()-]{7,20}", phone):
        words.append(f"Invalid phone found: {phone}")
    pin = str(record.get("pin", ""))
    if pin and (not pin.isdecimal() or len(pin) > MAX_PIN_DIGITS):
        words.append(f"Invalid pin found: {'*' * len(pin)}")
    for key in ("id_num", "email", "card_num") if identifier == -1 else ("email",):
        value = str(record.get(key, ""))
        taken = any(str(user[key]) == value and user["id"] != identifier for user in users.values())
        if value and (taken or batch.twice(key, value)):
            words.append(f"{key} already exists in system: {value}")
    return words + _card(record) + _dates(batch.site, record) + _levels(batch, record)


def apply_user(batch: Batch, record: Row) -> None:
    identifier = number(record["id"])
    users = batch.site.users
    if identifier in users:
        if batch.option("update_existing", False):
            change_user(batch, record)
        return
    new = batch.site.new_id()
    users[new] = {**batch.site.user(new, 0), "accesslevels": [], "card_num": "", **_plain(record), "id": new}
    users[new]["accesslevels"] = [number(level["id"]) for level in record.get("accesslevels", [])]
    batch.inserted += 1


def _plain(record: Row) -> Row:
    plain = {key: str(value) if key in ("card_num", "pin") else value for key, value in record.items()}
    if "enabled" in plain:
        plain["enabled"] = str(plain["enabled"]).lower() == "true"
    return {key: value for key, value in plain.items() if key not in ("id", "accesslevels", "credential_key")}


def check_update(batch: Batch, record: Row) -> list[str]:
    if number(record.get("id", "")) not in batch.site.users:
        return [f"User id {record.get('id', '')} is not valid"]
    return _card(record) + _dates(batch.site, record) + _levels(batch, record)


def change_user(batch: Batch, record: Row) -> None:
    """A card number counts only where there is none yet, or is -1 and takes the cards away."""
    user = batch.site.users[number(record["id"]) or 0]
    card, had = str(record.get("card_num", "")), user["card_num"]
    user.update(_plain(record), card_num="" if card == "-1" else had or card)
    if "accesslevels" in record:
        given = [number(level["id"]) for level in record["accesslevels"]]
        kept = [] if batch.option("replace_privileges", True) else user["accesslevels"]
        user["accesslevels"] = list(dict.fromkeys([*kept, *given]))
    batch.updated += 1


def check_fob(batch: Batch, record: Row) -> list[str]:
    words = _blank(record, "name", "id_num", "card_num") + _card(record) + _dates(batch.site, record)
    for key in ("name", "card_num"):
        taken = any(str(fob[key]) == str(record.get(key, "")) for fob in batch.site.fobs.values())
        if taken or batch.twice(key, record.get(key)):
            words.append(f"{key} already exists in system: {record.get(key, '')}")
    return words


def apply_fob(batch: Batch, record: Row) -> None:
    new = batch.site.new_id()
    batch.site.fobs[new] = {"enabled": True, "accesslevels": [], **_plain(record), "id": new}
    batch.inserted += 1


def check_reassign(batch: Batch, record: Row) -> list[str]:
    words = [] if number(record.get("id", "")) in batch.site.fobs else [f"Fob id {record.get('id', '')} is not valid"]
    holder = number(record.get("user_id", ""))
    if holder != 0 and holder not in batch.site.users:
        words.append(f"User id {record.get('user_id', '')} is not valid")
    return words + _dates(batch.site, record)


def apply_reassign(batch: Batch, record: Row) -> None:
    batch.site.fobs[number(record["id"]) or 0].update({**_plain(record), "user_id": number(record["user_id"]) or None})
    batch.updated += 1


def check_door(batch: Batch, record: Row) -> list[str]:
    words = _blank(record, "name")
    if any(door["name"] == record.get("name") for door in batch.site.doors.values()):
        words.append(f"Door Name Already Exists: {record['name']}")
    if record.get("location_id") and number(record["location_id"]) not in batch.site.locations:
        words.append(f"Location id {record['location_id']} is not valid")
    return words


def apply_door(batch: Batch, record: Row) -> None:
    new = batch.site.new_id()
    place = batch.site.locations.get(number(record.get("location_id", 0)) or 0, {"name": ""})["name"]
    door = {"type": "Access Controlled Door", "enabled": True, "controller": "Bridge A", "location": place}
    batch.site.doors[new] = {"id": new, "name": record["name"], **door}
    batch.inserted += 1


def check_location(batch: Batch, record: Row) -> list[str]:
    words = _blank(record, "name", "locationtype")
    if any(place["name"] == record.get("name") for place in batch.site.locations.values()):
        words.append(f"Location name already exists: {record['name']}")
    if number(record.get("locationtype", "")) not in batch.site.locationtypes:
        words.append(f"Location type {record.get('locationtype', '')} is not valid")
    return words


def apply_location(batch: Batch, record: Row) -> None:
    new = batch.site.new_id()
    kind = batch.site.locationtypes[number(record["locationtype"]) or 0]["name"]
    batch.site.locations[new] = {"id": new, "name": record["name"], "type": kind, "enabled": True}
    batch.inserted += 1


def check_level(batch: Batch, record: Row) -> list[str]:
    words = _blank(record, "name")
    if any(level["name"] == record.get("name") for level in batch.site.accesslevels.values()):
        words.append(f"Access level name already exists: {record['name']}")
    for door in record.get("doors", []):
        if number(door.get("id")) not in batch.site.doors:
            words.append(f"Door id {door.get('id')} is not valid")
        if number(door.get("schedule_id")) not in batch.site.schedules:
            words.append(f"Schedule id {door.get('schedule_id')} is not valid")
    return words


def apply_level(batch: Batch, record: Row) -> None:
    new = batch.site.new_id()
    doors = [{**door, "name": batch.site.doors[number(door["id"]) or 0]["name"]} for door in record.get("doors", [])]
    batch.site.accesslevels[new] = {"id": new, "name": record["name"], "doors": doors}
    batch.inserted += 1


def check_delegate(batch: Batch, record: Row) -> list[str]:
    users, doors = batch.site.users, batch.site.doors
    words = [
        f"User id {record.get(key, '')} is not valid"
        for key in ("from_user_id", "to_user_id")
        if number(record.get(key, "")) not in users
    ]
    for door in record.get("doors", []):
        if number(door.get("id")) not in doors:
            words.append(f"Door id {door.get('id')} is not available to delegate")
    return words + _blank(record, "access_effective", "access_expires") + _dates(batch.site, record)


def apply_delegate(batch: Batch, record: Row) -> None:
    new = batch.site.new_id()
    doors = [
        {"id": number(door["id"]), "name": batch.site.doors[number(door["id"]) or 0]["name"]}
        for door in record["doors"]
    ]
    times = {key: record[key] for key in ("access_effective", "access_expires")}
    batch.site.delegates[new] = {"id": new, "name": f"delegate_{new:032x}", **times, "doors": doors}
    batch.inserted += 1


def check_credential(batch: Batch, record: Row) -> list[str]:
    known = number(record.get("id", "")) in batch.site.credentials
    words = [] if known else [f"Credential id {record.get('id', '')} is not valid"]
    return words + _card(record) + _dates(batch.site, record)


def apply_credential(batch: Batch, record: Row) -> None:
    batch.site.credentials[number(record["id"]) or 0].update(_plain(record))
    batch.updated += 1


def _deletion(node: str) -> Write:
    def check(batch: Batch, record: Row) -> list[str]:
        if words := _blank(record, "id"):
            return words
        identifier = number(record["id"])
        if identifier is None:
            return [f"Non-Numeric id found: {record['id']}"]
        return [] if identifier in getattr(batch.site, node) else [f"Id {identifier} is not valid"]

    def apply(batch: Batch, record: Row) -> None:
        batch.deleted += getattr(batch.site, node).pop(number(record["id"]), None) is not None

    return Write("DELETE", node, check, apply)


WRITES: Mapping[tuple[str, str], Write] = {
    ("POST", "accesslevel"): Write("POST", "accesslevels", check_level, apply_level),
    ("DELETE", "accesslevel"): _deletion("accesslevels"),
    ("PUT", "credential"): Write("PUT", "credentials", check_credential, apply_credential),
    ("DELETE", "credential"): _deletion("credentials"),
    ("POST", "delegate"): Write("POST", "delegates", check_delegate, apply_delegate, one=True),
    ("POST", "door"): Write("POST", "doors", check_door, apply_door),
    ("DELETE", "door"): _deletion("doors"),
    ("POST", "fob"): Write("POST", "fobs", check_fob, apply_fob),
    ("PUT", "fob"): Write("PUT", "fobs", check_reassign, apply_reassign),
    ("DELETE", "fob"): _deletion("fobs"),
    ("POST", "location"): Write("POST", "locations", check_location, apply_location),
    ("POST", "user"): Write("POST", "users", check_user, apply_user),
    ("PUT", "user"): Write("PUT", "users", check_update, change_user, one=True),
    ("DELETE", "user"): _deletion("users"),
}
