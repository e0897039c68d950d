"""The Lockt cloud for demo, tests and labs: a simulated site behind the vendor's HTTP manners.

    simulator = LocktSimulator(api_user=…, api_key=…)
    url = await nursery.start(simulator.serve)
    simulator.site.inclusive = False          # knobs of `SimulatedSite`
    simulator.raise_event("access_denied")
    simulator.set_battery(166, 12)

Manners: `apiuser`, `apikey` and a JSON content type on every request, else 401 or 400; POSTs that overlap are
answered 429; during a planned maintenance (`begin_maintenance`) everything but /maintenance is 503.
"""

import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent.vendors.lab import Simulator
from agent.vendors.lockt.simulated_site import SimulatedSite
from agent.vendors.lockt.simulated_writes import Answer, failure

LATE_S = 8.5 * 3600


class LocktSimulator(Simulator):
    """`post_takes_s` is how long a POST is under way; `overlaps` counts the POSTs that came while another was."""

    kinds: ClassVar[tuple[str, ...]] = (
        "access_denied",
        "access_granted",
        "low_battery",
        "late",
        "battery_replaced",
        "other",
    )

    def __init__(self, *, api_user: str = "lockt-demo", api_key: str | None = None) -> None:
        methods = ["GET", "POST", "PUT", "DELETE"]
        super().__init__(Starlette(routes=[Route("/{path:path}", self._respond, methods=methods)]))
        self.site = SimulatedSite()
        self.post_takes_s = 0.0
        self.overlaps = 0
        self._api_user = api_user
        self._api_key = api_key or secrets.token_urlsafe(24)
        self._posting = False
        self._down = False

    def credentials(self) -> dict[str, str]:
        return {"api_user": self._api_user, "api_key": self._api_key}

    def settings(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "kind": "lockt",
            "url": self.url,
            **self.credentials(),
            "poll_interval_s": 1.0,
            "state_interval_s": 2.0,
        }

    def raise_event(self, kind: str | None = None, **details: Any) -> str:
        """An event's id; for the battery kinds the door's.

        `details`: `device` (a door's name), `late_s`, `gap`, `code`, `text`, `subcode`, `subcode_text`; for the
        batteries `door` and `level`.
        """
        kind = kind or "access_denied"
        if kind in ("low_battery", "battery_replaced"):
            door = int(details.get("door", 187))
            self.set_battery(door, details.get("level", 9 if kind == "low_battery" else 100))
            return str(door)
        if kind not in _EVENTS:
            raise ValueError(f"Lockt raises {', '.join((*_EVENTS, 'low_battery', 'battery_replaced'))}")
        event = {**_EVENTS[kind], **details}
        device = event.pop("device", "Room 1")
        return str(self.site.add_event(event.pop("code"), event.pop("text"), device, **event))

    def set_battery(self, door: int, level: Any) -> None:
        """`level` is what /doorstate will say: a percentage, or anything a test wants to see."""
        self.site.batteries[door] = level

    def restart_ids(self, first: int = 1) -> None:
        self.site.restart_ids(first)

    def begin_maintenance(self, lasts_s: float, description: str = "Database upgrade") -> None:
        now = datetime.now(UTC)
        window = {"id": 1, "start_time": _stamp(now), "end_time": _stamp(now + timedelta(seconds=lasts_s))}
        self.site.maintenance = [{**window, "description": description}]
        self._down = True

    def end_maintenance(self) -> None:
        self._down = False

    async def _respond(self, request: Request) -> Response:
        prefix, _, path = request.url.path.partition("/api/v1/")
        path = path.strip("/")
        if prefix or not path:
            return _response(failure(404, "The resource was not found."))
        if (request.headers.get("apiuser"), request.headers.get("apikey")) != (self._api_user, self._api_key):
            return _response(failure(401, "Access denied."))
        if not request.headers.get("content-type", "").startswith("application/json"):
            return _response(failure(400, "Content-Type must be application/json."))
        if self._down and path != "maintenance":
            return Response("<html><body>Down for maintenance</body></html>", 503, media_type="text/html")
        if request.method == "POST":
            return await self._post(request, path)
        return _response(await self._answer(request, path))

    async def _post(self, request: Request, path: str) -> Response:
        if self._posting:
            self.overlaps += 1
            return _response(failure(429, "Overlapping POST operations are not allowed."), {"Retry-After": "1"})
        self._posting = True
        try:
            await trio.sleep(self.post_takes_s)
            return _response(await self._answer(request, path))
        finally:
            self._posting = False

    async def _answer(self, request: Request, path: str) -> Answer:
        body = await request.body()
        try:
            record = json.loads(body) if body else None
        except ValueError:
            record = None
        return self.site.answer(request.method, path, dict(request.query_params), record)


_EVENTS: dict[str, dict[str, Any]] = {
    "access_granted": {"code": 48, "text": "Access Granted"},
    "access_denied": {"code": 49, "text": "Access Denied", "subcode": 104, "subcode_text": "Battery Missing"},
    "late": {"code": 48, "text": "Access Granted", "late_s": LATE_S},
    "other": {"code": 77, "text": "Request To Exit"},
}


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _response(answer: Answer, headers: dict[str, str] | None = None) -> Response:
    status, content = answer
    return JSONResponse(content, status, headers)
