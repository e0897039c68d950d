"""The console's addresses."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agent.web import links
from agent.web.answers import fail
from agent.web.pages import alarms, clients, login, overview
from agent.web.pages.cameras import CameraPages, get_live_picture
from agent.web.pages.frame import static_file
from agent.web.pages.health import HealthPages
from agent.web.pages.live import Kept, get_live
from agent.web.pages.thumbnails import Thumbnails
from agent.web.queries import site_of

TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


async def get_static(request: Request) -> Response:
    try:
        content, _ = static_file(request.path_params["name"])
    except LookupError:
        fail(404, "There is no such file.")
    kind = TYPES.get(request.path_params["name"].rpartition(".")[2], "application/octet-stream")
    return Response(content, media_type=kind, headers={"Cache-Control": "public, max-age=31536000, immutable"})


async def get_picture(request: Request) -> Response:
    return await links.linked_picture(site_of(request), request.path_params["token"])


def routes() -> list[Route]:
    kept, cameras, health, thumbnails = Kept(), CameraPages(), HealthPages(), Thumbnails()
    live = kept.once_for_all
    return [
        Route("/", live(overview.get_site)),
        Route("/alarms", live(alarms.get_alarms)),
        Route("/alarms/{id}", live(alarms.get_alarm)),
        Route("/alarms/{id}/thumbnail", thumbnails.get),
        Route("/deliveries/{id}/retry", alarms.post_retry, methods=["POST"]),
        Route("/cameras", live(cameras.get_cameras)),
        Route("/cameras/{source}/{camera}/live", get_live_picture),
        Route("/do", cameras.get_do),
        Route("/do", cameras.post_do, methods=["POST"]),
        Route("/clients", live(clients.get_clients)),
        Route("/clients/combine", clients.get_combine),
        Route("/clients/combine", clients.post_combine, methods=["POST"]),
        Route("/clients/removed", clients.get_removed_confirm),
        Route("/clients/removed", clients.post_removed, methods=["POST"]),
        Route("/clients/{key_name}/{id}", live(clients.get_client)),
        Route("/clients/{key_name}/{id}/do", clients.get_client_confirm),
        Route("/clients/{key_name}/{id}/do", clients.post_client, methods=["POST"]),
        Route("/batches/{id}", live(clients.get_batch)),
        Route("/health", live(health.get_health)),
        Route("/health/checks", health.post_checks, methods=["POST"]),
        Route("/live", get_live),
        Route("/login", login.get_login),
        Route("/login", login.post_login, methods=["POST"]),
        Route("/login/{once}", login.get_once),
        Route("/logout", login.post_logout, methods=["POST"]),
        Route("/language", login.post_language, methods=["POST"]),
        Route("/static/{name}", get_static),
        Route("/favicon.ico", _favicon),
        Route("/m/{token}", get_picture),
    ]


async def _favicon(_request: Request) -> Response:
    content, _ = static_file("icon.svg")
    return Response(content, media_type="image/svg+xml", headers={"Cache-Control": "public, max-age=86400"})
