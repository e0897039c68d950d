"""XProtect in the laboratory: gateway, identity provider and alarms, with the quirks that make its driver difficult.

simulator = MilestoneSimulator()
await nursery.start(simulator.serve)
simulator.raise_event("person")                # its id; `update` is an operator's edit
simulator.filters = Filters.IGNORED            # or REFUSED
simulator.order = Order.OLDEST_FIRST           # or UNORDERED; `largest_page` caps the size
simulator.between_pages = callback             # called after each page: the list shifts under the reader
simulator.revoke_tokens()                      # 401 for whoever comes next
simulator.hidden_reads = 2                     # an alarm just triggered is 404 twice; `lazy_reads` for updates
"""

import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, ClassVar
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from agent.vendors.lab import Simulator
from agent.vendors.milestone.ntlm import Acceptor

Row = dict[str, Any]
STATES = ((1, "Ny"), (4, "Under behandling"), (9, "På vent"), (11, "Lukket"))
"""Names are localised: nothing may depend on them."""
PRIORITIES = ((1, "Høy"), (2, "Middels"), (3, "Lav"))
EVENTS = {
    "intrusion": "Line crossed",
    "person": "Person detected",
    "vehicle": "Vehicle detected",
    "movement": "Motion Started",
    "tamper": "Camera tampering",
    "camera_lost": "Communication Error",
    "external_trigger": "Input Activated",
    "other": "Something happened",
}


class Filters(Enum):
    HONOURED = "honoured"
    IGNORED = "ignored"
    REFUSED = "refused"


class Order(Enum):
    NEWEST_FIRST = "newest first"
    OLDEST_FIRST = "oldest first"
    UNORDERED = "by id"


class Failure(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class MilestoneSimulator(Simulator):
    kinds: ClassVar[Sequence[str]] = tuple(EVENTS)

    def __init__(
        self,
        username: str = "varde",
        password: str = "quay-lantern-7",  # noqa: S107 - of nothing that exists; the vendor's samples encode no sign
        domain: str = "SITE",
        windows: bool = False,
    ) -> None:
        self.username = username
        self.password = password
        self.domain = domain
        self.windows = windows
        self.cameras = [_camera(number, name) for number, name in enumerate(("Gate", "Yard", "Quay"), 1)]
        self.states = [{"id": _guid("state", level), "level": level, "name": name} for level, name in STATES]
        self.priorities = [{"id": _guid("priority", level), "level": level, "name": name} for level, name in PRIORITIES]
        self.alarms: list[Row] = []
        self.tokens: set[str] = set()
        self.logins = 0
        self.token_life_s = 3600
        self.filters = Filters.HONOURED
        self.order = Order.NEWEST_FIRST
        self.largest_page = 1000
        self.ignores_page = False
        self.between_pages: Callable[[int], None] | None = None
        self.hidden_reads = 0
        self.lazy_reads = 0
        self.discloses_idp = True
        self.bare_errors = False
        self.clock_ahead = timedelta()
        self._hidden: dict[str, int] = {}
        self._pending: dict[str, tuple[int, Row]] = {}
        self._handshakes: dict[Any, Acceptor] = {}
        route = Route("/{rest:path}", self._answer, methods=["GET", "POST", "PATCH"])
        super().__init__(Starlette(routes=[route]))

    def credentials(self) -> dict[str, str]:
        user = f"{self.domain}\\{self.username}" if self.windows else self.username
        return {"username": user, "password": self.password}

    def settings(self, name: str) -> dict[str, Any]:
        grant = "windows" if self.windows else "basic"
        return {"name": name, "kind": "milestone", "url": self.url, "grant": grant, **self.credentials()}

    # What happens at the site

    def now(self) -> datetime:
        return datetime.now(UTC) + self.clock_ahead

    def raise_event(self, kind: str | None = None, **details: Any) -> str:
        """`details`: `time` (when it happened, if not now), `camera` (its number, from 1), `level` of its state."""
        message = EVENTS[kind or "intrusion"]
        camera = self.cameras[details.get("camera", 1) - 1]
        row = self._new_row(f"{camera['name']} alarm", details.get("message", message), camera["id"])
        if "time" in details:
            row["time"] = stamp(details["time"])
        row["state"] = self._level(self.states, details.get("level", 1))
        self.alarms.append(row)
        return str(row["id"])

    def update(self, alarm_id: str, level: int) -> None:
        """An operator changes the alarm's state."""
        self.alarm(alarm_id).update(state=self._level(self.states, level), lastUpdatedTime=stamp(self.now()))

    def alarm(self, alarm_id: str) -> Row:
        return next(row for row in self.alarms if row["id"] == alarm_id)

    def remove(self, alarm_id: str) -> None:
        """Retention takes the alarm away."""
        self.alarms.remove(self.alarm(alarm_id))

    def revoke_tokens(self) -> None:
        self.tokens.clear()

    def _new_row(self, name: str, message: str, camera_id: str) -> Row:
        now = stamp(self.now())
        return {
            "id": str(uuid.uuid4()),
            "localId": 4711 + len(self.alarms),
            "name": name,
            "message": message,
            "source": f"cameras/{camera_id}",
            "cameraId": camera_id,
            "time": now,
            "lastUpdatedTime": now,
            "legacyType": "Analytics",
            "priority": self._level(self.priorities, 1),
            "state": self._level(self.states, 1),
            "data": {"description": "", "location": "", "objects": []},
        }

    def _level(self, levels: list[Row], level: int) -> Row:
        return next({"level": each["level"], "name": each["name"]} for each in levels if each["level"] == level)

    # The gateway

    async def _answer(self, request: Request) -> Response:
        path = request.url.path.lower().rstrip("/")
        try:
            if path == "/api/.well-known/uris":
                return JSONResponse(self._uris(), headers=self._date())
            if path in ("/api/idp/connect/token", "/idp/connect/token"):
                return await self._token(request, path)
            if not path.startswith("/api/rest/v1/"):
                return HTMLResponse("<!DOCTYPE html><title>404 - File or directory not found.</title>", 404)
            if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
                return Response(status_code=401, headers={"WWW-Authenticate": "Bearer", **self._date()})
            status, body = await self._resource(request, path.removeprefix("/api/rest/v1/").split("/"))
            return JSONResponse(body, status, headers=self._date())
        except Failure as failure:
            return self._error(failure)

    def _error(self, failure: Failure) -> JSONResponse:
        """The two shapes of one error."""
        details = [{"errorText": str(failure)}]
        if self.bare_errors:
            return JSONResponse({"httpCode": str(failure.status), "details": details}, failure.status)
        return JSONResponse({"error": {"httpCode": failure.status, "details": details}}, failure.status)

    def _date(self) -> dict[str, str]:
        return {"Date": self.now().strftime("%a, %d %b %Y %H:%M:%S GMT")}

    def _uris(self) -> Row:
        found: Row = {
            "ProductVersion": "25.2.1",
            "ApiGateways": [f"{self.url}/api"],
            "UnsecureManagementServer": self.url,
        }
        return {**found, "IdentityProvider": f"{self.url}/IDP"} if self.discloses_idp else found

    # The identity provider

    async def _token(self, request: Request, path: str) -> Response:
        form = {key: values[0] for key, values in parse_qs((await request.body()).decode(), True).items()}
        if form.get("client_id") != "GrantValidatorClient":
            return _oauth("invalid_client")
        if form.get("grant_type") == "password":
            right = (form.get("username"), form.get("password")) == (self.username, self.password)
            return self._new_token() if right else _oauth("invalid_grant")
        if form.get("grant_type") != "windows_credentials" or path.startswith("/api/"):
            return _oauth("unsupported_grant_type")  # the gateway does not pass NTLM through
        return self._ntlm(request)

    def _ntlm(self, request: Request) -> Response:
        """NTLM belongs to a connection: the challenge of one is worth nothing on another."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "NTLM":
            return Response(status_code=401, headers={"WWW-Authenticate": "NTLM"})
        connection = request.scope["client"]
        acceptor = self._handshakes.setdefault(connection, Acceptor(self.domain, self.username, self.password))
        authenticated, answer = acceptor.step(token)
        if authenticated:
            del self._handshakes[connection]
            return self._new_token()
        return Response(status_code=401, headers={"WWW-Authenticate": f"NTLM {answer}" if answer else "NTLM"})

    def _new_token(self) -> Response:
        self.logins += 1
        token = f"eyJ.{uuid.uuid4().hex}.x"
        self.tokens.add(token)
        body = {
            "access_token": token,
            "expires_in": self.token_life_s,
            "token_type": "Bearer",
            "scope": "managementserver",
        }
        return JSONResponse(body, headers=self._date())

    # Resources

    async def _resource(self, request: Request, names: list[str]) -> tuple[int, Row]:
        collections = {
            "cameras": self.cameras,
            "alarmstates": self.states,
            "alarmpriorities": self.priorities,
            "alarmmessages": [
                {"id": _guid("message", number), "name": text} for number, text in enumerate(EVENTS.values())
            ],
        }
        if names == ["alarms"]:
            if request.method == "POST":
                return 202, {"data": self._trigger(await _json(request))}
            return 200, {"array": self._page(self._filtered(request), request)}
        if len(names) == 2 and names[0] == "alarms":
            if request.method == "PATCH":
                return 202, {"data": self._patch(names[1], await _json(request))}
            return 200, {"data": self._read(names[1])}
        if len(names) == 1 and names[0] in collections and request.method == "GET":
            return 200, {"array": self._page(collections[names[0]], request)}
        raise Failure(404, f"Unknown resource: {names[0]}")

    def _page(self, rows: Iterable[Row], request: Request) -> list[Row]:
        every = list(rows)
        page, size = int(request.query_params.get("page", 0)), int(request.query_params.get("size", 1000))
        size = min(size, self.largest_page)
        start = 0 if self.ignores_page else page * size
        found = [dict(row) for row in every[start : start + size]]
        if self.between_pages and every and "id" in every[0] and "lastUpdatedTime" in every[0]:
            self.between_pages(page)
        return found

    def _filtered(self, request: Request) -> list[Row]:
        rows = sorted(self.alarms, key=lambda row: row["time"], reverse=self.order is Order.NEWEST_FIRST)
        if self.order is Order.UNORDERED:
            rows.sort(key=lambda row: row["id"])
        for name, text in request.query_params.items():
            if name in ("page", "size", "include") or self.filters is Filters.IGNORED:
                continue
            if self.filters is Filters.REFUSED:
                raise Failure(400, f"Unknown parameter: {name}")
            rows = [row for row in rows if _matches(row.get(name), text)]
        return rows

    def _trigger(self, body: Row) -> Row:
        camera_id = str(body.get("source", "")).rpartition("/")[2]
        if camera_id not in {camera["id"] for camera in self.cameras}:
            raise Failure(400, "Unknown source")
        row = self._new_row(str(body.get("name", "")), str(body.get("message", "")), camera_id)
        self.alarms.append(row)
        self._hidden[row["id"]] = self.hidden_reads
        return dict(row)

    def _read(self, alarm_id: str) -> Row:
        row = next((row for row in self.alarms if row["id"] == alarm_id), None)
        if row is None or self._counted_down(alarm_id):
            raise Failure(404, "Alarm not found")
        left, changes = self._pending.get(alarm_id, (0, {}))
        if changes and left == 0:
            row.update(changes)
            del self._pending[alarm_id]
        elif changes:
            self._pending[alarm_id] = (left - 1, changes)
        return dict(row)

    def _counted_down(self, alarm_id: str) -> bool:
        left = self._hidden.get(alarm_id, 0)
        self._hidden[alarm_id] = max(0, left - 1)
        return left > 0

    def _patch(self, alarm_id: str, body: Row) -> Row:
        """Accepted; it shows at once, or after `lazy_reads` reads."""
        row = self._read(alarm_id)
        changes: Row = {"lastUpdatedTime": stamp(self.now())}
        for name, levels in (("state", self.states), ("priority", self.priorities)):
            if body.get(name) is not None:
                found = next((each for each in levels if each["id"] == body[name]), None)
                if found is None:
                    raise Failure(400, f"Unknown {name}")
                changes[name] = {"level": found["level"], "name": found["name"]}
        if self.lazy_reads:
            self._pending[alarm_id] = (self.lazy_reads, changes)
            return row
        self.alarm(alarm_id).update(changes)
        return {**row, **changes}


def _matches(value: Any, text: str) -> bool:
    """The gateway's `property=value` and `property=op:'value'`."""
    operator, colon, quoted = text.partition(":")
    if not colon or operator not in ("gt", "lt", "notEquals"):
        return str(value) == text
    wanted = quoted.strip("'")
    if operator == "notEquals":
        return str(value) != wanted
    try:
        left, right = datetime.fromisoformat(str(value)), datetime.fromisoformat(wanted)
    except ValueError:
        raise Failure(400, "Unusable filter") from None
    return left > right if operator == "gt" else left < right


async def _json(request: Request) -> Row:
    try:
        body = json.loads(await request.body())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Failure(400, "The body is not a JSON object")
    return body


def _oauth(error: str) -> JSONResponse:
    return JSONResponse({"error": error, "error_description": "InvalidCredential"}, 400)


def stamp(moment: datetime) -> str:
    """Seven fractional digits, as .NET writes them."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "1Z"


def _guid(*parts: object) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "varde simulator " + " ".join(map(str, parts))))


def _camera(number: int, name: str) -> Row:
    return {"id": _guid("camera", number), "name": name, "displayName": name, "enabled": True, "channel": 0}
