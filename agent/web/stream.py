"""Server-sent events: the journal as it grows, and the console's hint to look again.

    journal.changed rings ─→ a page read from the journal ─→ id: 4711 · event: alarm · data: {…}
    nothing for HEARTBEAT_S ─→ a comment line, so that proxies and clients see life

A subscriber holds one page of the journal and nothing more, however slow it reads: where it is, is a number.
"""

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio
from starlette.responses import Response

from agent.alarms.model import Kind
from agent.web.answers import encode
from agent.web.doors import Receive, Scope, Send

if TYPE_CHECKING:
    from agent.site import Site

HEARTBEAT_S = 15.0
PAGE = 100


class EventStream(Response):
    """An endless answer. It ends with the client, with `stop`, or when `produce` returns."""

    def __init__(self, stop: trio.Event) -> None:
        super().__init__(media_type="text/event-stream")
        # No length: the base class has counted an empty body.
        del self.headers["content-length"]
        self.headers["Cache-Control"] = "no-store"
        self.headers["X-Accel-Buffering"] = "no"
        self.stop = stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_gone, receive, nursery.cancel_scope)
            nursery.start_soon(self._until_stopped, nursery.cancel_scope)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self.produce(lambda text: send(_body(text)))
            nursery.cancel_scope.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    @abstractmethod
    async def produce(self, write: Callable[[str], Awaitable[None]]) -> None: ...

    async def _until_gone(self, receive: Receive, scope: trio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async def _until_stopped(self, scope: trio.CancelScope) -> None:
        await self.stop.wait()
        scope.cancel()


class AlarmStream(EventStream):
    """Every alarm after the journal id `after`, oldest first, for ever."""

    def __init__(self, site: "Site", after: int, source: str | None = None, kind: Kind | None = None) -> None:
        super().__init__(site.stopping)
        self.site = site
        self.after = after
        self.source = source
        self.kind = kind

    async def produce(self, write: Callable[[str], Awaitable[None]]) -> None:
        await write("retry: 2000\n\n")
        while True:
            rung = self.site.journal.changed.listen()
            page = await self.site.journal.alarms(after=self.after, limit=PAGE, source=self.source, kind=self.kind)
            for alarm in await self.site.journal.objects(page):
                await write(f"id: {alarm['id']}\nevent: alarm\ndata: {encode(alarm).decode()}\n\n")
                self.after = alarm["id"]
            if len(page) < PAGE and not await rings(HEARTBEAT_S, rung):
                await write(": alive\n\n")


async def rings(timeout_s: float, *events: trio.Event) -> bool:
    """Whether one of `events` is set within `timeout_s`."""
    with trio.move_on_after(timeout_s) as scope:
        async with trio.open_nursery() as nursery:
            for event in events:
                nursery.start_soon(_first, event, nursery.cancel_scope)
    return not scope.cancelled_caught


async def _first(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _body(text: str) -> dict[str, object]:
    return {"type": "http.response.body", "body": text.encode(), "more_body": True}
