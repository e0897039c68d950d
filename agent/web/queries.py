"""Reading what a caller chose: query values, path numbers, JSON and form bodies. A bad value is 422 and says why."""

import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from agent.alarms.model import Kind, instant, parse_instant
from agent.web.answers import fail

if TYPE_CHECKING:
    from agent.site import Site

MAX_ID = 2**63 - 1
MAX_PAGE = 1000
PAGE = 100
MAX_FORM_BYTES = 64 * 1024


def site_of(request: Request) -> "Site":
    site: Site = request.app.state.site
    return site


def number(request: Request, name: str, default: int, *, low: int = 0, high: int = MAX_ID) -> int:
    text = request.query_params.get(name)
    if text is None or text == "":
        return default
    # isdecimal alone would take digits of other scripts and int() a text of a million digits.
    if not re.fullmatch(r"[0-9]{1,19}", text) or not low <= int(text) <= high:
        fail(422, f"{name}: must be a whole number from {low} to {high}.")
    return int(text)


def limit(request: Request) -> int:
    """How many entries a page has: 100 unless asked; more than 1000 is answered with 1000."""
    return min(MAX_PAGE, number(request, "limit", PAGE, low=1))


def after(request: Request) -> int:
    return number(request, "after", 0)


def choice(request: Request, name: str, allowed: Iterable[str]) -> str | None:
    value = request.query_params.get(name)
    if not value:
        return None
    words = list(allowed)
    if value not in words:
        fail(422, f"{name}: must be one of {', '.join(words)}.")
    return value


def kind(request: Request) -> Kind | None:
    value = choice(request, "kind", [kind.value for kind in Kind])
    return None if value is None else Kind(value)


def word(request: Request, name: str) -> str | None:
    """A name to filter by, as it stands; no name of ours is longer than 64."""
    value = request.query_params.get(name)
    if value and len(value) > 64:
        fail(422, f"{name}: is longer than any name here.")
    return value or None


def moment(request: Request, name: str) -> datetime | None:
    """An ISO 8601 instant; without a zone it is UTC."""
    value = request.query_params.get(name)
    if not value:
        return None
    # A "+" that was not encoded arrives as a space: "2026-01-01T00:00:00 01:00".
    value = re.sub(r" (\d\d:?\d\d)$", r"+\1", value)
    try:
        found = parse_instant(value)
        instant(found)
    except (ValueError, OverflowError):
        fail(422, f"{name}: must be an ISO 8601 instant, for instance 2026-01-31T02:14:07Z.")
    return found


def path_number(request: Request, what: str) -> int:
    """The `{id}` of the path; one that cannot exist is 404 like one that does not."""
    text = str(request.path_params["id"])
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) > MAX_ID:
        fail(404, f"There is no {what} {text[:40]}.")
    return int(text)


async def json_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object."""
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        fail(422, "The body must be JSON.")
    if not isinstance(body, dict):
        fail(422, "The body must be a JSON object.")
    return body


def text_of(body: dict[str, Any], name: str, *, required: bool = True, longest: int = 200) -> str:
    value = body.get(name)
    if value is None and not required:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 10**20 else None
    if not isinstance(value, str) or not (value or not required) or len(value) > longest:
        fail(422, f"{name}: must be a text of 1 to {longest} characters.")
    return value


async def form(request: Request) -> dict[str, str]:
    """The fields of a posted form (urlencoded); the last of a name counts."""
    body = await request.body()
    if len(body) > MAX_FORM_BYTES:
        fail(413, "The form is too large.")
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=100))
    except ValueError:
        fail(422, "The form cannot be read.")
