"""The three applications, one a listener."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from agent.web import api, batches, clients, metrics_page
from agent.web.answers import as_json, broken
from agent.web.doors import ConsoleDoor, ControlDoor, Headers
from agent.web.pages import routes as pages
from agent.web.pages.frame import fault_page

if TYPE_CHECKING:
    from agent.site import Site


def build_control(site: "Site") -> Starlette:
    """The agent API for whom the control socket's mode lets in, and what only somebody on the box may ask for."""
    return _app(site, [*_api(), *api.control_routes()], [Middleware(ControlDoor)])


def build_console(site: "Site") -> Starlette:
    """The agent API for bearer tokens and sessions, and the console's pages."""
    return _app(
        site,
        [*_api(), *pages.routes()],
        [Middleware(Headers), Middleware(ConsoleDoor, site=site)],
        _fault,
    )


def _api() -> list[Route]:
    return [*api.routes(), *clients.routes(), *batches.routes()]


def build_metrics(site: "Site") -> Starlette:
    """Readable by whoever reaches the listener: it holds no secret and no personal data."""
    return _app(site, metrics_page.routes(), [])


async def _fault(request: Request, error: Exception) -> Response:
    """JSON for programs, a page for people."""
    if request.url.path.startswith(("/api/", "/m/", "/static/", "/cameras/")):
        return await as_json(request, error)
    return await fault_page(request, error)


def _app(
    site: "Site",
    routes: Sequence[BaseRoute],
    middleware: Sequence[Middleware],
    fault: Callable[[Request, Exception], Awaitable[Response]] = as_json,
) -> Starlette:
    app = Starlette(routes=routes, middleware=middleware, exception_handlers={HTTPException: fault, Exception: broken})
    app.router.redirect_slashes = False
    app.state.site = site
    return app
