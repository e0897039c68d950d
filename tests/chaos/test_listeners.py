"""Callers that mean no good, on every listener.

Never lost: the service of the good ones, and the alarms.
"""

import resource
import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest
import trio
from harness import TOKEN
from hostile import LONG, Site, put_client, raise_alarm

CONNECTIONS = 1000
WRONG_KEYS = 10_000 if LONG else 2_000
REPLACEMENTS = 3_000 if LONG else 300
SOFT_LIMIT = 1024  # what systemd gives a service unless told otherwise


@pytest.fixture
def many_descriptors() -> None:
    """This process opens thousands of connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 8192:
        pytest.skip("the machine allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 8192), hard))


async def good_requests(site: Site, urls: dict[str, str], number: int) -> None:
    """One of each listener; each within its usual limit."""
    assert await put_client(urls["patriot"], number, "good") in (200, 201)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(timeout=30) as http:
        assert (await http.get(f"{urls['console']}/api/v1/status", headers=headers)).status_code == 200
        assert (await http.get(f"{urls['metrics']}/readyz")).status_code == 200
    await site.get("/api/v1/sources")


def slow_header(address: tuple[str, int] | str) -> socket.socket:
    caller = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    caller.connect(address)  # blocking: with a timeout, a full queue of a Unix socket is an error at once
    caller.sendall(b"GET /clients HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    return caller


async def test_a_thousand_slow_headers_on_each_listener(site: Site, many_descriptors: None) -> None:
    await site.add_device(poll_interval_s=0.1)
    await site.add_receiver(supervision_interval_s=0)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    site.agent.before = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT_LIMIT, hard))
    await site.start()
    urls = (await site.get("/api/v1/status"))["listeners"]
    places = [urlsplit(urls[name]) for name in ("patriot", "console", "metrics")]
    addresses = [(place.hostname, place.port) for place in places] + [urls["control"]]
    await good_requests(site, urls, 1)
    before = site.memory_kb()
    with ExitStack() as opened:
        raised = []
        for number in range(CONNECTIONS):
            for address in addresses:
                opened.enter_context(await trio.to_thread.run_sync(slow_header, address))
            if number % 250 == 249:
                raised.append(raise_alarm(site.devices["yard"], len(raised) + 1))
                await good_requests(site, urls, number)
        await site.until(lambda: len(site.journalled()) == len(raised), "alarms are journalled meanwhile")
        await site.until(lambda: site.pending() == 0, "and delivered")
        grown = (site.memory_kb() - before) / (CONNECTIONS * len(addresses))
        assert grown < 60, "kilobytes a connection"
        print(f"{grown:.1f} kB a connection")
    await site.until(lambda: site.descriptors() < 200, "and nothing of them stays")
    await good_requests(site, urls, 5000)
    site.assert_delivered(raised)
    site.assert_no_defect_logged()
