"""Pages that stay true while they are looked at.

    pulse changes ─→ /live: "look again" ─→ the page is asked for once more ─→ made at most once for all who look

A page is made anew when something has happened or a second has passed, and otherwise handed out as it was: fifty
operators who look at one page cost one.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import trio
from starlette.requests import Request
from starlette.responses import Response

from agent.web.doors import caller
from agent.web.pages.frame import language_of
from agent.web.queries import site_of
from agent.web.stream import EventStream

if TYPE_CHECKING:
    from agent.site import Site

LOOK_S = 0.5
TICK_S = 5.0
FRESH_S = 1.0
HEADER = "X-Varde-Live"
MAX_KEPT = 64

Page = Callable[[Request], Awaitable[Response]]


def pulse(site: "Site") -> tuple[Any, ...]:
    """Differs from an earlier one once anything that a page shows has happened. Cheap: no I/O."""
    return (
        site.journal.changed.listen(),  # a bell has another event after each ring
        site.evidence.changed.listen(),
        tuple((poller.name, poller.state) for poller in site.pollers.values()),
        tuple(
            (sink.name, sink.state, sink.pending, sink.rejected, sink.last_acknowledged_at)
            for sink in site.dispatchers.values()
        ),
        tuple(site.problems.values()),
        site.keys.valid,
    )


class LiveStream(EventStream):
    """Says "look again" when something has happened, and every few seconds for what only grows older."""

    def __init__(self, site: "Site", session: str | None) -> None:
        super().__init__(site.stopping)
        self.site = site
        self.session = session

    async def produce(self, write: Callable[[str], Awaitable[None]]) -> None:
        await write("retry: 2000\n\n")
        said, said_at = pulse(self.site), trio.current_time()
        while self._may_look():
            with trio.move_on_after(LOOK_S):
                await self.site.journal.changed.listen().wait()
            now = pulse(self.site)
            if now != said or trio.current_time() - said_at >= TICK_S:
                said, said_at = now, trio.current_time()
                await write("event: change\ndata: look again\n\n")
                await trio.sleep(LOOK_S)

    def _may_look(self) -> bool:
        """The session ended elsewhere: the stream ends, the browser's next try is answered 204, and it logs in."""
        token = self.site.settings.console.token
        return self.session is None or self.site.access.find_session(self.session, token)


async def get_live(request: Request) -> Response:
    return LiveStream(site_of(request), caller(request).session)


class Kept:
    """Pages as they were made last, for requests of the pages' own script."""

    def __init__(self) -> None:
        self._pages: OrderedDict[tuple[str, str, str], tuple[tuple[Any, ...], float, Response]] = OrderedDict()
        self._making: dict[tuple[str, str, str], trio.Lock] = {}

    def once_for_all(self, page: Page) -> Page:
        async def get(request: Request) -> Response:
            if HEADER not in request.headers:
                return await page(request)
            key = (request.url.path, request.url.query, language_of(request))
            async with self._making.setdefault(key, trio.Lock()):
                kept = self._pages.get(key)
                now = pulse(site_of(request))
                if kept is None or kept[0] != now or trio.current_time() - kept[1] > FRESH_S:
                    kept = (now, trio.current_time(), await page(request))
                    self._keep(key, kept)
            return kept[2]

        return get

    def _keep(self, key: tuple[str, str, str], kept: tuple[tuple[Any, ...], float, Response]) -> None:
        self._pages[key] = kept
        self._pages.move_to_end(key)
        while len(self._pages) > MAX_KEPT:
            gone, _ = self._pages.popitem(last=False)
            self._making.pop(gone, None)
