"""What a poll costs, how punctual forty devices are polled, how soon an alarm is where it must be."""

import http.client
import socket
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import h11
import httpx
import trio

from agent.alarms.journal import Journal
from agent.alarms.polling import Poller
from agent.metrics import Metrics
from agent.settings.sources import DavantisSource as DavantisSettings
from agent.sinks.dc09.receiver import Receiver
from agent.store import Store
from agent.vendors.davantis.source import DavantisSource
from measuring import device
from measuring.children import child, in_process
from measuring.figure import Figure, Size, Table, percentile, pick
from measuring.punctuality import lateness_of
from measuring.site import davantis, running_site, settings, until

INTERVAL_S = 0.25
QUESTION = "/alarms?min_id=999"
HEADERS = {"Authorization": "Bearer token", "Accept": "*/*", "User-Agent": "bench", "Accept-Encoding": "identity"}


# --- the processor's share of a poll ----------------------------------------------------------------------------------


def poll_cpu(size: Size, directory: Path) -> list[Figure]:
    polls = pick(size, 2000, 1000, 20)
    with child(device.serve) as far:
        costs = trio.run(_costs, far.ready[0], directory, polls, pick(size, 7, 3, 1))
    table = Table("poll-cpu")
    ours = costs.pop("ours")
    limits = {"httpx": 1.5}
    for name, cost in costs.items():
        table.ratio("one poll, nothing new", ours, "µs", cost, f"bare loop of {name}", most=limits.get(name))
    return table.figures


async def _costs(url: str, directory: Path, polls: int, rounds: int) -> dict[str, float]:
    """Microseconds of processor time a poll, the whole process counted."""
    store = Store.open(directory / "varde.db")
    poller = _poller(url, store)
    address = urlsplit(url)
    async with httpx.AsyncClient(base_url=url, headers=HEADERS, trust_env=False, verify=False) as loop:
        await poller._once()
        await poller._once()  # the first is about where to begin
        works: dict[str, Callable[[], Awaitable[None]]] = {
            "ours": partial(_ours, poller, polls),
            "httpx": partial(_httpx, loop, polls),
            "http.client": partial(_http_client, address.hostname or "", address.port or 0, polls),
            "h11": partial(_h11, address.hostname or "", address.port or 0, polls),
        }
        found: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(rounds):
            for name, work in works.items():
                begun = time.process_time()
                await work()
                found[name].append((time.process_time() - begun) / polls * 1e6)
    await poller.source.aclose()
    store.close()
    return {name: statistics.median(costs) for name, costs in found.items()}


def _poller(url: str, store: Store) -> Poller:
    metrics = Metrics()
    made = DavantisSettings.model_validate(davantis("yard", url))
    metrics.add_source("yard", "davantis")
    return Poller(made, DavantisSource(made), Journal(store, metrics, lambda connection, alarm: None), metrics)


async def _ours(poller: Poller, polls: int) -> None:
    for _ in range(polls):
        await poller._once()
    assert poller.state == "up", poller.fault


async def _httpx(client: httpx.AsyncClient, polls: int) -> None:
    for _ in range(polls):
        response = await client.get(QUESTION)
        assert response.status_code == 204


async def _http_client(host: str, port: int, polls: int) -> None:
    connection = http.client.HTTPConnection(host, port)
    for _ in range(polls):
        connection.request("GET", QUESTION, headers=HEADERS)
        response = connection.getresponse()
        response.read()
        assert response.status == 204
    connection.close()


async def _h11(host: str, port: int, polls: int) -> None:
    with socket.create_connection((host, port)) as connected:
        machine = h11.Connection(h11.CLIENT)
        headers = [("Host", f"{host}:{port}"), *HEADERS.items()]
        for _ in range(polls):
            connected.sendall(machine.send(h11.Request(method="GET", target=QUESTION, headers=headers)) or b"")
            connected.sendall(machine.send(h11.EndOfMessage()) or b"")
            while type(event := machine.next_event()) is not h11.EndOfMessage:
                if event is h11.NEED_DATA:
                    machine.receive_data(connected.recv(4096))
            machine.start_next_cycle()


# --- forty devices ----------------------------------------------------------------------------------------------------

FAST_S = 0.1


def lateness(size: Size, directory: Path) -> list[Figure]:
    count = pick(size, 40, 40, 2)
    with child(device.serve, count, core=1) as far:
        sources = [davantis(f"d{index}", url, poll_interval_s=FAST_S) for index, url in enumerate(far.ready)]
        made = settings(directory, sources=sources)
        found, cpu = in_process(trio.run, lateness_of, made, pick(size, 30.0, 8.0, 0.5), core=0)
    table = Table("poll-lateness")
    late = [late_s * 1000 for late_s in found]
    each = f"{count} devices × 10 polls/s, one core"
    table.ratio(f"{each}: lateness, p99", percentile(late, 0.99), "ms", FAST_S * 1000, "the interval", most=0.2)
    table.ratio(f"{each}: lateness, p50", percentile(late, 0.5), "ms", FAST_S * 1000, "the interval")
    table.value(f"{each}: processor", cpu * 100, "% of a core")
    return table.figures


# --- from the device to the journal and to the monitoring centre ------------------------------------------------------


def latency(size: Size, directory: Path) -> list[Figure]:
    devices, alarms = pick(size, (4, 100), (4, 32), (2, 3))
    with child(device.serve, devices) as far, child(serve_receiver) as centre:
        raised, journalled, acknowledged = trio.run(_latency, far, centre.ready, directory, devices, alarms)
    table = Table("alarm-latency")
    to_journal = [(journalled[key] - at) * 1000 for key, at in raised.items()]
    to_centre = [(acknowledged[key] - at) * 1000 for key, at in raised.items()]
    whole = INTERVAL_S * 1000
    for what, values, part, floor, more in (
        ("journalled", to_journal, 0.5, whole / 2, 5),
        ("journalled", to_journal, 0.99, whole, 20),
        ("DC-09 acknowledged", to_centre, 0.99, whole, 30),
        ("DC-09 acknowledged", to_centre, 0.5, whole / 2, None),
    ):
        found = percentile(values, part)
        name = f"raised → {what}, p{part * 100:g}"
        floor_name = "half the interval" if part == 0.5 else "the interval"
        figure = Figure("alarm-latency", name, found, "ms", floor, floor_name, found - floor, "ms more", more)
        table.figures.append(figure)
    return table.figures


async def _latency(
    far: Any, port: int, directory: Path, devices: int, alarms: int
) -> tuple[dict[Any, float], dict[Any, float], dict[Any, float]]:
    """(device, native id) → the moment it was raised, journalled, acknowledged."""
    sources = [davantis(f"d{index}", url, poll_interval_s=INTERVAL_S) for index, url in enumerate(far.ready)]
    sink = {
        "name": "centre",
        "kind": "sia-dc09",
        "host": "127.0.0.1",
        "port": port,
        "encryption_key": f"hex:{KEY.hex()}",
    }
    journalled: dict[Any, float] = {}
    acknowledged: dict[Any, float] = {}
    async with running_site(settings(directory, sources=sources, sinks=[sink])) as site:
        record = site.journal.record

        async def noting_record(source: str, *details: Any) -> Any:
            recorded = await record(source, *details)
            now = time.monotonic()
            journalled.update(dict.fromkeys(((int(source[1:]), entry.alarm.native_id) for entry in recorded), now))
            return recorded

        site.journal.record = noting_record
        deliver = site.dispatchers["centre"].sink.deliver

        async def noting_deliver(delivery: Any) -> None:
            await deliver(delivery)
            key = (int(delivery.alarm.source[1:]), delivery.alarm.alarm.native_id)
            acknowledged[key] = time.monotonic()

        site.dispatchers["centre"].sink.deliver = noting_deliver
        await until(lambda: all(poller.state == "up" for poller in site.pollers.values()))
        await trio.to_thread.run_sync(far.ask, ("raise", _moments(devices, alarms)))
        raised = await trio.to_thread.run_sync(far.ask, "raised")
        with trio.fail_after(60):
            await until(lambda: raised.keys() <= acknowledged.keys())
    return raised, journalled, acknowledged


def _moments(devices: int, alarms: int) -> list[tuple[float, int]]:
    """When to raise alarms: every part of the interval between polls equally often, so that chance has no part."""
    step = 2 * INTERVAL_S + INTERVAL_S / alarms
    return [(number * step + index * 0.037, index) for index in range(devices) for number in range(alarms)]


KEY = bytes(range(16))


def serve_receiver(pipe: Connection, key: bytes | None = KEY) -> None:
    """For a child: the built-in receiver, which reads, deciphers and checks every frame; sends its port."""

    async def serve() -> None:
        receiver = Receiver(keys={"": key} if key else {}, window=None)
        async with trio.open_nursery() as nursery:
            pipe.send(await nursery.start(receiver.serve))

    trio.run(serve)
