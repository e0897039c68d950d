"""The simulated account: a tree of resources, and what read, update, create and delete do to it.

Lists hold objects with an id of their own (`device` → `device_id`), everything else is an object; the overview's
"Requests" and "Responses" give the rules. `dashboard` and `history` are made from the rest when asked for.
"""

import itertools
from collections.abc import Iterator
from typing import Any

from agent.vendors.sensaphone.resources import LISTS

Tree = dict[str, Any]
READ_ONLY = frozenset({"is_online", "is_offline_unack", "value", "type", "id"})
WRONG_TYPE = 123


def _schedule(name: str, number: int) -> Tree:
    ranges = [{"timerange_id": number + 1, "start": "08:00", "end": "17:00", "days": "MTWRF"}]
    calls = [{"calllist_id": number + 2, "name": "First call"}]
    return {f"{name}_id": number, "name": "Always", "timerange": ranges, "calllist": calls}


def zone(zone_id: int, name: str, kind: str, units: str, value: str, canonical: str) -> Tree:
    return {
        "zone_id": zone_id,
        "canonical_name": canonical,
        "name": name,
        "type": kind,
        "enable": True,
        "value": value,
        "units": units,
        "alarm_zone": {
            "alarm_enable": True,
            "alarm_low": "2",
            "alarm_high": "8",
            "alarm_condition": [],
            "alarm_status": [2, 17],
            "alarm_status_str": "OK",
            "unack_alarms": [],
            "alarmschedule": [_schedule("alarmschedule", zone_id * 10)],
        },
        "schedule": [_schedule("schedule", zone_id * 10 + 5)],
    }


def device(device_id: int, name: str, serial: str, zones: list[Tree]) -> Tree:
    return {
        "device_id": device_id,
        "id": serial,
        "name": name,
        "description": "",
        "timezone": "Europe/Oslo",
        "offline_timeout": 15,
        "product": "Sentinel",
        "is_online": True,
        "is_offline_unack": False,
        "ack_offline_alarm": False,
        "connection_status": "Online",
        "power_status": "On",
        "power_value": "",
        "battery_status": "OK",
        "battery_value": "",
        "location": {
            "name": "Site",
            "address": {"street": "Havnegata 1", "city": "Fredrikstad"},
            "coordinates": {"latitude": "59.21", "longitude": "10.93"},
        },
        "default_schedule": [_schedule("default_schedule", device_id * 100)],
        "device_schedule": [_schedule("device_schedule", device_id * 100 + 5)],
        "feature": {"zones": 12},
        "zone": zones,
    }


def account(account_id: int) -> Tree:
    contact = {"contact_id": 31, "name": "On duty", "schedule": [_schedule("schedule", 310)]}
    user = {
        "user_id": 6778,
        "name": "Kari Vakt",
        "alarm_user": {"contact": [contact], "schedule": [_schedule("schedule", 320)]},
        "site_user": {"address": {"street": "Havnegata 1"}},
    }
    return {
        "account": {"acctid": account_id, "name": "Laboratory", "feature": {"devices": 10}},
        "calllist": [{"calllist_id": 41, "name": "Night"}],
        "contact": [contact],
        "contactgroup": [{"contactgroup_id": 51, "name": "Guards"}],
        "devicegroup": [{"devicegroup_id": 61, "name": "Harbour"}],
        "user": [user],
        "device": [
            device(
                1234,
                "My Device",
                "SN-1",
                [
                    zone(112233, "Freezer", "Temperature", "C", "-19.5", "zone1"),
                    zone(112234, "Cold room", "Temperature", "C", "4.1", "zone2"),
                    zone(112235, "Mains", "Power", "V", "231", "power"),
                    zone(112236, "Backup battery", "Battery", "V", "13.1", "battery"),
                ],
            ),
            device(1235, "Pump house", "SN-2", [zone(112240, "Sump", "Level", "cm", "40", "zone1")]),
        ],
    }


class Failure(Exception):
    """A request that the service refuses whole, with its code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Engine:
    """Carries requests out on a tree."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._ids = itertools.count(900_001)

    def run(self, verb: str, name: str, selection: Any) -> tuple[Any, Any]:
        """The response and the properties below `name`. `selection` is the request's object under that name."""
        if name not in self.tree:
            raise Failure(3, "Invalid request URI.")
        if verb == "read":
            return self._read(self.tree[name], selection, name), {}
        return self._change(verb, self.tree, name, selection)

    def _read(self, node: Any, selection: Any, name: str) -> Any:
        if isinstance(node, list) and name in LISTS:
            return [
                self._read_object(item, wanted, name)
                for wanted in _wanted(selection)
                for item in self._matching(node, wanted, name)
            ]
        return self._read_object(node, selection, name) if isinstance(node, dict) else node

    def _read_object(self, node: Tree, wanted: Any, name: str) -> Tree:
        identity = f"{name}_id"
        asked = {k: v for k, v in wanted.items() if k != identity} if isinstance(wanted, dict) else {}
        if not asked:
            return node
        found = {identity: node[identity]} if identity in node else {}
        for key, value in asked.items():
            key, holder = _place(node, key)
            if key in holder:
                found[key] = self._read(holder[key], value, key)
        return found

    def _matching(self, node: list[Tree], wanted: Any, name: str) -> list[Tree]:
        identity = f"{name}_id"
        if not isinstance(wanted, dict) or identity not in wanted:
            return node
        found = [item for item in node if str(item.get(identity)) == str(wanted[identity])]
        if not found:
            raise Failure(4, f"{identity} is not known.")
        return found

    def _change(self, verb: str, parent: Tree, name: str, selection: Any) -> tuple[Any, Any]:
        node = parent[name]
        if not (isinstance(node, list) and name in LISTS):
            return self._change_object(verb, node, selection or {}, name)
        responses, properties = [], []
        for wanted in _wanted(selection):
            identity = f"{name}_id"
            if identity not in (wanted or {}):
                if verb != "create":
                    raise Failure(4, f"{identity} is required.")
                made = {identity: next(self._ids), **(wanted or {})}
                node.append(made)
                responses.append({identity: made[identity]})
                continue
            item = self._matching(node, wanted, name)[0]
            if verb == "delete" and set(wanted) == {identity}:
                node.remove(item)
                responses.append({identity: item[identity]})
                continue
            response, result = self._change_object(verb, item, wanted, name)
            responses.append(response)
            properties.append(result)
        return responses, properties

    def _change_object(self, verb: str, node: Tree, wanted: Tree, name: str) -> tuple[Tree, Tree]:
        identity = f"{name}_id"
        kept = {identity: node[identity]} if identity in node else {}
        response, properties = dict(kept), dict(kept)
        for key, value in wanted.items():
            key, holder = _place(node, key)
            if key == identity or key not in holder:
                continue  # a property that is not listed has no effect
            if isinstance(holder[key], dict | list):
                response[key], properties[key] = self._change(verb, holder, key, value)
                continue
            properties[key] = self._set(verb, holder, key, value)
            if properties[key]["success"]:
                response[key] = holder[key]
        return response, properties

    def _set(self, verb: str, node: Tree, key: str, value: Any) -> Tree:
        before = node[key]
        if key in READ_ONLY:
            return _outcome(False, "Read only", WRONG_TYPE)
        if verb == "delete":
            node[key] = None
        elif before is not None and type(before) is not type(value):
            return _outcome(False, f"A {_word(before)} type is required", WRONG_TYPE)
        else:
            node[key] = value
        if key == "ack_offline_alarm" and value is True:
            node["is_offline_unack"] = False
        return _outcome(True, "OK", 0)


def _place(node: Tree, key: str) -> tuple[str, Tree]:
    """Where a property stands: the overview writes "zones" for "zone" once, and an `alarmschedule` right below its
    zone where its own list has it below `alarm_zone`."""
    key = {"zones": "zone"}.get(key, key)
    alarm_zone = node.get("alarm_zone")
    return key, alarm_zone if key == "alarmschedule" and isinstance(alarm_zone, dict) else node


def _wanted(selection: Any) -> list[Any]:
    return list(selection) if isinstance(selection, list) else [selection]


def _outcome(success: bool, message: str, code: int) -> Tree:
    return {"success": success, "message": message, "code": code}


def _word(value: Any) -> str:
    return {bool: "boolean", int: "integer", str: "string"}.get(type(value), "number")


def dashboard(tree: Tree) -> Tree:
    """Devices with their state; below each only the zones in alarm."""
    shown = []
    for item in tree["device"]:
        zones = [_on_dashboard(zone) for zone in item["zone"] if in_alarm(zone)]
        kept = {key: value for key, value in item.items() if key not in ("zone", "default_schedule", "device_schedule")}
        shown.append({**kept, "status": "Alarm" if zones else "Normal", "zone": zones})
    zones = [zone for item in shown for zone in item["zone"]]
    unack = sum(bool(zone["alarm_zone"].get("unack_alarms")) for zone in zones)
    return {
        "online_count": sum(item["is_online"] for item in shown),
        "offline_count": sum(not item["is_online"] for item in shown),
        "alarm_count": len(zones) - unack,
        "unack_count": unack,
        "total_alarm_count": len(zones),
        "device": shown,
    }


def in_alarm(zone: Tree) -> bool:
    return bool(zone["alarm_zone"].get("alarm_condition"))


def _on_dashboard(zone: Tree) -> Tree:
    alarm_zone = {key: value for key, value in zone["alarm_zone"].items() if key != "alarmschedule"}
    return {
        "zone_id": zone["zone_id"],
        "canonical_name": zone["canonical_name"],
        "value": zone["value"],
        "alarm_zone": alarm_zone,
    }


def history(tree: Tree, selection: Any, log: list[Tree]) -> Tree:
    """Log points are zone ids; rows are newest first and offsets count from the newest."""
    asked = selection if isinstance(selection, dict) else {}
    found: Tree = {}
    if "data_log_points" in asked:
        wanted = str((asked["data_log_points"] or {}).get("device_id"))
        found["data_log_points"] = {
            "log_points": [
                {"zone_id": zone["zone_id"], "log_point": zone["zone_id"]}
                for item in tree["device"]
                if str(item["device_id"]) == wanted
                for zone in item["zone"]
            ]
        }
    for name in ("data_log", "event_log", "audit_log"):
        if name in asked:
            found[name] = list(_page(log if name == "data_log" else [], asked[name] or {}))
    return found


def _page(log: list[Tree], asked: Tree) -> Iterator[Tree]:
    points = {str(point) for point in asked.get("log_points") or []}
    newest_first = [row for row in reversed(log) if not points or str(row["variable"]) in points]
    start = int(asked.get("begin_offset") or 0)
    yield from newest_first[start : start + int(asked.get("record_offset") or 100)]
