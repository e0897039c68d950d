"""How the agent API words its answers: JSON, faults as `{"detail": …}`."""

import json
import logging
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

log = logging.getLogger("varde.web")


class Answer(Response):
    """JSON of anything the journal holds.

    A device's own object may bear what JSON or UTF-8 cannot carry: NaN becomes null, half a surrogate pair is escaped.
    """

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(encode(content), status_code, headers)
        self.headers.setdefault("Cache-Control", "no-store")


def encode(content: Any) -> bytes:
    try:
        return _text(content, ascii_only=False).encode()
    except UnicodeEncodeError:
        return _text(content, ascii_only=True).encode()


def _text(content: Any, *, ascii_only: bool) -> str:
    try:
        return json.dumps(content, ensure_ascii=ascii_only, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_finite(content), ensure_ascii=ascii_only, allow_nan=False, separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def fail(status: int, detail: str, headers: Mapping[str, str] | None = None) -> NoReturn:
    """End the request with `status` and a sentence that helps."""
    raise HTTPException(status, detail, headers)


async def as_json(_request: Request, error: Exception) -> Response:
    """Starlette's own faults (404, 405) and ours in the one form of the API."""
    assert isinstance(error, HTTPException)
    detail = error.detail
    if error.status_code == 404 and detail == "Not Found":
        detail = "There is no such path here. The agent API is under /api/v1/, for instance /api/v1/status."
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        detail = f"This path does not take that method; it takes {allowed}."
    return Answer({"detail": detail}, error.status_code, error.headers)


async def broken(request: Request, error: Exception) -> Response:
    """A defect of ours: the traceback stands in the log, the caller learns nothing of the inside."""
    # The route and not the path, which may be a log-in link.
    log.error("%s %s failed", request.method, getattr(request.scope.get("route"), "path", "?"), exc_info=error)
    return Answer(
        {"detail": "The agent could not do this because of a defect of its own; its log has the reason."}, 500
    )
