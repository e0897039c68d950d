"""The Patriot client API: the document's endpoints. What is answered when anything is wrong: `answers.py`.

request ─log→ key? ─→ body small enough? ─→ strict JSON ─→ model ─→ registry ─→ answer
           401 ┘               413 ┘            422 ┘      422 ┘   404 409 503 ┘
"""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute

from agent.patriot import docs
from agent.patriot.answers import JsonRoute, install_handlers, reads, writes
from agent.patriot.auth import KEY, OPEN_PATHS, Authentication
from agent.patriot.keyfile import ApiKey
from agent.patriot.keys import Keys
from agent.patriot.registry import Registry, user_of
from agent.patriot.requests_log import OnRequest, RequestLog
from agent.patriot.row import Client
from agent.patriot.schema import (
    ClientAnswer,
    ClientOnly,
    ClientPatch,
    ClientPut,
    HeaderClientId,
    HeaderUserNo,
    ImportAnswer,
    UserAnswer,
    UserOnly,
    UsersAnswer,
    UserWrite,
    ZoneAnswer,
    ZoneOnly,
    ZonePut,
    ZonesAnswer,
)
from agent.serving import MAX_BODY_BYTES, App, BodyLimit

router = APIRouter(route_class=JsonRoute, redirect_slashes=False)


async def _caller(request: Request) -> ApiKey:
    key: ApiKey = request.scope[KEY]
    return key


async def _registry(request: Request) -> Registry:
    registry: Registry = request.app.state.registry
    return registry


Caller = Annotated[ApiKey, Depends(_caller)]
Clients = Annotated[Registry, Depends(_registry)]
XClientId = Annotated[HeaderClientId, Header(alias="X-Client-Id", description="Selects the client.", examples=[9998])]
DELETED: dict[int | str, dict[str, Any]] = {204: {"description": "Deleted."}}

XUserNo = Annotated[HeaderUserNo, Header(alias="X-User-No", description="Selects the user.", examples=[1])]


def build_api(registry: Registry, keys: Keys, on_request: OnRequest, trusted_proxies: Sequence[str] = ()) -> App:
    """The whole listener as one ASGI application.

    It limits bodies itself, behind the authentication: serve it with a larger limit of the server's own, or a caller
    without a key would see 413 before 401.
    """
    app = build_routes(registry)
    limited = Authentication(BodyLimit(app, MAX_BODY_BYTES), keys)
    return RequestLog(limited, [*app.state.methods, *OPEN_PATHS], on_request, trusted_proxies)


def build_routes(registry: Registry | None) -> FastAPI:
    """The routes alone, for the description (`registry` None) and behind the middleware."""
    app = FastAPI(docs_url=None, redoc_url=None, redirect_slashes=False, strict_content_type=False, **docs.TITLE)
    app.state.registry = registry
    app.state.methods = _methods()
    app.include_router(router)
    install_handlers(app)
    docs.install(app)
    return app


def _methods() -> dict[str, list[str]]:
    """The methods of each path; no path holds a parameter."""
    methods: dict[str, set[str]] = {}
    for route in router.routes:
        assert isinstance(route, APIRoute)
        methods.setdefault(route.path, set()).update(route.methods or ())
    return {path: sorted(found) for path, found in methods.items()}


@router.get("/clients", responses=reads(404) | {200: {"description": "Done.", "model": ClientAnswer}}, tags=["Clients"])
async def get_client(key: Caller, clients: Clients, client_id: XClientId) -> Response:
    """The whole client: info, zones and users.

    Where the client's XML file is missing it is written again, unless the present revision is imported or lies on the
    share awaiting its result.
    """
    record = await clients.get(key, client_id)
    return JSONResponse(_whole(record.client))


@router.put(
    "/clients",
    responses=writes()
    | {
        200: {"model": ClientAnswer, "description": "Replaced; the client as it is now."},
        201: {"model": ClientAnswer, "description": "Created; the client as it is now."},
    },
    tags=["Clients"],
)
async def put_client(key: Caller, clients: Clients, body: ClientPut) -> Response:
    """Create a client (201), or replace the info of one that exists (200); its zones and users stay.

    Every accepted call is a new revision and goes out with the next batch.
    """
    saved = await clients.put_client(key, body.client_id, _given(body.info))
    return JSONResponse(_whole(saved.record.client), 201 if saved.created else 200)


@router.patch(
    "/clients", responses=writes(404) | {200: {"description": "Done.", "model": ClientAnswer}}, tags=["Clients"]
)
async def patch_client(key: Caller, clients: Clients, body: ClientPatch) -> Response:
    """Change the info fields that are sent and leave the others. An empty `info` changes nothing."""
    record = await clients.patch_client(key, body.client_id, _given(body.info))
    return JSONResponse(_whole(record.client))


@router.delete("/clients", status_code=204, responses=writes(404) | DELETED, tags=["Clients"])
async def delete_client(key: Caller, clients: Clients, body: ClientOnly) -> Response:
    """Delete the client and its XML file.

    What Patriot has already imported stays there: the central office is told and removes it by hand.
    """
    await clients.delete_client(key, body.client_id)
    return Response(status_code=204)


@router.get(
    "/clients/import", responses=reads(404) | {200: {"description": "Done.", "model": ImportAnswer}}, tags=["Clients"]
)
async def get_import(key: Caller, clients: Clients, client_id: XClientId) -> Response:
    """How far the client's present revision is on its way to Patriot."""
    record = await clients.get(key, client_id)
    answer = {
        "client_id": client_id,
        "import_id": record.import_id,
        "status": record.state,
        "last_batch": record.last_batch,
        "detail": record.detail,
    }
    return JSONResponse(answer)


@router.get(
    "/clients/zones", responses=reads(404) | {200: {"description": "Done.", "model": ZonesAnswer}}, tags=["Zones"]
)
async def get_zones(key: Caller, clients: Clients, client_id: XClientId) -> Response:
    """All zones of a client, by number."""
    return await _zones(clients, key, client_id)


@router.post(
    "/clients/zones/list",
    responses=reads(404, body=True) | {200: {"description": "Done.", "model": ZonesAnswer}},
    tags=["Zones"],
)
async def list_zones(key: Caller, clients: Clients, body: ClientOnly) -> Response:
    """All zones of a client, asked for with a body."""
    return await _zones(clients, key, body.client_id)


@router.put(
    "/clients/zones",
    status_code=201,
    responses=writes(404) | {201: {"model": ZoneAnswer, "description": "Created or replaced."}},
    tags=["Zones"],
)
async def put_zone(key: Caller, clients: Clients, body: ZonePut) -> Response:
    """Create or replace a zone. Both are answered 201."""
    zone = {"Zone_No": body.zone_id, "Zone_area": body.Zone_area, "ModuleNo": body.ModuleNo}
    await clients.put_zone(key, body.client_id, zone)
    return JSONResponse({"client_id": body.client_id, "zone": zone}, 201)


@router.delete("/clients/zones", status_code=204, responses=writes(404) | DELETED, tags=["Zones"])
async def delete_zone(key: Caller, clients: Clients, body: ZoneOnly) -> Response:
    """Delete one zone."""
    await clients.delete_zone(key, body.client_id, body.zone_id)
    return Response(status_code=204)


@router.get(
    "/clients/users", responses=reads(404) | {200: {"description": "Done.", "model": UsersAnswer}}, tags=["Users"]
)
async def get_users(key: Caller, clients: Clients, client_id: XClientId) -> Response:
    """All users of a client, by number. The installer's user 199 is in the XML only."""
    return await _users(clients, key, client_id)


@router.get(
    "/clients/users/single", responses=reads(404) | {200: {"description": "Done.", "model": UserAnswer}}, tags=["Users"]
)
async def get_user(key: Caller, clients: Clients, client_id: XClientId, user_no: XUserNo) -> Response:
    """One user."""
    return await _user(clients, key, client_id, user_no)


@router.post(
    "/clients/users/list",
    responses=reads(404, body=True) | {200: {"description": "Done.", "model": UsersAnswer}},
    tags=["Users"],
)
async def list_users(key: Caller, clients: Clients, body: ClientOnly) -> Response:
    """All users of a client, asked for with a body."""
    return await _users(clients, key, body.client_id)


@router.post(
    "/clients/users",
    status_code=201,
    responses=writes(404) | {201: {"model": UserAnswer, "description": "Created."}},
    tags=["Users"],
)
async def create_user(key: Caller, clients: Clients, body: UserWrite) -> Response:
    """Create a user. A number that exists already is 409, without `Retry-After`."""
    user = _given(body.user)
    await clients.create_user(key, body.client_id, user)
    return JSONResponse({"client_id": body.client_id, "user": user}, 201)


@router.post(
    "/clients/users/get",
    responses=reads(404, body=True) | {200: {"description": "Done.", "model": UserAnswer}},
    tags=["Users"],
)
async def read_user(key: Caller, clients: Clients, body: UserOnly) -> Response:
    """One user, asked for with a body."""
    return await _user(clients, key, body.client_id, body.user_no)


@router.put(
    "/clients/users", responses=writes(404) | {200: {"description": "Done.", "model": UserAnswer}}, tags=["Users"]
)
async def replace_user(key: Caller, clients: Clients, body: UserWrite) -> Response:
    """Replace a user completely. A number that does not exist is 404."""
    user = _given(body.user)
    await clients.replace_user(key, body.client_id, user)
    return JSONResponse({"client_id": body.client_id, "user": user})


@router.delete("/clients/users", status_code=204, responses=writes(404) | DELETED, tags=["Users"])
async def delete_user(key: Caller, clients: Clients, body: UserOnly) -> Response:
    """Delete one user."""
    await clients.delete_user(key, body.client_id, body.user_no)
    return Response(status_code=204)


def _given(model: Any) -> dict[str, Any]:
    """The fields that were sent, and the defaults of those that have one; never an absent one."""
    return {name: value for name, value in model.model_dump().items() if value is not None}


def _whole(client: Client) -> dict[str, Any]:
    return {
        "client_id": client.client_id,
        "info": client.info,
        "zones": {str(number): client.zones[number] for number in sorted(client.zones)},
        "users": {str(number): client.users[number] for number in sorted(client.users)},
    }


async def _zones(clients: Registry, key: ApiKey, client_id: int) -> Response:
    zones = (await clients.get(key, client_id)).client.zones
    return JSONResponse({"client_id": client_id, "zones": [zones[number] for number in sorted(zones)]})


async def _users(clients: Registry, key: ApiKey, client_id: int) -> Response:
    users = (await clients.get(key, client_id)).client.users
    return JSONResponse({"client_id": client_id, "users": [users[number] for number in sorted(users)]})


async def _user(clients: Registry, key: ApiKey, client_id: int, number: int) -> Response:
    record = await clients.get(key, client_id)
    return JSONResponse({"client_id": client_id, "user": user_of(record.client, number)})
