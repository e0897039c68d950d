"""The simulators' common laboratory: a vendor's HTTP behaviour on loopback, and troubles on demand.

    laboratory = Laboratory(app)
    url = await nursery.start(laboratory.serve)         # any free port of 127.0.0.1
    laboratory.inject(Ill.RESET, path="/alarms", times=3)
    laboratory.clear()
    laboratory.close_port()                             # an outage: refused, and open connections reset
    laboratory.open_port()                              # back, at the same port
    laboratory.requests                                 # ["POST /oauth/token", "GET /alarms?min_id=7", ...]
    laboratory.stop.set()                               # or cancel the nursery

`Simulator` is what the four vendors' simulators have in common; demo, `varde simulate` and the tests know only that.
"""

import itertools
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Any, ClassVar

import trio

from agent import serving
from agent.vendors.proxy import Connection, Ill, Trouble

__all__ = ["Ill", "Laboratory", "Simulator", "Trouble"]

REQUESTS_KEPT = 10_000


class Laboratory:
    """Serves one ASGI app behind a proxy that plays the faults of a bad network and a bad device."""

    def __init__(self, app: serving.App) -> None:
        self.app = app
        self.url = ""
        self.stop = trio.Event()
        self.requests: deque[str] = deque(maxlen=REQUESTS_KEPT)
        self.troubles: list[Trouble] = []
        self._host, self._port = "127.0.0.1", 0
        self._server_port = 0
        self._listener: trio.SocketListener | None = None
        self._scope = trio.CancelScope()
        self._opened = trio.Event()
        self._asked = trio.Event()

    def inject(self, ill: Ill, **details: Any) -> Trouble:
        """Let `ill` befall coming requests; `details` are `Trouble`'s. The first trouble that matches wins."""
        trouble = Trouble(ill, **details)
        self.troubles.append(trouble)
        return trouble

    def clear(self) -> None:
        """No more troubles; connections that already stall or dribble stay so until their client gives up."""
        self.troubles.clear()

    def close_port(self) -> None:
        """Refuse new connections and reset those there are, from now until `open_port`."""
        if self._listener is not None:
            self._listener.socket.close()
            self._listener = None
        self._opened = trio.Event()
        self._scope.cancel()

    def open_port(self) -> None:
        """Listen again where it was; raises `serving.CannotListen` where somebody took the port meanwhile."""
        if self._listener is None:
            listener = serving.listen_tcp(self._host, self._port)
            self._port, self.url = listener.port, listener.url
            self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(listener.socket))
        self._opened.set()

    def count(self, start: str) -> int:
        """How many requests so far begin with `start` ("GET /alarms")."""
        return sum(request.startswith(start) for request in self.requests)

    async def asked(self, start: str, times: int = 1) -> None:
        """Wait until `count(start)` is at least `times`."""
        while self.count(start) < times:
            await self._asked.wait()

    async def serve(
        self, host: str = "127.0.0.1", port: int = 0, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until `stop` or cancellation; `task_status` gives the url."""
        self._host, self._port = host, port
        self.open_port()
        server = serving.listen_tcp("127.0.0.1", 0)
        self._server_port = server.port
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(serving.serve, self.app, server, self.stop)
                nursery.start_soon(self._stopping, nursery.cancel_scope)
                task_status.started(self.url)
                while True:
                    await self._accept()
                    await self._opened.wait()
        finally:
            self.close_port()

    async def _stopping(self, scope: trio.CancelScope) -> None:
        await self.stop.wait()
        scope.cancel()

    async def _accept(self) -> None:
        """Relay connections until the port is closed."""
        with trio.CancelScope() as self._scope:
            try:
                if self._listener is not None:
                    await trio.serve_listeners(self._relay, [self._listener])
            except* trio.ClosedResourceError:
                pass  # close_port

    async def _relay(self, client: trio.SocketStream) -> None:
        try:
            server = await trio.open_tcp_stream("127.0.0.1", self._server_port)
        except OSError:  # the server behind has stopped
            await client.aclose()
            return
        await Connection(client, server, self._match).run()

    def _match(self, method: str, path: str) -> Trouble | None:
        self.requests.append(f"{method} {path}")
        self._asked.set()
        self._asked = trio.Event()
        return next((trouble for trouble in self.troubles if trouble.takes(path)), None)


class Simulator(ABC):
    """A vendor's device or cloud. A subclass sets `app` before `super().__init__()` is called.

    `kinds` are the events that `schedule` goes through in turn, in the words `raise_event` takes.
    """

    kinds: ClassVar[Sequence[str]]

    def __init__(self, app: serving.App) -> None:
        self.laboratory = Laboratory(app)

    @property
    def url(self) -> str:
        """Where it is served; "" before `serve` has started."""
        return self.laboratory.url

    @abstractmethod
    def credentials(self) -> dict[str, str]:
        """What an operator types: `username` and `password`, or `api_user` and `api_key`."""

    @abstractmethod
    def raise_event(self, kind: str | None = None, **details: Any) -> str:
        """Let something happen at the device, now; its native id. Without a kind: an ordinary alarm."""

    @abstractmethod
    def settings(self, name: str) -> dict[str, Any]:
        """A `[[sources]]` entry that points here."""

    async def serve(
        self, host: str = "127.0.0.1", port: int = 0, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled or `laboratory.stop`; `task_status` gives the url."""
        await self.laboratory.serve(host, port, task_status=task_status)

    async def schedule(self, every_s: float) -> None:
        """Raise an event at once and every `every_s` from then on, for ever."""
        for kind in itertools.cycle(self.kinds):
            self.raise_event(kind)
            await trio.sleep(every_s)
