"""Callers that mean no good, on every listener.

Never lost: the service of the good ones, and the alarms.
"""

import json
import resource
import socket
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import trio
from harness import KEY, TOKEN
from hostile import LONG, Site, put_client, raise_alarm

CONNECTIONS = 1000
WRONG_KEYS = 10_000 if LONG else 2_000
REPLACEMENTS = 3_000 if LONG else 100
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


def busy_s(site: Site) -> float:
    """Processor time that the daemon has used."""
    assert site.agent.process is not None
    fields = Path(f"/proc/{site.agent.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def test_wrong_keys_cost_less_than_good_ones_and_are_counted(site: Site) -> None:
    await site.start()
    url = await site.url("patriot")
    assert await put_client(url, 1, "good") == 201
    limits = httpx.Limits(max_connections=50)
    good_key = {"Authorization": f"Bearer {KEY}", "X-Client-Id": "1"}
    statuses: list[int] = []

    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:

        async def ask(headers: dict[str, str], times: int) -> None:
            for _ in range(times):
                statuses.append((await http.get("/clients", headers=headers)).status_code)

        begun = busy_s(site)
        await ask(good_key, 300)
        good_s = (busy_s(site) - begun) / 300
        begun = busy_s(site)
        async with trio.open_nursery() as nursery:
            for number in range(40):
                wrong = {"Authorization": f"Bearer wrong-{number}", "X-Client-Id": "1"}
                nursery.start_soon(ask, wrong, WRONG_KEYS // 40)
            nursery.start_soon(ask, good_key, 20)
        wrong_s = (busy_s(site) - begun) / WRONG_KEYS
    assert statuses.count(200) == 320, "every good one is served"
    assert statuses.count(401) == WRONG_KEYS
    assert wrong_s < good_s, (wrong_s, good_s)
    assert await trio.to_thread.run_sync(counted, await site.url("metrics"), "401") == WRONG_KEYS
    assert site.agent.log().count("\n") < 30, "and not a line each where people look"


def counted(url: str, status: str) -> float:
    """How many requests the metrics page tells with this status."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    name = "varde_patriot_requests_total"
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name) and f'"{status}"' in line)


async def test_the_key_file_is_replaced_a_hundred_times_a_second(site: Site) -> None:
    """By another process, also with half a file now and then: a good key works throughout, the last edit counts."""
    await site.start()
    url = await site.url("patriot")
    entry = {"key_name": "Test", "key": KEY, "enabled": True, "port": "BASE11"}
    last = {"key_name": "Last", "key": "l" * 20, "enabled": True, "port": "BASE12"}

    async def replace() -> None:
        for number in range(REPLACEMENTS):
            text = json.dumps([entry, {**last, "key": f"{number:020d}"}])
            new = site.agent.keys.with_suffix(".new")
            await trio.to_thread.run_sync(new.write_text, text[: len(text) // 2] if number % 7 == 3 else text)
            await trio.to_thread.run_sync(new.rename, site.agent.keys)
            await trio.sleep(0.01)
        await trio.to_thread.run_sync(site.agent.keys.write_text, json.dumps([entry, last]))
        nursery.cancel_scope.cancel()

    statuses = set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(replace)
        for number in range(1, 10**6):
            statuses.add(await put_client(url, number % 20 + 1, f"name {number}"))
    assert statuses <= {200, 201}, statuses

    def last_edit_counts() -> bool:
        headers = {"Authorization": f"Bearer {'l' * 20}", "X-Client-Id": "1"}
        return httpx.get(f"{url}/clients", headers=headers).status_code == 404

    await site.until(last_edit_counts, "the last edit counts")
    await site.until(lambda: site.agent.get("/api/v1/status")["state"] == "ok", "and nothing is left to say")
    site.assert_no_defect_logged()
