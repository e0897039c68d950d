"""A DAVANTIS device that costs next to nothing: fixed answers, no framework, any number of devices in one process.

The simulator that ships is right in every oddity and would be the bottleneck here; this one only knows what an idle
device and one with a new alarm answer. What it says of its alarms' moments is by the machine's monotonic clock, which
all processes share.
"""

import asyncio
import heapq
import json
import re
import time
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection
from urllib.parse import parse_qs

_PATH = re.compile(rb"^[A-Z]+ ([^ ?]+)\??([^ ]*) HTTP")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
NOTHING = b"HTTP/1.1 204 No Content\r\n\r\n"
PICTURE = b"\xff\xd8\xff\xe0" + bytes(20_000) + b"\xff\xd9"
FIRST = 1000


class Device:
    """`alarms` are the rows as listed, oldest first; `raised` is when, by id. `requests` counts everything asked."""

    def __init__(self) -> None:
        self.alarms: list[bytes] = []
        self.raised: dict[str, float] = {}
        self.requests = 0

    def happen(self) -> None:
        number = FIRST + len(self.alarms)
        started = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        row = {
            "id": number, "idmachine": "BENCH", "idrule": 2, "idevent": 2, "idcamera": 1 + number % 4,
            "description": "detected.person", "description_translation": "Person detected",
            "started": started, "ended": started, "ack": "N",
            "snapshot_status": "ready", "snapshot_absolute": f"http://192.0.2.1:21000/alarms/{number}/snapshot",
            "video_status": "unavailable", "video_absolute": "",
        }  # fmt: skip
        self.alarms.append(json.dumps(row).encode())
        self.raised[str(number)] = time.monotonic()

    def answer(self, path: bytes, query: bytes) -> bytes:
        self.requests += 1
        if path == b"/alarms":
            return self._listed(query)
        if path == b"/oauth/token":
            return _json(b'{"access_token":"token","token_type":"bearer","expires_in":86400,"refresh_token":"again"}')
        if path == b"/installation":
            return _json(b'{"name":"Bench","current_utc_offset":"+00:00"}')
        if path.endswith(b"/snapshot"):
            return b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b" % (
                len(PICTURE),
                PICTURE,
            )
        return _json(b"[]")

    def _listed(self, query: bytes) -> bytes:
        asked = parse_qs(query.decode())
        lowest = int(asked.get("min_id", ["-1"])[0]) + 1
        chosen = self.alarms[max(0, lowest - FIRST) :][-300:]
        return _json(b"[" + b",".join(reversed(chosen)) + b"]") if chosen else NOTHING


class _Connection(asyncio.Protocol):
    def __init__(self, device: Device) -> None:
        self._device = device
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._received, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._received) < whole:
                return
            found = _PATH.match(self._received)
            self._received = self._received[whole:]
            self._transport.write(self._device.answer(found[1], found[2]) if found else b"")


def _json(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def serve(pipe: Connection, count: int = 1) -> None:
    """For a child: sends the urls; `("raise", moments)` plans alarms as (seconds from now, device); `"raised"` tells
    when each was raised, as (device, native id) → seconds; `"requests"` how many were answered.
    """
    asyncio.run(_serve(pipe, count))


async def _serve(pipe: Connection, count: int) -> None:
    loop = asyncio.get_running_loop()
    devices = [Device() for _ in range(count)]
    ports = []
    for device in devices:
        server = await loop.create_server(partial(_Connection, device), "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
    pipe.send([f"http://127.0.0.1:{port}" for port in ports])
    while True:
        question = await loop.run_in_executor(None, pipe.recv)
        if question == "raised":
            pipe.send({(index, key): at for index, device in enumerate(devices) for key, at in device.raised.items()})
        elif question == "requests":
            pipe.send([device.requests for device in devices])
        else:
            await _raise(devices, question[1])
            pipe.send(None)


async def _raise(devices: list[Device], moments: list[tuple[float, int]]) -> None:
    begun = time.monotonic()
    heapq.heapify(moments)
    while moments:
        after_s, index = heapq.heappop(moments)
        await asyncio.sleep(max(0.0, begun + after_s - time.monotonic()))
        devices[index].happen()
