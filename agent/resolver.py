"""Names to addresses, so that a name server that hangs costs nobody else anything.

Facts. The system's look-up blocks a thread for as long as its name server is silent, half a minute and more, and cannot
be stopped; trio gives look-ups the forty threads that everything else shares. Decision: each name has one thread of its
own at most, outside those; who gives up waiting leaves it behind, and the next to ask for that name waits for it.
"""

import socket
from functools import partial
from typing import Any

import trio


class Resolver(trio.abc.HostnameResolver):
    """Install with `trio.socket.set_custom_hostname_resolver`. Threads are bounded by the names that are configured."""

    def __init__(self) -> None:
        self._limits: dict[bytes | None, trio.CapacityLimiter] = {}

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        limit = self._limits.setdefault(host, trio.CapacityLimiter(1))
        look_up = partial(socket.getaddrinfo, host, port, family, type, proto, flags)
        return await trio.to_thread.run_sync(look_up, abandon_on_cancel=True, limiter=limit)

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        return await trio.to_thread.run_sync(socket.getnameinfo, sockaddr, flags, abandon_on_cancel=True)
