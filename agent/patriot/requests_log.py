"""One line a request in api_requests.log, one count in the metrics.

    key=Alarm24 method=PUT route=/clients status=201 ms=12.4 from=10.0.0.7

A route is the API's own template, never what the caller wrote; a method the API does not know is OTHER. The caller's
address is the peer's, or behind a trusted reverse proxy the last address that no trusted proxy wrote.
"""

import ipaddress
import json
import logging
import time
from collections.abc import Callable, Collection, Sequence

from agent.patriot.auth import KEY
from agent.serving import App, Receive, Scope, Send

log = logging.getLogger("varde.api_requests")
faults = logging.getLogger("varde.patriot")

METHODS = frozenset({"GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS"})
UNMATCHED = "unmatched"

OnRequest = Callable[[str, str, int, float], None]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class RequestLog:
    """ASGI middleware, outermost. Calls `on_request(method, route, status, seconds)`; answers 500 for what escapes."""

    def __init__(
        self, app: App, routes: Collection[str], on_request: OnRequest, trusted_proxies: Sequence[str] = ()
    ) -> None:
        self.app = app
        self.routes = frozenset(routes)
        self.on_request = on_request
        self.trusted = networks(trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.monotonic()
        status = 0

        async def noting(message: Scope) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except Exception:
            faults.exception("a request failed inside the agent")
            if not status:
                await _internal_error(noting)
        finally:
            self._note(scope, status, time.monotonic() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        route = scope["path"] if scope["path"] in self.routes else UNMATCHED
        # Without a status the caller had gone before the answer: 499, as reverse proxies write it.
        self.on_request(method, route, status or 499, seconds)
        key = scope.get(KEY)
        log.info(
            "key=%s method=%s route=%s status=%d ms=%.1f from=%s",
            _quoted(key.name) if key else "-",
            method,
            route,
            status or 499,
            seconds * 1000,
            caller_address(scope, self.trusted),
        )


def networks(addresses: Sequence[str]) -> list[Network]:
    """Addresses or networks; what is neither is left out, since it can match no peer."""
    found: list[Network] = []
    for address in addresses:
        try:
            found.append(ipaddress.ip_network(address, strict=False))
        except ValueError:
            faults.warning("trusted_proxies: %r is no address and no network", address)
    return found


def caller_address(scope: Scope, trusted: Sequence[Network]) -> str:
    """The caller's address, "-" where the transport has none."""
    peer = scope["client"][0] if scope.get("client") else ""
    if not _is_trusted(peer, trusted):
        return peer or "-"
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    for hop in reversed(forwarded.decode("latin-1").split(",")):
        address = hop.strip()
        if not _is_address(address):
            break
        if not _is_trusted(address, trusted):
            return address
        peer = address
    return peer


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_trusted(text: str, trusted: Sequence[Network]) -> bool:
    return _is_address(text) and any(ipaddress.ip_address(text) in network for network in trusted)


def _quoted(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() else json.dumps(name, ensure_ascii=False)


async def _internal_error(send: Send) -> None:
    body = b'{"detail":"The agent failed at this request; its log says why."}'
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})
