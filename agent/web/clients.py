"""The client path on the agent API: registry, locks, removals, erasing, batches.

Operators steer it from the box or the console; installers never come this way, they have the Patriot client API.
"""

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agent.patriot import views
from agent.patriot.records import NotFound
from agent.web import audit, queries
from agent.web.answers import Answer, fail
from agent.web.doors import caller
from agent.web.queries import site_of

if TYPE_CHECKING:
    from agent.site import Site

LOCK_S = 3600.0


async def get_clients(request: Request) -> Response:
    return Answer(
        await views.list_clients(
            site_of(request).store,
            queries.choice(request, "state", views.STATES),
            queries.after(request),
            queries.limit(request),
        )
    )


async def get_removed(request: Request) -> Response:
    return Answer(await views.removed_clients(site_of(request).store))


async def post_lock(request: Request) -> Response:
    """For `seconds` (an hour unless said otherwise), at most 30 days."""
    body = await queries.json_object(request)
    seconds = body.get("seconds", LOCK_S)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= views.MAX_LOCK_S:
        fail(422, f"seconds: must be a number above 0 and at most {views.MAX_LOCK_S}.")
    key_name, client_id = _client(body)
    return await _steer(request, "lock", views.lock_client(site_of(request).store, key_name, client_id, seconds), body)


async def post_unlock(request: Request) -> Response:
    body = await queries.json_object(request)
    return await _steer(request, "unlock", views.unlock_client(site_of(request).store, *_client(body)), body)


async def post_erase(request: Request) -> Response:
    body = await queries.json_object(request)
    site = site_of(request)
    erase = _erase(site, *_client(body))
    return await _steer(request, "erase", erase, body)


async def _erase(site: "Site", key_name: str, client_id: int) -> dict[str, Any]:
    answer = await views.erase_client(site.registry, key_name, client_id, site.settings.paths.ready)
    await site.batches.publish_again()
    return answer


async def post_done(request: Request) -> Response:
    """The central office has removed a client by hand."""
    body = await queries.json_object(request)
    import_id = queries.text_of(body, "import_id")
    return await _steer(request, "removal done", views.removal_done(site_of(request).store, import_id), body)


def _client(body: dict[str, Any]) -> tuple[str, int]:
    client_id = body.get("client_id")
    if isinstance(client_id, bool) or not isinstance(client_id, int) or not 0 < client_id < 10**16:
        fail(422, "client_id: must be a whole number of 1 to 16 digits.")
    return queries.text_of(body, "key_name"), client_id


async def _steer(request: Request, action: str, work: Awaitable[dict[str, Any]], body: dict[str, Any]) -> Response:
    """Do it and write it down: who steered which client is part of the audit trail, under the source "clients"."""
    target = str(body.get("import_id") or f"{body.get('key_name')}/{body.get('client_id')}")
    answer, detail = await steer(site_of(request), caller(request).who, action, target, work)
    if answer is None:
        fail(404, detail)
    return Answer(answer)


async def steer(
    site: "Site", who: str, action: str, target: str, work: Awaitable[dict[str, Any]]
) -> tuple[dict[str, Any] | None, str]:
    """`work`'s answer, or None and why there is nothing to steer."""
    entry = await audit.begin(site.store, who, "clients", action, target)
    try:
        answer = await work
    except NotFound as missing:
        await audit.finish(site.store, entry, "failed", str(missing))
        return None, f"{missing}."
    await audit.finish(site.store, entry, "done", "")
    return answer, ""


def routes() -> list[Route]:
    clients = "/api/v1/clients"
    return [
        Route(clients, get_clients),
        Route(f"{clients}/removed", get_removed),
        Route(f"{clients}/removed", post_done, methods=["POST"]),
        Route(f"{clients}/lock", post_lock, methods=["POST"]),
        Route(f"{clients}/unlock", post_unlock, methods=["POST"]),
        Route(f"{clients}/erase", post_erase, methods=["POST"]),
    ]
