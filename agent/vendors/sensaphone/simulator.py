"""Sensaphone.net in the laboratory: both request modes, three versions, sessions, and its troubles on demand.

simulator = SensaphoneSimulator()
await nursery.start(simulator.serve)
simulator.alarm(112233, LOW)            # a zone goes into alarm; `normal`, `acknowledge`, `set_online` likewise
simulator.expire_sessions()             # code 2 for whoever comes next
simulator.refuse(8, times=3)            # any code, inside HTTP 200
simulator.answer_version = "v2"         # V2 answers whatever the address says
simulator.hide_zones = True             # a dashboard that was not read whole
"""

import json
import re
import time
from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import unquote

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from agent.vendors.lab import Simulator
from agent.vendors.sensaphone import world
from agent.vendors.sensaphone.resources import LISTS, VERBS
from agent.vendors.sensaphone.world import Engine, Failure, Tree

LOW, HIGH, TROUBLE = 7, 8, 13
SESSION_LIFE_S = 86400
BRACED = re.compile(r"^\{(.*)\}$", re.DOTALL)
MESSAGES = {1: "No Session ID provided", 2: "Session ID has expired", 5: "Invalid username provided."}
MESSAGES |= {6: "Invalid password provided.", 7: "User is not authorized.", 8: "Service unavailable. Try again later."}
METHODS = {"GET": "read", "PUT": "update", "POST": "create", "DELETE": "delete"}


class SensaphoneSimulator(Simulator):
    kinds: ClassVar[Sequence[str]] = ("environment", "power", "low_battery", "offline")
    types: ClassVar[dict[str, tuple[str, str, str]]] = {
        "environment": ("Temperature", "C", "9.8"),
        "power": ("Power", "V", "0"),
        "low_battery": ("Battery", "V", "10.9"),
    }

    def __init__(
        self,
        username: str = "agent@example.test",
        password: str = "pump-house-7",  # noqa: S107 - of nothing that exists
        account: int = 987654,
    ) -> None:
        self.username = username
        self.password = password
        self.account = account
        self.tree: Tree = world.account(account)
        self.engine = Engine(self.tree)
        self.log: list[Tree] = []
        self.sessions: set[str] = set()
        self.session_life_s = SESSION_LIFE_S
        self.logins = 0
        self.answer_version: str | None = None
        self.hide_zones = False
        self.broken: dict[str, Any] = {}
        """resource -> what stands in its place in the answers"""
        self.failing: dict[str, Any] = {}
        """resource -> `result.properties` of its answers"""
        self._refusals: list[list[int]] = []
        route = Route("/{rest:path}", self._answer, methods=["GET", "POST", "PUT", "DELETE"])
        super().__init__(Starlette(routes=[route]))

    def credentials(self) -> dict[str, str]:
        return {"username": self.username, "password": self.password}

    def settings(self, name: str) -> dict[str, Any]:
        # A laboratory is impatient; the vendor's cloud is polled twice a minute.
        return {"name": name, "kind": "sensaphone", "url": self.url, "poll_interval_s": 0.25, **self.credentials()}

    # What happens in the account

    def device(self, device_id: int) -> Tree:
        return next(item for item in self.tree["device"] if item["device_id"] == device_id)

    def zone(self, zone_id: int) -> Tree:
        return next(zone for item in self.tree["device"] for zone in item["zone"] if zone["zone_id"] == zone_id)

    def alarm(self, zone_id: int, *states: int, value: str | None = None) -> None:
        """The zone is in these states, unacknowledged: a first alarm, a worsening, or raised again."""
        zone, found = self.zone(zone_id), list(states or (LOW,))
        zone["value"] = zone["value"] if value is None else value
        zone["alarm_zone"].update(
            alarm_condition=found, alarm_status=[found[0], 18], alarm_status_str="Alarm", unack_alarms=found
        )
        self.log.append({"variable": zone_id, "value": zone["value"], "is_alarm": True, "epoch": int(time.time())})

    def acknowledge(self, zone_id: int) -> None:
        alarm_zone = self.zone(zone_id)["alarm_zone"]
        alarm_zone.update(alarm_status=[alarm_zone["alarm_status"][0], 17], unack_alarms=[2])

    def normal(self, zone_id: int, value: str | None = None) -> None:
        zone = self.zone(zone_id)
        zone["value"] = zone["value"] if value is None else value
        zone["alarm_zone"].update(alarm_condition=[], alarm_status=[2, 17], alarm_status_str="OK", unack_alarms=[])
        self.log.append({"variable": zone_id, "value": zone["value"], "is_alarm": False, "epoch": int(time.time())})

    def set_online(self, device_id: int, online: bool) -> None:
        """Offline keeps the last values of the zones, as the service does."""
        item = self.device(device_id)
        item.update(is_online=online, connection_status="Online" if online else "Offline")
        item["is_offline_unack"] = True if not online else item["is_offline_unack"]
        item["ack_offline_alarm"] = False

    def raise_event(self, kind: str | None = None, **details: Any) -> str:
        """A zone that was normal goes into alarm, or a unit goes offline; "device/zone" or the device's id.

        There always is another: a zone, or a unit, is added where all of its kind are in alarm.
        """
        kind = kind or "environment"
        if kind == "offline":
            return self._unit_goes_offline()
        kind_of, units, value = self.types[kind]
        for item in self.tree["device"]:
            for zone in item["zone"]:
                if item["is_online"] and zone["type"] == kind_of and not world.in_alarm(zone):
                    self.alarm(zone["zone_id"], details.get("state", LOW), value=value)
                    return f"{item['device_id']}/{zone['zone_id']}"
        item = next(item for item in self.tree["device"] if item["is_online"])
        number = 1 + max(zone["zone_id"] for each in self.tree["device"] for zone in each["zone"])
        item["zone"].append(world.zone(number, f"Sensor {number}", kind_of, units, value, f"zone{number}"))
        self.alarm(number, details.get("state", LOW))
        return f"{item['device_id']}/{number}"

    def _unit_goes_offline(self) -> str:
        spare = [item for item in self.tree["device"][1:] if item["is_online"]]
        if not spare:
            number = 1 + max(item["device_id"] for item in self.tree["device"])
            spare = [world.device(number, f"Unit {number}", f"SN-{number}", [])]
            self.tree["device"] += spare
        self.set_online(spare[0]["device_id"], False)
        return str(spare[0]["device_id"])

    def end_event(self, native_id: str) -> None:
        """What `raise_event` began is normal again."""
        device_id, _, zone_id = native_id.partition("/")
        if zone_id:
            self.normal(int(zone_id))
        else:
            self.set_online(int(device_id), True)

    async def schedule(self, every_s: float) -> None:
        """Raise an event at once and every `every_s`; each ends while the second after it is raised."""
        raised: list[str] = []
        while True:
            for kind in self.kinds:
                raised.append(self.raise_event(kind))
                if len(raised) > 2:
                    self.end_event(raised.pop(0))
                await trio.sleep(every_s)

    # Troubles

    def open_session(self, session: str) -> str:
        self.sessions.add(session)
        return session

    def expire_sessions(self) -> None:
        self.sessions.clear()

    def refuse(self, code: int, times: int = 1) -> None:
        """Answer the next requests that are no log-in (codes 5 and 6: that are) with `code`."""
        self._refusals.append([code, times])

    # The service

    async def _answer(self, request: Request) -> JSONResponse:
        path = request.scope["raw_path"].decode("latin-1")
        parts = [unquote(part) for part in path.strip("/").split("/")]
        try:
            if len(parts) < 3 or parts[0] != "api" or parts[1] not in ("v1", "v2", "v3"):
                raise Failure(3, "Invalid request URI.")
            response, properties = self._carry_out(request.method, parts[2:], await _json(request))
        except Failure as failure:
            message = MESSAGES.get(failure.code, str(failure))
            result = {"success": False, "code": failure.code, "message": f"Failed: {message}"}
            return JSONResponse({"result": result, "response": {}})
        result = {"success": True, "code": 0, "message": "OK"}
        if properties:
            result["properties"] = properties
        version = self.answer_version or parts[1]
        return JSONResponse({"result": result, "response": _versioned(response, version)})

    def _carry_out(self, method: str, parts: list[str], body: Any) -> tuple[Tree, Tree]:
        if body is None:
            verb, session, name, selection = self._from_uri(METHODS[method], parts)
        else:
            verb, session, name, selection = self._from_json(parts, body)
        if name == "login":
            return self._login(verb, session, selection), {}
        self._check(session)
        if verb not in VERBS.get(name, ()):
            raise Failure(3, "Invalid request URI.")
        if name in self.broken:
            return {name: self.broken[name]}, self.failing.get(name, {})
        if name == "dashboard":
            return {name: self._dashboard(selection)}, self.failing.get(name, {})
        if name == "history":
            return {name: world.history(self.tree, selection, self.log)}, {}
        response, properties = self.engine.run(verb, name, selection)
        return {name: response}, self.failing.get(name) or ({name: properties} if properties else {})

    def _dashboard(self, selection: Any) -> Tree:
        shown = world.dashboard(self.tree)
        if self.hide_zones:
            for item in shown["device"]:
                item["zone"] = []
        asked = set(selection) if isinstance(selection, dict) else set()
        return {key: value for key, value in shown.items() if not asked or key in asked}

    def _from_json(self, parts: list[str], body: Any) -> tuple[str, str, str, Any]:
        """Verb, session, resource and selection; account and session stand in the address or in the body."""
        session = ""
        if len(parts) > 2 and BRACED.match(parts[0]):
            session, parts = _bare(parts[1]), parts[2:]
        if not isinstance(body, dict) or body.get("request_type") not in METHODS.values():
            raise Failure(4, "Invalid request JSON.")
        session = session or str(body.get("session") or "")
        name = parts[0]
        return body["request_type"], session, name, body if name == "login" else body.get(name)

    def _from_uri(self, verb: str, parts: list[str]) -> tuple[str, str, str, Any]:
        if parts[0] == "login" and len(parts) == 3:
            return "create", "", "login", {"user_name": _bare(parts[1]), "password": _bare(parts[2])}
        if len(parts) < 3 or not (BRACED.match(parts[0]) and BRACED.match(parts[1])):
            raise Failure(3, "Invalid request URI.")
        session, parts = _bare(parts[1]), parts[2:]
        return verb, session, parts[0], _selection(parts, self.tree)[0]

    def _login(self, verb: str, session: str, given: Any) -> Tree:
        if verb == "create":
            self.logins += 1
            self._refused({5, 6, 7, 8})
            if given.get("user_name") != self.username:
                raise Failure(5, "Invalid username provided.")
            if given.get("password") != self.password:
                raise Failure(6, "Invalid password provided.")
            session = self.open_session(f"{self.logins:04d}-4567-8901")
        else:
            self._check(session)
        return {
            "acctid": self.account,
            "session": session,
            "login_timestamp": int(time.time()),
            "session_expiration": self.session_life_s,
            "user_id": 6778,
        }

    def _check(self, session: str) -> None:
        self._refused({1, 2, 3, 4, 7, 8})
        if not session:
            raise Failure(1, "No Session ID provided")
        if session not in self.sessions:
            raise Failure(2, "Session ID has expired")

    def _refused(self, codes: set[int]) -> None:
        for refusal in self._refusals:
            if refusal[0] in codes and refusal[1] > 0:
                refusal[1] -= 1
                raise Failure(refusal[0], "refused")


async def _json(request: Request) -> Any:
    """The body's JSON whatever its content type; None where there is no body."""
    body = await request.body()
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        raise Failure(4, "Invalid request JSON.") from None


def _bare(part: str) -> str:
    match = BRACED.match(part)
    if not match:
        raise Failure(3, "Invalid request URI.")
    return match[1]


def _selection(parts: list[str], tree: Any) -> tuple[Any, str]:
    """The path behind account and session as nested objects: names, {values}, and a property at the end."""
    name, rest = parts[0], parts[1:]
    selection: Tree = {}
    if rest and BRACED.match(rest[0]):
        if name not in LISTS:
            return _typed(_bare(rest[0])), name
        selection[f"{name}_id"] = _bare(rest[0])
        rest = rest[1:]
    if rest:
        inner, key = _selection(rest, tree)
        selection[key] = inner
    return ([selection] if name in LISTS else selection) if selection else None, name


def _typed(text: str) -> Any:
    return {"true": True, "false": False}.get(text, text)


def _versioned(response: Any, version: str) -> Any:
    if version == "v1":
        return response
    if isinstance(response, dict):
        return {
            key: [] if value == [] and key in LISTS else _versioned(value, version) for key, value in response.items()
        }
    if isinstance(response, list) and any(isinstance(item, dict) for item in response):
        return [_versioned(item, version) for item in response]
    return {"is_pending": False} if version == "v3" else _wrapped(response)


def _wrapped(value: Any) -> Tree:
    if value is None:
        return {"is_null": True}
    if value in ("", []):
        return {"is_null": False, "is_empty": True}
    kind = {bool: "boolean", int: "integer", str: "string", list: "array"}.get(type(value), "number")
    shown = value if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)
    return {"is_null": False, "is_empty": False, "value": shown, "type": kind, "is_pending": False, "is_ranged": False}
