"""Who calls: ASGI middleware in front of everything else.

A caller without a usable key learns nothing: not whether a path exists, a method is allowed, or a body is right or too
large. Only the API's description is open.
"""

import trio

from agent.patriot.keyfile import ApiKey
from agent.patriot.keys import Keys
from agent.serving import App, Receive, Scope, Send

OPEN_PATHS = frozenset({"/docs", "/openapi.json"})
KEY = "varde.api_key"
REFUSALS_PER_S = 200
BURST = 100
LONGEST_WAIT_S = 0.25

_BODY = b'{"detail":"The API key is missing, unknown, disabled or expired. Send: Authorization: Bearer <API_KEY>"}'
_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(_BODY)),
    (b"www-authenticate", b"Bearer"),
]


class Authentication:
    """Puts the caller's `ApiKey` into the scope under `KEY`, or answers 401."""

    def __init__(self, app: App, keys: Keys) -> None:
        self.app = app
        self.keys = keys
        self._pace = Pace()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in OPEN_PATHS):
            await self.app(scope, receive, send)
            return
        key = self._caller(scope)
        if key is None:
            await self._pace.wait()
        if scope["type"] == "websocket":
            await _refuse_handshake(send, known=key is not None)
        elif key is None:
            await send({"type": "http.response.start", "status": 401, "headers": _HEADERS})
            await send({"type": "http.response.body", "body": _BODY})
        else:
            scope[KEY] = key
            await self.app(scope, receive, send)

    def _caller(self, scope: Scope) -> ApiKey | None:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1:
            return None
        scheme, _, token = given[0].strip().partition(b" ")
        token = token.strip()
        return self.keys.authenticate(token) if scheme.lower() == b"bearer" and token else None


class Pace:
    """At most so many refusals a second: guessing keys must not take the time of those who have one.

    Only the caller that is refused waits, whoever it is; a mistyped key after a quiet second is refused at once.
    """

    def __init__(self) -> None:
        self._next = float("-inf")  # trio time of the next refusal at the full rate

    async def wait(self) -> None:
        now = trio.current_time()
        self._next = max(self._next, now - BURST / REFUSALS_PER_S) + 1 / REFUSALS_PER_S
        self._next = min(self._next, now + LONGEST_WAIT_S)
        if self._next > now:
            await trio.sleep_until(self._next)


async def _refuse_handshake(send: Send, *, known: bool) -> None:
    """No path here speaks WebSocket: a stranger is refused as ever, a known caller finds nothing."""
    start = {"status": 404, "headers": []} if known else {"status": 401, "headers": _HEADERS}
    await send({"type": "websocket.http.response.start", **start})
    await send({"type": "websocket.http.response.body", "body": b"" if known else _BODY})
