"""A SecureAccess site without doors: its records, what it validates, and what happens at it. No HTTP.

`answer(method, path, query, body)` is the whole interface to the simulator: status and JSON. Ids that the reference
uses in its examples exist, so that each example can be tried as it stands; dates in the past are taken unless
`refuse_past` is set, because the examples are of 2022.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from agent.vendors.lockt.simulated_writes import (
    WRITES,
    Answer,
    Row,
    fails_batch,
    failure,
    perform,
    records_of,
    rejection,
)

OFFLINE = "Unexpected error unlocking door. Door or Controller may be offline."
PLURALS = {"accesslevels": "accesslevel", "delegates": "delegate", "doors": "door"}
TYPES = ("accesslevel", "credential", "door", "doorstate", "event", "fob", "location", "locationtype", "maintenance")


def _named(ids: Iterable[int], name: str) -> dict[int, Row]:
    return {number: {"id": number, "name": f"{name} {index}"} for index, number in enumerate(ids, 1)}


@dataclass
class SimulatedSite:
    timezone: str = "Europe/Oslo"
    cache: int = 5000
    record_limit: int = 100
    inclusive: bool = True
    """whether /events?id=N gives event N itself"""
    newest_first: bool = True
    local_times: bool = False
    """event times in the form of local time instead of UTC"""
    event_time_name: str = "hw_time"
    refuse_past: bool = False
    offline_doors: set[int] = field(default_factory=set)
    maintenance: list[Row] = field(default_factory=list)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __post_init__(self) -> None:
        self.events: list[Row] = []
        self.next_event = 1000
        self.next_id = 700_000
        door = {"type": "Access Controlled Door", "enabled": True, "location": "Main Hall", "controller": "Bridge A"}
        self.doors = {number: {**row, **door} for number, row in _named((166, 174, 187, 446, 603), "Room").items()}
        wired = _named((12345, 23456, 32871, 45612), "Gate").items()
        self.doors |= {number: {**row, **door, "controller": "BEST Switchâ„¢ API"} for number, row in wired}
        self.batteries: dict[int, Any] = {166: 64, 174: 74, 187: 99, 446: 81, 603: 90}
        self.accesslevels = {
            number: {**row, "doors": [{"id": 166, "name": "Room 1", "schedule_id": 543}]}
            for number, row in _named((123, 188, 208, 574, 789, 3456, 6578), "Level").items()
        }
        self.schedules = {
            number: {**row, **{f"d{day}": int(day < 5) for day in range(7)}, "start": "08:00:00", "stop": "16:59:59"}
            for number, row in _named((543, 567, 678, 789), "Office hours").items()
        }
        self.locationtypes = _named((175, 192), "Building")
        self.locations = {
            number: {**row, "type": "Campus", "enabled": True} for number, row in _named((4325,), "Campus").items()
        }
        self.credentials = {
            number: {
                "id": number,
                "card_num": card,
                "name": card,
                "claim_status": "Claimed",
                "fob": False,
                "user": 1693,
            }
            for number, card in ((335, "8001"), (237809, "8002"), (236578, "8003"))
        }
        self.users = {number: self.user(number, index) for index, number in enumerate(USERS, 1)}
        self.fobs: dict[int, Row] = {
            number: {"id": number, "id_num": str(number), "name": f"Fob {index + 10}", "card_num": str(10_000 + index)}
            for index, number in enumerate((443, 7134, 6398, 12345, 613297))
        }
        self.delegates: dict[int, Row] = {}

    def user(self, number: int, index: int) -> Row:
        return {
            "id": number,
            "id_num": "ZZ123" if number == 1693 else f"E{number}",
            "first_name": "Jo",
            "last_name": f"Doe {index}",
            "card_num": str(9000 + index),
            "pin": "1234",
            "email": f"jo.doe{index}@example.com",
            "phone": "33344455555",
            "access_effective": "",
            "access_expires": "",
            "enabled": True,
            "accesslevels": [123],
            **{f"custom{n}": "" for n in range(1, 5)},
        }

    # What happens at the site

    def add_event(self, code: int, text: str, device: str, *, late_s: float = 0.0, gap: int = 0, **more: Any) -> int:
        """An event of `device`, uploaded now; `late_s` earlier by the lock's own clock. `gap` leaves ids unused."""
        number = self.next_event + gap
        self.next_event = number + 1
        db_time = self.now()
        row = {
            "id": number,
            "device": device,
            "code": code,
            "code_text": text,
            "schedule": "",
            "controller": "BEST Switchâ„¢ API",
            "location": "Main Hall",
            "card_num": "1000",
            "user": "Doe, Jo",
            "category": {48: 1, 49: 2}.get(code, 9),
            "category_text": f"Door {text}",
            self.event_time_name: self.time(db_time - timedelta(seconds=late_s)),
            "db_time": self.time(db_time),
            **more,
        }
        self.events.append(row)
        del self.events[: -self.cache]
        return number

    def restart_ids(self, first: int = 1) -> None:
        """The site is provisioned anew: its cache is empty and its numbers begin again."""
        self.events.clear()
        self.next_event = first

    def time(self, moment: datetime) -> str:
        if self.local_times:
            return moment.astimezone(ZoneInfo(self.timezone)).strftime("%Y-%m-%d %H:%M:%S")
        return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    # What it answers

    def answer(self, method: str, path: str, query: Mapping[str, str], body: Any) -> Answer:
        path = PLURALS.get(path, path)
        if method == "GET":
            return self._get(path, query)
        if (method, path) == ("POST", "delegate") and "purge" in query:
            return self._purge()
        if (method, path) == ("POST", "anonymize"):
            return self._anonymize(query.get("user_id", ""))
        if (method, path) == ("POST", "doorstate") and "lowbattery" in query:
            return 200, {"data": {"submitted": 1, "processed": 1, "errors": 0}}
        if (method, path) == ("POST", "unlock"):
            return self._unlock(body)
        write = WRITES.get((method, path))
        return perform(self, write, body) if write else failure(404, f"{method} /{path} is not there.")

    def _get(self, path: str, query: Mapping[str, str]) -> Answer:
        reader = READS.get(path)
        if reader is None:
            return failure(404, f"/{path} is not there.")
        data = reader(self, query)
        return data if isinstance(data, tuple) else (200, {"data": data})

    def read_events(self, query: Mapping[str, str]) -> Any:
        rows = self.events
        since = query.get("id", "")
        if since:  # a blank id gives everything, as the vendor's list of known issues says of /user
            if not since.isdecimal():
                return failure(400, f"Non-Numeric id found: {since}")
            rows = [row for row in rows if row["id"] > int(since) - self.inclusive]
        return rows[::-1] if self.newest_first else rows

    def read_users(self, query: Mapping[str, str]) -> Any:
        rows = [self._shown_user(row) for row in self.users.values()]
        if "missingcreds" in query:
            return [row for row in rows if not row["card_num"]]
        if "privileged" in query or "installers" in query:
            return rows[:1]
        return _matching(rows, {**query, "id_num": query.get("id_num", query.get("idnum", ""))}, ("id", "id_num"))

    def _shown_user(self, row: Row) -> Row:
        levels = [{"unid": number, "name": self.accesslevels[number]["name"]} for number in row["accesslevels"]]
        own = [self._shown_credential(each) for each in self.credentials.values() if each["user"] == row["id"]]
        return {**row, "accesslevels": levels, "credentials": own, "credential_key": "XXXX-XXXX-XXXX-XXXX"}

    def _shown_credential(self, row: Row) -> Row:
        holder = self.users.get(row["user"])
        user = [{"id": holder["id"], "name": f"{holder['last_name']}, {holder['first_name']}"}] if holder else []
        return {**row, "user": user, "credential_key": "XXXX-XXXX-XXXX-XXXX"}

    def read_credentials(self, query: Mapping[str, str]) -> Any:
        rows = list(self.credentials.values())
        if query.get("user_id"):
            rows = [row for row in rows if str(row["user"]) == query["user_id"]]
        return [self._shown_credential(row) for row in _matching(rows, query, ("id", "card_num"))]

    def read_doors(self, query: Mapping[str, str]) -> Any:
        if "user_id" in query and not query["user_id"].isdecimal():
            return rejection([({"user_id": query["user_id"]}, ["user_id is not valid"])])
        return list(self.doors.values())

    def read_states(self, query: Mapping[str, str]) -> Any:
        most = float(query.get("low_battery") or "inf")
        rows = [
            {"id": number, "name": self.doors[number]["name"], "battery_level": level}
            for number, level in self.batteries.items()
        ]
        return [
            row for row in rows if not isinstance(row["battery_level"], int | float) or row["battery_level"] <= most
        ]

    def read_summary(self, query: Mapping[str, str]) -> Any:
        claimed = sum(row["claim_status"] == "Claimed" for row in self.credentials.values())
        total = len(self.credentials)
        return [{"credentials": total, "claimed": claimed, "unclaimed": total - claimed}]

    def read_objects(self, query: Mapping[str, str]) -> Any:
        if "listtypes" in query:
            return [{"object": name} for name in TYPES]
        if query.get("type") not in TYPES:
            return failure(400, "Unknown object type.")
        return [{"property": "id", "datatype": "integer", "description": "The unique id."}]

    def read_time(self, query: Mapping[str, str]) -> Any:
        local = self.now().astimezone(ZoneInfo(self.timezone))
        offset = local.utcoffset() or timedelta()
        return [
            {
                "datetime_utc": self.now().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "timezone": self.timezone,
                "datetime_local": local.strftime("%Y-%m-%d %H:%M:%S"),
                "offset": offset.total_seconds() / 3600,
            }
        ]

    def _purge(self) -> Answer:
        now = self.now().astimezone(ZoneInfo(self.timezone)).strftime("%Y-%m-%d %H:%M:%S")
        expired = [number for number, row in self.delegates.items() if row["access_expires"] < now]
        submitted = len(self.delegates)
        for number in expired:
            del self.delegates[number]
        return 200, {"data": {"submitted": submitted, "deleted": len(expired), "errors": 0}}

    def _anonymize(self, user_id: str) -> Answer:
        user = self.users.get(int(user_id)) if user_id.isdecimal() else None
        if user is None:
            return rejection([({"user_id": user_id}, [f"User id {user_id} is not valid"])])
        user.update(first_name="", last_name="", email="", phone="", id_num="")
        return 200, {"data": {"submitted": 1, "processed": 1, "errors": 0}}

    def _unlock(self, body: Any) -> Answer:
        records, refused = records_of(body, "doors", self.record_limit)
        if refused:
            return refused
        outcomes = [self._momentarily(record) for record in records]
        unknown = [
            (record, [f"Door id {record.get('id', '')} is not valid"])
            for record, outcome in zip(records, outcomes, strict=True)
            if outcome["id"] is None
        ]
        return rejection(unknown) if unknown and fails_batch(body) else (200, {"data": outcomes})

    def _momentarily(self, record: Row) -> Row:
        """Unlock one wired door, by id or by name (the reference's example has names alone)."""
        wanted = record.get("id")
        door = next((row for row in self.doors.values() if wanted in (row["id"], str(row["id"]))), None)
        door = door or next((row for row in self.doors.values() if row["name"] == record.get("name")), None)
        errors = [OFFLINE] if door and (door["id"] in self.offline_doors or door["id"] in self.batteries) else []
        if door is None:
            errors = ["Door id is not valid"]
        return {
            "id": door["id"] if door else None,
            "name": door["name"] if door else record.get("name", ""),
            "unlocked": not errors,
            "status": "error" if errors else "unlocked",
            "errors": errors,
        }

    def new_id(self) -> int:
        self.next_id += 1
        return self.next_id


USERS = (244, 300, 1693, 4432, 7612, 87654, 613188, 613950, 614111, 618395)


def _matching(rows: list[Row], query: Mapping[str, str], keys: Iterable[str]) -> list[Row]:
    """The rows that match the filters given; a blank filter is none."""
    wanted = {key: query[key] for key in keys if query.get(key)}
    return [row for row in rows if all(str(row.get(key, "")) == value for key, value in wanted.items())]


_ABOUT = {
    "version": "1.1.0",
    "release_date": "Jul 10, 2022",
    "release_notes": "Simulated release.",
    "release_details": "A site without doors.\r\n",
}

READS: Mapping[str, Callable[[SimulatedSite, Mapping[str, str]], Any]] = {
    "about": lambda site, query: _ABOUT,
    "accesslevel": lambda site, query: _matching(list(site.accesslevels.values()), query, ("name",)),
    "credential": SimulatedSite.read_credentials,
    "credentialsummary": SimulatedSite.read_summary,
    "delegate": lambda site, query: list(site.delegates.values()),
    "door": SimulatedSite.read_doors,
    "doorstate": SimulatedSite.read_states,
    "events": SimulatedSite.read_events,
    "fob": lambda site, query: _matching(list(site.fobs.values()), query, ("id", "id_num", "card_num", "name")),
    "location": lambda site, query: list(site.locations.values()),
    "locationtype": lambda site, query: list(site.locationtypes.values()),
    "maintenance": lambda site, query: site.maintenance,
    "object": SimulatedSite.read_objects,
    "ping": lambda site, query: [{"ping": "success"}],
    "schedule": lambda site, query: list(site.schedules.values()),
    "settings": lambda site, query: [{"max_batch_size": site.record_limit, "max_events": site.cache}],
    "site": lambda site, query: [{"name": "Simulated site", "timezone": site.timezone}],
    "time": SimulatedSite.read_time,
    "user": SimulatedSite.read_users,
}
