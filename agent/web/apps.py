"""The three applications, one a listener."""

from collections.abc import Sequence
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
from agent.web.links import linked_picture

if TYPE_CHECKING:
    from agent.site import Site


def build_control(site: "Site") -> Starlette:
    """The agent API for whom the control socket's mode lets in, and what only somebody on the box may ask for."""
    return _app(site, [*_api(), *api.control_routes()], [Middleware(ControlDoor)])


def build_console(site: "Site") -> Starlette:
    """The agent API for bearer tokens and sessions, and the console's pages."""
    return _app(
        site,
        [*_api(), Route("/m/{token}", get_picture)],
        [Middleware(Headers), Middleware(ConsoleDoor, site=site)],
    )


def _api() -> list[Route]:
    return [*api.routes(), *clients.routes(), *batches.routes()]


async def get_picture(request: Request) -> Response:
    return await linked_picture(request.app.state.site, request.path_params["token"])


def build_metrics(site: "Site") -> Starlette:
    """Readable by whoever reaches the listener: it holds no secret and no personal data."""
    return _app(site, metrics_page.routes(), [])


def _app(site: "Site", routes: Sequence[BaseRoute], middleware: Sequence[Middleware]) -> Starlette:
    app = Starlette(
        routes=routes, middleware=middleware, exception_handlers={HTTPException: as_json, Exception: broken}
    )
    app.router.redirect_slashes = False
    app.state.site = site
    return app
