"""A DAVANTIS device for demo, labs and tests: four cameras of a yard at night, behind the documented endpoints.

simulator = DavantisSimulator()
url = await nursery.start(simulator.serve)
simulator.raise_event("person", camera=3)
simulator.quirks.inclusive_min_id = True         # what may differ between devices: `Quirks`
simulator.device.expire_tokens()                 # what happens to devices: `Device`
simulator.laboratory.inject(Ill.STALL)           # what happens to connections: `Laboratory`
"""

from collections.abc import AsyncGenerator
from datetime import timedelta
from functools import lru_cache
from importlib import resources
from typing import Any
from urllib.parse import parse_qs

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agent.vendors.davantis import picture
from agent.vendors.davantis.simulated import CAMERAS, RELAYS, Device, Quirks, SimulatedAlarm
from agent.vendors.lab import Simulator

LIVE_FRAMES_PER_S = 4
BOUNDARY = "varde-frame"


class DavantisSimulator(Simulator):
    kinds = ("intrusion", "person", "vehicle", "intrusion", "camera_lost", "camera_restored", "tamper", "movement")

    def __init__(
        self,
        username: str = "admin",
        password: str = "varde-lab",  # noqa: S107 - a lab's
        *,
        device: Device | None = None,
    ) -> None:
        self.device = device or Device()
        self._username = username
        self._password = password
        by_id = "{number:int}"
        routes = [
            Route("/oauth/token", self._token, methods=["POST"]),
            self._route("/installation", self._installation),
            self._route("/cameras", self._cameras),
            self._route(f"/cameras/{by_id}/stream/mjpeg", self._live),
            self._route("/alarms", self._alarms),
            self._route(f"/alarms/{by_id}/snapshot", self._snapshot),
            self._route(f"/alarms/{by_id}/video", self._video),
            self._route("/relays", self._relays),
            self._route(f"/relays/{by_id}", self._set_relay, "PATCH"),
            self._route("/inputs", self._inputs),
            self._route(f"/inputs/{by_id}", self._set_input, "PATCH"),
        ]
        super().__init__(Starlette(routes=routes))

    @property
    def quirks(self) -> Quirks:
        return self.device.quirks

    def credentials(self) -> dict[str, str]:
        return {"username": self._username, "password": self._password}

    def settings(self, name: str) -> dict[str, Any]:
        return {"name": name, "kind": "davantis", "url": self.url, **self.credentials()}

    def raise_event(self, kind: str | None = None, **details: Any) -> str:
        """`details` are those of `Device.happen`: camera, armed, started, event, description, media."""
        return str(self.device.happen(kind or "intrusion", **details).id)

    def raise_backlog(self, count: int, over_s: float) -> list[str]:
        """`count` alarms as of the last `over_s` seconds, oldest first; their native ids. A device tells no more than
        its cap of alarms a second, camera and event apart, so spread them.
        """
        begin = self.device.now() - timedelta(seconds=over_s)
        step = timedelta(seconds=over_s / max(1, count))
        return [self.raise_event("intrusion", started=begin + number * step) for number in range(count)]

    def _route(self, path: str, answer: Any, method: str = "GET") -> Route:
        async def guarded(request: Request) -> Response:
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            if code := self.device.token_fault(token):
                return _fault("The token is not good.", code, self.quirks.token_fault_status)
            response: Response = await answer(request)
            return response

        return Route(path, guarded, methods=[method])

    # --- log-in --------------------------------------------------------------------------------------------------

    async def _token(self, request: Request) -> Response:
        body = (await request.body()).decode("utf-8", "replace")
        understood = self.quirks.form != ("clean" if body.startswith("?") else "question")
        form = {key: values[0] for key, values in parse_qs(body.lstrip("?"), keep_blank_values=True).items()}
        if form.get("grant_type") == "refresh_token":
            return self._refreshed(form.get("refresh_token", ""))
        if form.get("grant_type") != "password" or not understood:
            return _fault("The grant type is missing.", "oauth.service.invalid_request", 400)
        if (form.get("username"), form.get("password")) != (self._username, self._password):
            return _fault("User or password is wrong.", "oauth.service.invalid_credentials", 401)
        return self._tokens({"token_type": "bearer"})

    def _refreshed(self, refresh: str) -> Response:
        if refresh not in self.device.refresh:
            return _fault("The refresh token is not good.", "keymanagement.service.invalid_refresh_token", 401)
        self.device.refresh.discard(refresh)  # they rotate
        return self._tokens({})

    def _tokens(self, more: dict[str, str]) -> Response:
        access, refresh = self.device.new_tokens()
        life_s = int(self.quirks.token_life_s)
        return JSONResponse({"access_token": access, **more, "expires_in": life_s, "refresh_token": refresh})

    # --- alarms --------------------------------------------------------------------------------------------------

    async def _alarms(self, request: Request) -> Response:
        try:
            alarms = self.device.select(request.query_params)
        except ValueError:
            return _fault("A filter cannot be read.", "alarms.service.bad_filter", 400)
        if not alarms:
            return Response(status_code=204)
        return JSONResponse([self._row(alarm) for alarm in alarms])

    def _row(self, alarm: SimulatedAlarm) -> dict[str, Any]:
        base = f"http://192.0.2.10:21000/alarms/{alarm.id}"  # as the device sees itself: not where it is reached
        return {
            "id": alarm.id,
            "idmachine": alarm.machine,
            "idrule": 2,
            "idevent": alarm.event,
            "idcamera": alarm.camera,
            "description": alarm.key,
            "description_translation": alarm.words,
            "started": self._instant(alarm),
            "ended": self._instant(alarm),
            "ack": "N",
            "snapshot_status": self.device.snapshot_status(alarm),
            "snapshot_absolute": f"{base}/snapshot" if alarm.media else "",
            "video_status": self.device.video_status(alarm),
            "video_absolute": f"{base}/video.mp4" if alarm.media else "",
            "supportvideo_status": "unavailable",
            "supportvideo_absolute": "",
        }

    def _instant(self, alarm: SimulatedAlarm) -> str:
        if self.quirks.zoneless:
            return (alarm.started + self.quirks.utc_offset).replace(tzinfo=None).isoformat()
        return alarm.started.isoformat().replace("+00:00", "Z")

    async def _snapshot(self, request: Request) -> Response:
        alarm = self.device.find(request.path_params["number"])
        if alarm is None or self.device.snapshot_status(alarm) != "ready":
            return _fault("There is no such file.", "alarms.service.not_found", 404)
        return Response(await trio.to_thread.run_sync(self._drawn, alarm), media_type="image/jpeg")

    async def _video(self, request: Request) -> Response:
        alarm = self.device.find(request.path_params["number"])
        if alarm is None or self.device.video_status(alarm) != "ready":
            return _fault("There is no such file.", "alarms.service.not_found", 404)
        return Response(clip(), media_type="video/mp4")

    def _drawn(self, alarm: SimulatedAlarm) -> bytes:
        moment = alarm.started + self.quirks.utc_offset
        name = f"{alarm.camera}  {CAMERAS.get(alarm.camera, '')}"
        progress = (alarm.id * 37 % 100) / 100
        return picture.snapshot(alarm.camera, name, moment, progress=progress, label=alarm.key.rpartition(".")[2])

    # --- the site ------------------------------------------------------------------------------------------------

    async def _installation(self, request: Request) -> Response:
        offset = self.quirks.utc_offset
        minutes = int(offset.total_seconds() // 60)
        plain = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
        form = self.quirks.offset_form
        return JSONResponse({"name": "Simulated yard", "current_utc_offset": form(offset) if form else plain})

    async def _cameras(self, request: Request) -> Response:
        rows = [
            {"id": number, "alias": alias, "thermal": number == 4, "active": True} for number, alias in CAMERAS.items()
        ]
        return JSONResponse(rows)

    async def _live(self, request: Request) -> Response:
        camera = request.path_params["number"]
        if camera not in CAMERAS:
            return _fault("There is no such camera.", "cameras.service.not_found", 404)
        return StreamingResponse(self._frames(camera), media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY}")

    async def _frames(self, camera: int) -> AsyncGenerator[bytes, None]:
        step = 0
        while True:
            walk = step % 80 / 40
            frame = await trio.to_thread.run_sync(self._live_picture, camera, walk if walk < 1 else None)
            head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(frame)}\r\n\r\n"
            yield head.encode() + frame + b"\r\n"
            await trio.sleep(1 / LIVE_FRAMES_PER_S)
            step += 1

    def _live_picture(self, camera: int, progress: float | None) -> bytes:
        moment = self.device.now() + self.quirks.utc_offset
        return picture.snapshot(camera, f"{camera}  {CAMERAS[camera]}", moment, progress=progress)

    # --- inputs and relays ---------------------------------------------------------------------------------------

    async def _relays(self, request: Request) -> Response:
        return JSONResponse([self._relay(number) for number in RELAYS])

    def _relay(self, number: int) -> dict[str, Any]:
        return {"id": number, "alias": RELAYS[number], "status": self.device.relay_is_on(number)}

    async def _set_relay(self, request: Request) -> Response:
        number, status = request.path_params["number"], await _status(request)
        if number not in RELAYS:
            return _fault("There is no such relay.", "relays.service.not_found", 404)
        if status is None:
            return _fault("A status is expected.", "relays.service.bad_request", 400)
        self.device.set_relay(number, status)
        return JSONResponse(self._relay(number))

    async def _inputs(self, request: Request) -> Response:
        return JSONResponse([{"id": number, "status": armed} for number, armed in self.device.inputs.items()])

    async def _set_input(self, request: Request) -> Response:
        number, status = request.path_params["number"], await _status(request)
        if number not in self.device.inputs:
            return _fault("There is no such input.", "inputs.service.not_found", 404)
        if status is None:
            return _fault("A status is expected.", "inputs.service.bad_request", 400)
        if not self.device.set_input(number, status):
            return _fault("The input is controlled by hardware.", "inputs.service.hardware_controlled", 409)
        return JSONResponse({"id": number, "status": status})


async def _status(request: Request) -> bool | None:
    try:
        status = (await request.json())["status"]
    except (ValueError, KeyError, TypeError):
        return None
    return status if isinstance(status, bool) else None


def _fault(words: str, errorcode: str, status: int) -> Response:
    return JSONResponse({"fault": {"faultstring": words, "detail": {"errorcode": errorcode}}}, status)


@lru_cache(maxsize=1)
def clip() -> bytes:
    """The video of every alarm; made from `picture.py`, see there."""
    return resources.files("agent.vendors.davantis").joinpath("clip.mp4").read_bytes()
