"""What the API answers when something is wrong, and the strict reading of bodies."""

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from agent.patriot.records import Duplicate, Locked, NotFound
from agent.patriot.registry import CannotWrite
from agent.patriot.schema import BadJson, Faults, Problem, parse_json

MAX_NAME = 200
CANNOT_WRITE_RETRY_S = 10

_DESCRIBED: Mapping[int, Mapping[str, Any]] = {
    401: {
        "model": Problem,
        "description": "The API key is missing, unknown, disabled or expired.",
        "headers": {"WWW-Authenticate": {"schema": {"type": "string", "const": "Bearer"}}},
    },
    404: {"model": Problem, "description": "No such client, zone or user in your data set."},
    409: {
        "model": Problem,
        "description": "The number is taken; or, with `Retry-After`, the client is locked for a while.",
        "headers": {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
    },
    413: {"model": Problem, "description": "The body is larger than 1 MiB."},
    422: {"model": Faults, "description": "The request is not as described; every fault is named with its place."},
    503: {
        "model": Problem,
        "description": "The box cannot keep the change now, for instance because its disk is full. Send it again.",
        "headers": {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
    },
}


def reads(*statuses: int, body: bool = False) -> dict[int | str, dict[str, Any]]:
    """The descriptions of what may go wrong where nothing is changed: the usual ones and `statuses`."""
    always = {401, 422, *statuses} | ({413} if body else set())
    return {status: dict(_DESCRIBED[status]) for status in sorted(always)}


def writes(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The same where a client is changed."""
    return reads(409, 503, *statuses, body=True)


class _BodyFault(HTTPException):
    def __init__(self, fault: BadJson) -> None:
        super().__init__(422)
        self.fault = fault


class JsonRoute(APIRoute):
    """Reads each body as strict JSON, whatever its content type says: the document names none."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            headers = [(name, value) for name, value in request.scope["headers"] if name != b"content-type"]
            headers.append((b"content-type", b"application/json"))
            return await handle(_JsonRequest({**request.scope, "headers": headers}, request.receive))

        return strictly


class _JsonRequest(Request):
    async def json(self) -> Any:
        try:
            return parse_json(await self.body())
        except BadJson as fault:
            # FastAPI lets only this class through from here; the handler makes the 422's body of it.
            raise _BodyFault(fault) from None


def install_handlers(app: FastAPI) -> None:
    for error, handler in (
        (RequestValidationError, _invalid),
        (HTTPException, _plain),
        (NotFound, lambda request, fault: _problem(404, str(fault))),
        (Duplicate, lambda request, fault: _problem(409, str(fault))),
        (Locked, _locked),
        (CannotWrite, _cannot_write),
    ):
        app.add_exception_handler(error, _asynchronous(handler))


def _asynchronous(handler: Callable[[Request, Any], Response]) -> Callable[[Request, Any], Awaitable[Response]]:
    """Starlette runs a plain function in a thread."""

    async def handle(request: Request, fault: Any) -> Response:
        return handler(request, fault)

    return handle


def _problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"detail": detail}, status, headers)


def _locked(request: Request, fault: Locked) -> Response:
    seconds = max(1, math.ceil(fault.retry_after_s))
    return _problem(409, f"The client is locked for {seconds} s.", {"Retry-After": str(seconds)})


def _cannot_write(request: Request, fault: CannotWrite) -> Response:
    return _problem(503, f"Not kept: {fault}. Send it again.", {"Retry-After": str(CANNOT_WRITE_RETRY_S)})


def _plain(request: Request, fault: HTTPException) -> Response:
    if fault.status_code == 405:
        # The framework names the methods of the path's first route only.
        allowed = request.app.state.methods.get(request.url.path, ["GET", "HEAD"])
        return _problem(405, "The path has other methods.", {"Allow": ", ".join(allowed)})
    if isinstance(fault, _BodyFault):
        return _faults([_fault(("body", *fault.fault.loc), str(fault.fault), fault.fault.kind)])
    return _problem(fault.status_code, str(fault.detail), fault.headers)


def _invalid(request: Request, fault: RequestValidationError) -> Response:
    return _faults(_fault(error["loc"], error["msg"], error["type"]) for error in fault.errors())


def _fault(loc: Iterable[Any], message: str, kind: str) -> dict[str, Any]:
    """Place, words and kind; never the value, which may be personal. A caller's own field name is cut short."""
    places = [place if isinstance(place, int) else str(place)[:MAX_NAME] for place in loc]
    return {"loc": places, "msg": message.removeprefix("Value error, "), "type": kind}


def _faults(found: Iterable[Any]) -> Response:
    return JSONResponse({"detail": list(found)}, 422)
