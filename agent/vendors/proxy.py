"""A TCP proxy in front of a simulator, where a laboratory's troubles happen.

    client ──▶ port ──▶ Connection ──▶ the simulator's own HTTP server, on another loopback port
                            │ every request line passes here: noted, and matched against the troubles
                            └ stall, reset, close, a canned answer, or a slowed one

It sits below HTTP because half of what devices do to their callers cannot be said in HTTP. A request is recognised by
a chunk that starts with a request line, which is how HTTP libraries write; a head cut in two passes unmatched.
"""

import hashlib
import re
import socket
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum

import trio

CHUNK_BYTES = 64 * 1024
REQUEST_LINE = re.compile(rb"([A-Z]{3,10}) (\S+) HTTP/1\.[01]\r\n")
RESET = struct.pack("ii", 1, 0)  # linger on, zero seconds: close sends RST instead of FIN


class Ill(StrEnum):
    """What can be wrong with a device's answer."""

    STALL = "stall"  # the request is taken and nothing ever comes back
    RESET = "reset"  # TCP RST
    CLOSE = "close"  # the connection ends without an answer
    GARBAGE = "garbage"  # bytes that are no HTTP
    HTML = "html"  # somebody else's error page, with `status`
    WRONG_JSON = "wrong_json"  # 200 and well-formed JSON of no documented shape
    STATUS = "status"  # a bare `status`, with Retry-After where `retry_after_s` is set
    LOST = "lost"  # the request is carried out, and the connection ends before the answer
    DRIBBLE = "dribble"  # the true answer, one byte every `delay_s`
    HUGE = "huge"  # 200 and a body that never ends
    LATENCY = "latency"  # the true answer, `delay_s` late


@dataclass(slots=True)
class Trouble:
    """One ill, for requests whose path starts with `path` (None: all), `times` times (None: until cleared)."""

    ill: Ill
    path: str | None = None
    times: int | None = None
    status: int = 503
    retry_after_s: int | None = None
    location: str | None = None
    """a redirect's target, with a `status` of 301 to 308"""
    delay_s: float = 0.2
    body: bytes | None = None
    """replaces the canned body of HTML, WRONG_JSON and STATUS"""

    def takes(self, path: str) -> bool:
        """Whether this trouble befalls a request to `path`; counts it when it does."""
        if self.times == 0 or (self.path is not None and not path.startswith(self.path)):
            return False
        if self.times is not None:
            self.times -= 1
        return True


Match = Callable[[str, str], Trouble | None]
"""Asked once a request with method and path (query included)."""


class Connection:
    """One client's connection, relayed to the server until a trouble says otherwise."""

    def __init__(self, client: trio.SocketStream, server: trio.SocketStream, match: Match) -> None:
        self.client = client
        self.server = server
        self.match = match
        self._byte_delay_s: float | None = None
        self._answer_lost = False
        self._taken_over = False  # no answer of the server's reaches the client any more

    async def run(self) -> None:
        """Until either end closes. Cancelling it resets the client's connection."""
        try:
            async with self.client, self.server:
                await self._relay()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass  # an end that went away is what laboratories are for

    async def _relay(self) -> None:
        ended = False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._answers, nursery.cancel_scope)
                await self._requests()
                nursery.cancel_scope.cancel()
            ended = True
        finally:
            if not ended:
                self.reset()

    async def _requests(self) -> None:
        async for chunk in self.client:
            line = REQUEST_LINE.match(chunk)
            trouble = self.match(line[1].decode(), line[2].decode("latin-1")) if line else None
            if trouble is not None and not await self._befall(trouble):
                return
            await self.server.send_all(chunk)

    async def _answers(self, scope: trio.CancelScope) -> None:
        async for chunk in self.server:
            if self._answer_lost:
                break
            if self._byte_delay_s is None:
                await self.client.send_all(chunk)
            else:
                await self._dribble(chunk, self._byte_delay_s)
        if not self._taken_over:
            scope.cancel()

    async def _dribble(self, chunk: bytes | bytearray, delay_s: float) -> None:
        for index in range(len(chunk)):
            await self.client.send_all(chunk[index : index + 1])
            await trio.sleep(delay_s)

    async def _befall(self, trouble: Trouble) -> bool:
        """Do what the trouble says; whether the request still goes to the server."""
        if trouble.ill is Ill.LATENCY:
            await trio.sleep(trouble.delay_s)
            return True
        if trouble.ill is Ill.LOST:
            self._answer_lost = True
            return True
        if trouble.ill is Ill.DRIBBLE:
            self._byte_delay_s = trouble.delay_s
            return True
        self._taken_over = True
        if trouble.ill is Ill.RESET:
            self.reset()
        elif trouble.ill is Ill.STALL:
            async for _ in self.client:
                pass
        else:
            async with aclosing(canned(trouble)) as parts:
                async for part in parts:
                    await self.client.send_all(part)
        return False

    def reset(self) -> None:
        """Make the coming close a TCP RST."""
        if self.client.socket.fileno() >= 0:
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


async def canned(trouble: Trouble) -> AsyncGenerator[bytes, None]:
    """The bytes of an answer that never came from the simulator; none for CLOSE."""
    if trouble.ill is Ill.GARBAGE:
        yield hashlib.shake_256(b"varde").digest(512)
    elif trouble.ill is Ill.HTML:
        body = trouble.body or b"<!DOCTYPE html><html><title>Error</title><h1>Something went wrong</h1></html>"
        yield _answer(trouble, trouble.status, "text/html; charset=utf-8", body)
    elif trouble.ill is Ill.WRONG_JSON:
        yield _answer(trouble, 200, "application/json", trouble.body or b'{"weather": [null, {"rain": -1e9}, "soon"]}')
    elif trouble.ill is Ill.STATUS:
        yield _answer(trouble, trouble.status, "text/plain", trouble.body or b"")
    elif trouble.ill is Ill.HUGE:
        yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        block = b"%x\r\n%b\r\n" % (CHUNK_BYTES, b"[" * CHUNK_BYTES)
        while True:
            yield block


def _answer(trouble: Trouble, status: int, content_type: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} Laboratory\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    if trouble.retry_after_s is not None:
        head += f"Retry-After: {trouble.retry_after_s}\r\n"
    if trouble.location is not None:
        head += f"Location: {trouble.location}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body
