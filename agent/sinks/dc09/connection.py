"""A socket to a receiver with one frame in flight.

Facts. Receivers exist that do not join segments, that answer NAK to two frames in one segment, that send a NAK twice
and close, and a NAK names no account. Decision: one frame at a time on a connection, in one piece, whatever came
unasked thrown away before the next; a second account at the same time has a connection of its own.
"""

import socket
from collections.abc import Callable
from typing import Literal, Self

import trio

from agent.sinks.dc09.frame import Reply, read_replies

Protocol = Literal["tcp", "udp"]


class Connection:
    """Made by `open`. Every method raises OSError when the connection breaks."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._is_stream = connected.type == socket.SOCK_STREAM
        self._received = b""
        self.idle_since = 0.0

    @classmethod
    async def open(cls, host: str, port: int, protocol: Protocol) -> Self:
        """Raises OSError; the caller sets the time limit."""
        if protocol == "tcp":
            stream = await trio.open_tcp_stream(host, port)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            opened = stream.socket
        else:
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
            family, kind, number, _, address = found[0]
            opened = trio.socket.socket(family, kind, number)
            try:
                await opened.connect(address)
            except BaseException:
                opened.close()
                raise
        # The socket itself, since trio's wrapper takes a turn of the scheduler for a send that never blocks.
        plain = socket.socket(opened.family, opened.type, opened.proto, fileno=opened.detach())
        plain.setblocking(False)
        return cls(plain)

    def is_open(self) -> bool:
        """Throw away what came unasked; False where the far end has closed."""
        self._received = b""
        try:
            while self._socket.recv(4096) or not self._is_stream:
                pass
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    async def send(self, frame: bytes) -> None:
        """In one piece: a frame is smaller than any send buffer that is empty."""
        rest = frame
        while True:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                pass
            if not rest:
                return
            await trio.lowlevel.wait_writable(self._socket)

    async def reply(self, wanted: Callable[[Reply], bool]) -> Reply:
        """The first reply that is `wanted`; others and garbage are passed over. The caller sets the time limit."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                data = self._socket.recv(4096)
            except BlockingIOError:
                continue
            if not data and self._is_stream:
                raise ConnectionResetError("the receiver closes the connection")
            replies, self._received = read_replies(self._received + data)
            for reply in replies:
                if wanted(reply):
                    return reply

    def close(self) -> None:
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()
