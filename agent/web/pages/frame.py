"""What every page has: language, site time, navigation, and the template around it."""

from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import jinja2
from markupsafe import Markup, escape
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from agent import __version__
from agent.web import words
from agent.web.doors import caller
from agent.web.pages.clock import SiteClock
from agent.web.queries import site_of
from agent.web.words import Translate

if TYPE_CHECKING:
    from agent.site import Site

LANGUAGE_COOKIE = "varde_language"
SECTIONS = {"site": "/", "alarms": "/alarms", "cameras": "/cameras", "clients": "/clients", "health": "/health"}


@lru_cache(maxsize=1)
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("agent.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@lru_cache(maxsize=16)
def static_file(name: str) -> tuple[bytes, str]:
    """A packaged file and its fingerprint. Raises `LookupError`."""
    place = resources.files("agent.web") / "static" / name
    if "/" in name or name.startswith(".") or not place.is_file():
        raise LookupError(name)
    content = place.read_bytes()
    return content, sha256(content).hexdigest()[:12]


def static_url(name: str) -> str:
    """With the fingerprint, so that a browser keeps a file for ever and never an old one."""
    return f"/static/{name}?v={static_file(name)[1]}"


def language_of(request: Request) -> str:
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    return chosen if chosen in words.CATALOGUE else words.accepted(request.headers.get("Accept-Language", ""))


class Frame:
    """One answer in the making: `t` translates, `clock` tells site time."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.site: Site = site_of(request)
        self.language = language_of(request)
        self.t: Translate = words.translator(self.language)
        self.clock = SiteClock(self.site.settings.site.zone, self.t)

    def marked_up(self, key: str, /, **blanks: Any) -> Markup:
        """As `t`, for blanks that are HTML of ours; any other value is escaped."""
        return Markup(escape(self.t(key))).format(**blanks)  # noqa: S704 - escaped, then filled in

    def page(self, template: str, section: str, *, status: int = 200, **values: Any) -> Response:
        return HTMLResponse(self.html(template, section, values), status)

    def html(self, template: str, section: str, values: Mapping[str, Any]) -> str:
        request = self.request
        address = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        logged_in = caller(request).session is not None
        return (
            _templates()
            .get_template(template)
            .render(
                t=self.t,
                th=self.marked_up,
                clock=self.clock,
                language=self.language,
                languages=words.NAMES,
                section=section,
                sections=SECTIONS,
                site_id=self.site.settings.site.id,
                version=__version__,
                address=address if request.method == "GET" else "/",
                static=static_url,
                logged_in=logged_in,
                # Looking again at the answer of a POST would be asking something else, or doing it once more.
                live=logged_in and request.method == "GET",
                site=self.site,
                **values,
            )
        )


def back_to(text: str | None) -> str:
    """Where to go afterwards: an address of ours, "/" for anything else."""
    if not text or len(text) > 2000 or not text.startswith("/") or "\\" in text or not text.isprintable():
        return "/"
    parts = urlsplit(text)
    return "/" if parts.scheme or parts.netloc or text.startswith("//") else text


def see(address: str) -> Response:
    """After a change: the browser fetches the page that shows what came of it."""
    return RedirectResponse(address, 303)


async def fault_page(request: Request, error: Exception) -> Response:
    """What went wrong, in the page's own frame."""
    assert isinstance(error, HTTPException)
    frame = Frame(request)
    detail = frame.t("fault.404") if error.detail == "Not Found" else error.detail
    response = frame.page("fault.html", "", status=error.status_code, detail=detail)
    response.headers.update(error.headers or {})
    return response
