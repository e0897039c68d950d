"""Fifty operators look at the site page while a device is polled: what the polls notice of it."""

import re
import statistics
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import trio

from measuring import device
from measuring.children import child, in_process
from measuring.figure import Figure, Size, Table, percentile, pick
from measuring.polling import FAST_S
from measuring.punctuality import lateness_of
from measuring.site import TOKEN, davantis, settings


def live(size: Size, directory: Path) -> list[Figure]:
    pages_open, lasting_s = pick(size, 50, 50, 3), pick(size, 15.0, 6.0, 0.3)
    with child(device.serve, core=1) as far:
        turns = [
            in_process(_turn, far.ready[0], directory / f"{number}-{turn}", number, lasting_s)
            for turn in range(pick(size, 3, 2, 1))
            for number in (0, pages_open)
        ]
    table = Table("live")
    for index, (what, unit) in enumerate(
        (("lateness, p99", "ms"), ("lateness, p50", "ms"), ("processor", "% of a core"))
    ):
        without, beside = (statistics.median(turn[index] for turn in turns[start::2]) for start in (0, 1))
        name = f"a poll beside {pages_open} open live pages: {what}"
        limit = 5.0 if "p99" in what else None
        table.figures.append(
            Figure("live", name, beside, unit, without, "with none", beside - without, f"{unit} more", limit)
        )
    return table.figures


def _turn(url: str, directory: Path, pages_open: int, lasting_s: float) -> tuple[float, float, float]:
    """Lateness of one source's polls in ms (p99, p50) and the processor's share in %."""
    made = settings(directory, sources=[davantis("d0", url, poll_interval_s=FAST_S)])
    with child(_browsers, pages_open, core=1) as browsers:

        def started(site: Any) -> None:
            browsers.pipe.send(int(site.listeners["console"].rpartition(":")[2]))

        late, share = trio.run(lateness_of, made, lasting_s, started)
    return percentile(late, 0.99) * 1000, percentile(late, 0.5) * 1000, share * 100


# --- the operators ----------------------------------------------------------------------------------------------------


def _browsers(pipe: Connection, count: int) -> None:
    """For a child: once told the console's port, `count` browsers until the console closes."""
    pipe.send(None)
    trio.run(_look, pipe.recv(), count)


async def _look(port: int, count: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(_keep_open, port)


async def _keep_open(port: int) -> None:
    """A browser's event source that listens to the site page, and asks for it again when told to."""
    head = f"HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    page = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream, page:
        await stream.send_all(b"GET /live " + head + b"\r\n")
        while data := await stream.receive_some(65536):
            if b"look again" in data:
                await page.send_all(b"GET / " + head + b"X-Varde-Live: 1\r\n\r\n")
                await _whole(page)


async def _whole(page: trio.SocketStream) -> None:
    received = b""
    while (end := received.find(b"\r\n\r\n")) < 0:
        received += await page.receive_some(65536)
    found = re.search(rb"\r\ncontent-length: *(\d+)", received[:end], re.IGNORECASE)
    assert found, received[:200]
    left = int(found[1]) - (len(received) - end - 4)
    while left > 0:
        left -= len(await page.receive_some(65536))
