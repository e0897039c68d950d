"""The one place that serves HTTP: hypercorn's trio worker inside our nursery.

Facts (hypercorn 0.18 under trio, each reproduced). Its send is shielded and has no timeout, so a client that never
reads holds a stop for ever; it has no body timeout and no body limit by default; cancelling its nursery skips the ASGI
lifespan. Decisions: we bind the socket ourselves with `TCP_USER_TIMEOUT`, which the kernel enforces; a body
cap and a limit on bodies that stop arriving are ours (`BodyLimit`), since hypercorn's `read_timeout` also cuts off who
only listens to a stream; a server ends by its stop event only. A connection that its caller has closed is kept for the
whole keep-alive time, so fifty callers a second are a thousand open files: `_Connection` lets go at once. HTTP/2 is not
offered: a box's callers speak HTTP/1.1 and a second protocol is a second surface.
"""

import errno
import os
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypercorn.trio
import hypercorn.trio.run
import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 1024 * 1024
READ_TIMEOUT_S = 10.0
UNREAD_TIMEOUT_MS = 5000
GRACE_S = 5.0
KEEP_ALIVE_S = 20.0


class CannotListen(Exception):
    """An address that cannot be bound; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A bound, listening socket. `url` is where it is reached, with the real port."""

    socket: socket.socket
    url: str
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1]) if self.socket.family != socket.AF_UNIX else 0


def listen_tcp(host: str, port: int, *, tls_certificate: Path | None = None, tls_key: Path | None = None) -> Listener:
    """Bind `host:port` (0: a free port). Raises `CannotListen`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_TIMEOUT_MS)
        bound.bind((host, port))
        bound.listen(256)
    except OSError as error:
        bound.close()
        reason = "another process listens there" if error.errno == errno.EADDRINUSE else error.strerror
        raise CannotListen(f"cannot listen on {host}:{port}: {reason}") from None
    scheme = "https" if tls_certificate else "http"
    actual = bound.getsockname()[1]
    shown = f"[{host}]" if ":" in host else {"0.0.0.0": "127.0.0.1"}.get(host, host)
    return Listener(bound, f"{scheme}://{shown}:{actual}", tls_certificate, tls_key)


def listen_unix(path: Path, *, mode: int = 0o660) -> Listener:
    """Bind a Unix socket at `path`, which must not be served by anybody. Raises `CannotListen`."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists():
            _remove_if_dead(path)
        bound.bind(str(path))
        path.chmod(mode)
        bound.listen(64)
    except OSError as error:
        bound.close()
        raise CannotListen(f"cannot listen on {path}: {error.strerror or error}") from None
    return Listener(bound, str(path))


def _remove_if_dead(path: Path) -> None:
    """A socket file that nobody answers on was left by a process that was killed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        try:
            caller.connect(str(path))
        except OSError:
            path.unlink()
            return
    raise CannotListen(f"{path} is served by another varde process")


async def serve(
    app: App,
    listener: Listener,
    stop: trio.Event,
    *,
    max_body_bytes: int = MAX_BODY_BYTES,
    read_timeout_s: float = READ_TIMEOUT_S,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve `app` until `stop` is set; requests in flight get `GRACE_S` to finish. Closes the listener.

    `task_status.started` gives the listener's url. A request whose body is larger than `max_body_bytes` is answered
    413 before the app sees it whole; one whose body stops arriving for `read_timeout_s` is ended.
    """
    config = Config()
    config.bind = [f"fd://{os.dup(listener.socket.fileno())}"]
    config.alpn_protocols = ["http/1.1"]
    config.graceful_timeout = GRACE_S
    config.shutdown_timeout = GRACE_S
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.keep_alive_max_requests = 1_000_000
    config.include_server_header = False
    config.errorlog = None
    if listener.tls_certificate:
        config.certfile, config.keyfile = str(listener.tls_certificate), str(listener.tls_key)
    try:
        async with trio.open_nursery() as nursery:

            async def run(task_status: trio.TaskStatus[list[str]]) -> None:
                await hypercorn.trio.serve(
                    BodyLimit(app, max_body_bytes, read_timeout_s),  # type: ignore[arg-type]  # hypercorn types the scope as a union
                    config,
                    shutdown_trigger=stop.wait,
                    task_status=task_status,
                    mode="asgi",
                )

            await nursery.start(run)
            task_status.started(listener.url)
    finally:
        listener.socket.close()


class _Connection(TCPServer):
    """One caller's connection, without the wait for a next request from a caller who has gone."""

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()


# hypercorn looks the class up here for each server, and offers no other way to say which.
vars(hypercorn.trio.run)["TCPServer"] = _Connection


class BodyLimit:
    """ASGI middleware: bounds of a request's body.

    One over `max_bytes` is 413, by its declared length or once it has grown past it; one whose next part does not
    arrive within `read_timeout_s` is 408. The application then sees a caller that has gone.
    """

    def __init__(self, app: App, max_bytes: int, read_timeout_s: float = READ_TIMEOUT_S) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.read_timeout_s = read_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.max_bytes:
            await _refuse(send, 413, self._too_large)
            return
        body = _Body(self, receive, send)
        await self.app(scope, body.receive, body.send)

    @property
    def _too_large(self) -> str:
        return f"the body is larger than {self.max_bytes} bytes"


class _Body:
    """One request's body while the application reads it."""

    def __init__(self, limit: BodyLimit, receive: Receive, send: Send) -> None:
        self._limit = limit
        self._receive = receive
        self._send = send
        self._size = 0
        self._whole = self._answered = self._refused = False

    async def receive(self) -> MutableMapping[str, Any]:
        if self._refused:
            return {"type": "http.disconnect"}
        if self._whole:
            return await self._receive()  # only the caller's going is still to come, whenever that is
        with trio.move_on_after(self._limit.read_timeout_s) as scope:
            message = await self._receive()
        if scope.cancelled_caught:
            return await self._end(408, f"the body stopped arriving for {self._limit.read_timeout_s:g} s")
        self._whole = not message.get("more_body", False)
        self._size += len(message.get("body", b""))
        if self._size > self._limit.max_bytes:
            return await self._end(413, self._limit._too_large)
        return message

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self._answered = True
        if not self._refused:
            await self._send(message)

    async def _end(self, status: int, detail: str) -> MutableMapping[str, Any]:
        """Frameworks turn an exception from `receive` into their own 400, so the answer is given here and at once."""
        self._refused = True
        if not self._answered:
            await _refuse(self._send, status, detail)
        return {"type": "http.disconnect"}


async def _refuse(send: Send, status: int, detail: str) -> None:
    body = b'{"detail":"%b"}' % detail.encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
