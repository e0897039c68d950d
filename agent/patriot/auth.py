"""Who calls: ASGI middleware in front of everything else.

A caller without a usable key learns nothing: not whether a path exists, a method is allowed, or a body is right or too
large. Only the API's description is open.
"""

from agent.patriot.keyfile import ApiKey
from agent.patriot.keys import Keys
from agent.serving import App, Receive, Scope, Send

OPEN_PATHS = frozenset({"/docs", "/openapi.json"})
KEY = "varde.api_key"

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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in OPEN_PATHS):
            await self.app(scope, receive, send)
            return
        key = self._caller(scope)
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


async def _refuse_handshake(send: Send, *, known: bool) -> None:
    """No path here speaks WebSocket: a stranger is refused as ever, a known caller finds nothing."""
    start = {"status": 404, "headers": []} if known else {"status": 401, "headers": _HEADERS}
    await send({"type": "websocket.http.response.start", **start})
    await send({"type": "websocket.http.response.body", "body": b"" if known else _BODY})
