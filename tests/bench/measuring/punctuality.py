"""How late polls begin, by the polling loop's own plan: each tick is where the loop says it is."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from agent.alarms import polling as loop
from agent.alarms.schedule import Ticks
from agent.settings import Settings
from measuring.site import running_site

_ticks: dict[trio.lowlevel.Task, "_KnownTicks"] = {}


class _KnownTicks(Ticks):
    """Ticks that are found by the task that keeps to them."""

    def __init__(self, interval_s: float, start: float) -> None:
        super().__init__(interval_s, start)
        _ticks[trio.lowlevel.current_task()] = self


async def lateness_of(
    made: Settings, lasting_s: float, started: Callable[[Any], None] = lambda site: None
) -> tuple[list[float], float]:
    """Seconds that each poll was late, and the part of a core that the whole daemon took, over `lasting_s`.

    `started` is called with the running site.
    """
    loop.Ticks = _KnownTicks  # type: ignore[attr-defined]
    try:
        async with running_site(made) as site:
            started(site)
            lateness = _Lateness(site)
            await trio.sleep(min(2.0, lasting_s))
            lateness.found.clear()
            cpu, begun = time.process_time(), time.monotonic()
            await trio.sleep(lasting_s)
            return list(lateness.found), (time.process_time() - cpu) / (time.monotonic() - begun)
    finally:
        loop.Ticks = Ticks  # type: ignore[attr-defined]


class _Lateness:
    """Seconds that each poll of a site was late, from now on; a tick without a poll was late by an interval."""

    def __init__(self, site: Any) -> None:
        self.found: list[float] = []
        for poller in site.pollers.values():
            poller.source.poll = self._noting(poller.source.poll)

    def _noting(self, poll: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        before: float | None = None

        def noting(position: Any) -> Awaitable[Any]:
            nonlocal before
            ticks = _ticks[trio.lowlevel.current_task()]
            if before is not None:
                missed = round((ticks.next - before) / ticks.interval_s) - 1
                self.found.extend([ticks.interval_s] * max(0, missed))
            before = ticks.next
            self.found.append(trio.current_time() - ticks.next)
            return poll(position)

        return noting
