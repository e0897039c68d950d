"""DC-09 events acknowledged a second, beside a loop that sends ready-made frames and waits for each answer."""

import socket
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import trio

from agent.alarms.dispatch import Dispatcher
from agent.alarms.journal import Journal
from agent.alarms.model import JournalledAlarm
from agent.alarms.outbox import Outbox, enqueue
from agent.metrics import Metrics
from agent.settings.sinks import Dc09Sink as Dc09Settings
from agent.sinks.dc09.frame import LAST_SEQUENCE, Line
from agent.sinks.dc09.message import Wording
from agent.sinks.dc09.sink import Dc09Sink
from agent.store import Store
from measuring.backlog import chunks, made_alarms
from measuring.children import child
from measuring.figure import Figure, Size, Table, in_turn, pick
from measuring.polling import serve_receiver
from measuring.site import until

ACCOUNT = "9998"


def delivery(size: Size, directory: Path) -> list[Figure]:
    table = Table("dc09")
    for name, key in (("plain", None), ("AES-128", bytes(range(16))), ("AES-256", bytes(range(32)))):
        with child(serve_receiver, key) as centre:
            _measure(table, name, key, centre.ready, size, directory)
    return table.figures


def _measure(table: Table, name: str, key: bytes | None, port: int, size: Size, directory: Path) -> None:
    count = pick(size, 5000, 2000, 50)
    serial = iter(range(1000))
    found = in_turn(
        pick(size, 5, 3, 1),
        {
            "ours": lambda: trio.run(_ours, directory / f"{name}-{next(serial)}.db", port, key, count),
            "bare": lambda: _bare(port, key, count),
        },
    )
    what = f"events acknowledged, one account, {name}"
    table.ratio(what, found["ours"], "events/s", found["bare"], "bare loop of ready-made frames", least=0.5)


def _settings(port: int, key: bytes | None) -> Dc09Settings:
    secret = {"encryption_key": f"hex:{key.hex()}"} if key else {}
    table = {"name": "centre", "kind": "sia-dc09", "host": "127.0.0.1", "port": port, "supervision_interval_s": 0}
    return Dc09Settings.model_validate({**table, **secret})


async def _ours(path: Path, port: int, key: bytes | None, count: int) -> float:
    """Events a second, from a full outbox until the last is acknowledged and noted as such."""
    settings = _settings(port, key)
    store, metrics = Store.open(path), Metrics()
    journal = Journal(
        store, metrics, lambda connection, entry: enqueue(connection, entry, [settings], datetime.now(UTC))
    )
    outbox = Outbox(store)
    for chunk in chunks(made_alarms(count)):
        await journal.record("yard", chunk, None, lambda device: (ACCOUNT, int(device)))
    sink = Dc09Sink(settings, site="bench", change_state=partial(outbox.change_state, "centre"))
    dispatcher = Dispatcher(settings, sink, outbox, metrics)

    async def is_last_noted() -> bool:
        return bool((await outbox.list(state="acknowledged", after=count - 1, limit=1))[0])

    begun = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dispatcher.run)
        with trio.fail_after(110):
            # Nothing is asked while it runs: a look into the database would take the processor from it.
            await until(lambda: dispatcher.last_acknowledged_at is not None and not dispatcher.pending, 0.002)
            await until(is_last_noted, 0.002)
        took = time.perf_counter() - begun
        nursery.cancel_scope.cancel()
    store.close()
    return count / took


def _bare(port: int, key: bytes | None, count: int) -> float:
    frames = _ready_made(key, count)
    with socket.create_connection(("127.0.0.1", port)) as connected:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begun = time.perf_counter()
        for frame in frames:
            connected.sendall(frame)
            while not connected.recv(4096).endswith(b"\r"):
                pass
        return count / (time.perf_counter() - begun)


def _ready_made(key: bytes | None, count: int) -> Sequence[bytes]:
    """The frames that the sink itself would send."""
    wording, line, now = Wording(site="bench"), Line(ACCOUNT, key=key), datetime.now(UTC)
    frames = []
    for number, alarm in enumerate(made_alarms(count)):
        entry: Any = JournalledAlarm(number, "yard", now, ACCOUNT, int(alarm.device), alarm)
        message = wording.message(entry, line, now)
        sequence = number % LAST_SEQUENCE + 1
        frames.append(line.event(message.identifier, sequence, message.data, message.extended, at=now))
    return frames
