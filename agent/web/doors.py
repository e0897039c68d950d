"""The middlewares in front of the listeners: who may come in, whence a change may come, what a browser may do.

control socket ── ControlDoor: everybody whom the socket's mode lets in
console        ── Headers ─ ConsoleDoor: bearer token or session; a change by session only from our own pages
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response

from agent.web.answers import Answer
from agent.web.auth import Caller, is_token
from agent.web.peer import local_user

if TYPE_CHECKING:
    from agent.site import Site

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/login", "/static/", "/m/", "/language", "/favicon.ico")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def caller(request: HTTPConnection) -> Caller:
    """Who asks; set by the door the request came through."""
    found: Caller = request.scope["varde.caller"]
    return found


def cookie_name(site: "Site") -> str:
    """Cookies do not know ports: two sites seen through two tunnels to localhost need two names."""
    return f"varde_session_{site.settings.site.id}"


class ControlDoor:
    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["varde.caller"] = Caller(local_user())
        await self.app(scope, receive, send)


class ConsoleDoor:
    def __init__(self, app: App, site: "Site") -> None:
        self.app = app
        self.site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        refusal = self._refusal(request)
        await (refusal or self.app)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        """What is answered instead of the page; None lets the request in."""
        path = request.url.path
        is_api = path.startswith("/api/")
        found = self._caller(request)
        if found is None and not path.startswith(OPEN):
            return _unauthorised() if is_api else _to_login(request)
        bears_token = found is not None and found.session is None
        if request.method not in SAFE_METHODS and not bears_token and not self._own_origin(request):
            detail = "A change must come from the console's own pages; this one comes from another site."
            return Answer({"detail": detail}, 403)
        request.scope["varde.caller"] = found or Caller("nobody")
        return None

    def _caller(self, request: Request) -> Caller | None:
        token = self.site.settings.console.token
        header = request.headers.get("Authorization")
        if header is not None:
            scheme, _, given = header.partition(" ")
            return Caller("token") if scheme.lower() == "bearer" and is_token(given.strip(), token) else None
        session = request.cookies.get(cookie_name(self.site))
        if session and self.site.access.find_session(session, token):
            return Caller("console", session)
        return None

    def _own_origin(self, request: Request) -> bool:
        """Every browser sends one of the two headers with a POST; without either it is no page of anybody."""
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return False
        origin = request.headers.get("Origin")
        if origin is None:
            return True
        public = self.site.settings.console.public_url
        own = {request.headers.get("Host", ""), urlsplit(public).netloc if public else ""}
        return urlsplit(origin).netloc in own - {""}


def _unauthorised() -> Response:
    detail = "Give the console token as bearer token (Authorization: Bearer …), or log in to the console."
    return Answer({"detail": detail}, 401, {"WWW-Authenticate": 'Bearer realm="varde"'})


def _to_login(request: Request) -> Response:
    if request.url.path == "/live":
        # An event source that is redirected tries again for ever; 204 is the one answer that ends it, and the page's
        # script then looks why.
        return Response(status_code=204)
    target = request.url.path if request.method in SAFE_METHODS else "/"
    if request.url.query and request.method in SAFE_METHODS:
        target += "?" + request.url.query
    return RedirectResponse("/login" if target == "/" else f"/login?next={quote(target)}", 303)


class Headers:
    """What a browser may do with our pages: load from us alone, run no inline script, be framed by nobody."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                headers.setdefault("Content-Security-Policy", POLICY)
                headers.setdefault("Cache-Control", "no-store")
                headers["X-Content-Type-Options"] = "nosniff"
                # Not "no-referrer": with that, browsers post our own forms with "Origin: null".
                headers["Referrer-Policy"] = "same-origin"
                headers["X-Frame-Options"] = "DENY"
                headers["Cross-Origin-Opener-Policy"] = "same-origin"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
                headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=()"
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)
