"""Cameras, doors, inputs and relays: what they show, what can be done with them, and who did it.

button ─→ /do: says what will happen ─Yes─→ POST /do ─→ actions.perform (audited) ─→ back, with the device's answer
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import trio
from starlette.requests import Request
from starlette.responses import Response

from agent.alarms.model import Acting, Device, Filming, Listing
from agent.faults import Fault, UnknownTarget
from agent.web import actions, audit, queries
from agent.web.answers import fail
from agent.web.doors import Receive, Scope, Send, caller
from agent.web.pages.frame import Frame, back_to, see
from agent.web.queries import site_of

if TYPE_CHECKING:
    from agent.site import Site

LIST_LIMIT_S = 4.0
LIST_FRESH_S = 10.0
TRAIL = 15
OFFERED = {"input": ("arm", "disarm"), "relay": ("relay_on", "relay_off"), "door": ("unlock",)}
_MULTIPART = re.compile(r"multipart/x-mixed-replace; ?boundary=[\x21-\x7e]{1,100}", re.IGNORECASE)
ALWAYS_DONE = {("input", "armed"): "arm", ("input", "disarmed"): "disarm", ("relay", "on"): "relay_on",
               ("relay", "off"): "relay_off"}  # fmt: skip


@dataclass(slots=True)
class _List:
    devices: list[Device]
    read_at: float
    fault: str = ""


class DeviceLists:
    """What each source lists, as it was read last: looking at a page must not load a device."""

    def __init__(self) -> None:
        self._lists: dict[str, _List] = {}
        self._locks: dict[str, trio.Lock] = {}

    async def of(self, site: "Site", name: str) -> _List:
        poller = site.pollers.get(name)
        if poller is None or not isinstance(poller.source, Listing):
            return _List([], 0.0)
        async with self._locks.setdefault(name, trio.Lock()):
            kept = self._lists.get(name, _List([], float("-inf")))
            if trio.current_time() - kept.read_at < LIST_FRESH_S:
                return kept
            try:
                with trio.fail_after(LIST_LIMIT_S):
                    kept = _List(await poller.source.devices(), trio.current_time())
            except Fault as fault:
                kept = _List(kept.devices, trio.current_time(), str(fault))
            except trio.TooSlowError:
                kept = _List(kept.devices, trio.current_time(), f"{name} has not answered for {LIST_LIMIT_S:g} s.")
            self._lists[name] = kept
            return kept

    def forget(self, name: str) -> None:
        """After an action: its effect must be seen."""
        if name in self._lists:
            self._lists[name].read_at = float("-inf")


class CameraPages:
    def __init__(self) -> None:
        self._lists = DeviceLists()

    async def get_cameras(self, request: Request) -> Response:
        frame = Frame(request)
        site = frame.site
        watched = request.query_params.get("watch", "")
        groups = [group for name in site.pollers if (group := await self._group(frame, name, watched)) is not None]
        entry = queries.number(request, "done", 0)
        answered = await audit.page(site.store, after=entry - 1, limit=1) if entry else []
        return frame.page(
            "cameras.html",
            "cameras",
            groups=groups,
            answer=answered[0] if answered and answered[0]["id"] == entry else None,
            trail=await audit.newest(site.store, TRAIL),
        )

    async def _group(self, frame: Frame, name: str, watched: str) -> dict[str, Any] | None:
        """One source as the page shows it; None where it has nothing to show."""
        poller = frame.site.pollers[name]
        if not isinstance(poller.source, Listing):
            return None
        listed = await self._lists.of(frame.site, name)
        offered = poller.source.actions if isinstance(poller.source, Acting) else frozenset()
        films = isinstance(poller.source, Filming)
        devices = [
            {
                "id": device.id,
                "kind": device.kind,
                "name": device.name or label(frame, device),
                "label": label(frame, device),
                "state": device.state,
                "actions": _useful(device, offered),
                "watch": f"{name}:{device.id}" if films and device.kind == "camera" else None,
                "watched": films and watched == f"{name}:{device.id}",
            }
            for device in listed.devices
        ]
        return {
            "name": name,
            "kind": poller.settings.kind,
            "state": poller.state,
            "cameras": [device for device in devices if device["kind"] == "camera"],
            "controls": [device for device in devices if device["kind"] in OFFERED],
            "others": [device for device in devices if device["kind"] not in OFFERED and device["kind"] != "camera"],
            "fault": listed.fault,
        }

    async def get_do(self, request: Request) -> Response:
        """What will happen, before it does."""
        frame = Frame(request)
        source, action, target = (request.query_params.get(name, "") for name in ("source", "action", "target"))
        if source not in frame.site.pollers or f"confirm.{action}" not in _CONFIRMED:
            fail(404, "There is nothing like that to do here.")
        return frame.page(
            "confirm.html",
            "cameras",
            sentence=frame.t(
                f"confirm.{action}", source=source, target=await self._named(frame, source, action, target)
            ),
            button=frame.t(f"action.{action}"),
            post="/do",
            fields={
                "source": source,
                "action": action,
                "target": target,
                "next": back_to(request.query_params.get("next")),
            },
            back=back_to(request.query_params.get("next")),
        )

    async def post_do(self, request: Request) -> Response:
        site = site_of(request)
        fields = await queries.form(request)
        source, action, target = (fields.get(name, "")[:200] for name in ("source", "action", "target"))
        await actions.perform(site, caller(request).who, source, action, target)
        self._lists.forget(source)
        newest = await audit.newest(site.store, 1, [source])
        return see(f"/cameras?{urlencode({'done': newest[0]['id']})}#answer" if newest else "/cameras")

    async def _named(self, frame: Frame, source: str, action: str, target: str) -> str:
        kind = next((kind for kind, offered in OFFERED.items() if action in offered), None)
        if kind is None:
            return target
        listed = await self._lists.of(frame.site, source)
        found = next((device for device in listed.devices if device.kind == kind and device.id == target), None)
        if found is None:
            return label(frame, Device(target, kind, ""))
        return f"{label(frame, found)} ({found.name})" if found.name else label(frame, found)


_CONFIRMED = {
    f"confirm.{action}" for action in ("arm", "disarm", "relay_on", "relay_off", "unlock", "acknowledge", "close")
}


def label(frame: Frame, device: Device) -> str:
    known = device.kind if device.kind in ("input", "relay", "door", "camera", "zone") else "device"
    # A number says which one it is on the wall; a GUID says nothing to anybody.
    return frame.t(f"device.{known}", id=device.id if len(device.id) <= 12 else "").strip()


def _useful(device: Device, offered: frozenset[str]) -> list[str]:
    """What the device offers and is not so already."""
    done = ALWAYS_DONE.get((device.kind, device.state))
    return [action for action in OFFERED.get(device.kind, ()) if action in offered and action != done]


class LivePicture(Response):
    """A camera's MJPEG passed on as it comes. The device's token stays here."""

    def __init__(self, site: "Site", source: Filming, camera: str) -> None:
        super().__init__()
        self.site = site
        self.source = source
        self.camera = camera

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_over, receive, nursery.cancel_scope)
            nursery.start_soon(self._until_stopped, nursery.cancel_scope)
            await self._pass_on(send)
            nursery.cancel_scope.cancel()

    async def _pass_on(self, send: Send) -> None:
        begun = False
        try:
            async with self.source.live(self.camera) as stream:
                if not (stream.content_type == "image/jpeg" or _MULTIPART.fullmatch(stream.content_type)):
                    raise LookupError("no picture")
                headers = [(b"content-type", stream.content_type.encode()), (b"cache-control", b"no-store")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                begun = True
                async for chunk in stream.chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except (Fault, UnknownTarget, LookupError):
            if not begun:
                await send({"type": "http.response.start", "status": 502, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def _until_over(self, receive: Receive, scope: trio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async def _until_stopped(self, scope: trio.CancelScope) -> None:
        await self.site.stopping.wait()
        scope.cancel()


async def get_live_picture(request: Request) -> Response:
    site = site_of(request)
    poller = site.pollers.get(request.path_params["source"])
    if poller is None or not isinstance(poller.source, Filming):
        fail(404, "There is no such camera.")
    return LivePicture(site, poller.source, request.path_params["camera"])
