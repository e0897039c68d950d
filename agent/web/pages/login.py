"""Coming in and going out: the console token, a link that works once, and the language."""

from starlette.requests import Request
from starlette.responses import Response

from agent.web import queries
from agent.web.auth import Caller, is_token
from agent.web.doors import caller, cookie_name
from agent.web.pages.frame import LANGUAGE_COOKIE, Frame, back_to, see
from agent.web.queries import site_of
from agent.web.words import CATALOGUE


async def get_login(request: Request) -> Response:
    """The form; with `?token=` in the address (`varde demo` prints such a one) it is tried at once."""
    token = request.query_params.get("token")
    if token is not None:
        return _try(request, token, "/", by_link=True)
    if caller(request).session is not None:
        return see("/")
    return _form(request, back_to(request.query_params.get("next")))


async def post_login(request: Request) -> Response:
    fields = await queries.form(request)
    return _try(request, fields.get("token", ""), back_to(fields.get("next")), by_link=False)


async def get_once(request: Request) -> Response:
    """A one-time link. A browser that only fetches ahead, or a HEAD, does not use it up."""
    fetches_ahead = "prefetch" in request.headers.get("Sec-Purpose", request.headers.get("Purpose", ""))
    if request.method == "HEAD" or fetches_ahead:
        return Response(status_code=503)
    if not site_of(request).access.use_link(request.path_params["once"]):
        return _form(request, "/", "login.link", status=403)
    return _come_in(request, "/", by_link=True)


async def post_logout(request: Request) -> Response:
    session = caller(request).session
    if session is not None:
        site_of(request).access.close_session(session)
        request.scope["varde.caller"] = Caller("nobody")  # the page that says so is a stranger's already
    frame = Frame(request)
    response = frame.page("login.html", "", next="/", message=frame.t("login.out"), configured=_configured(request))
    response.delete_cookie(cookie_name(frame.site), httponly=True, samesite="strict")
    return response


async def post_language(request: Request) -> Response:
    fields = await queries.form(request)
    response = see(back_to(fields.get("next")))
    if fields.get("language") in CATALOGUE:
        response.set_cookie(
            LANGUAGE_COOKIE,
            fields["language"],
            max_age=366 * 86400,
            samesite="strict",
            httponly=True,
            secure=_tls(request),
        )
    return response


def _try(request: Request, token: str, target: str, *, by_link: bool) -> Response:
    site = site_of(request)
    address = request.client.host if request.client else ""
    wait_s = site.access.throttle.wait_s(address)
    if wait_s > 0:
        # Right or wrong, a token is not looked at before the time is over.
        seconds = int(wait_s) + 1
        response = _form(request, target, "login.slow", status=429, seconds=seconds)
        response.headers["Retry-After"] = str(seconds)
        return response
    if not is_token(token.strip(), site.settings.console.token):
        site.access.throttle.failed(address)
        return _form(request, target, "login.wrong", status=403)
    return _come_in(request, target, by_link=by_link)


def _come_in(request: Request, target: str, *, by_link: bool) -> Response:
    """With a session from here on.

    A browser that followed a link from elsewhere does not send a strict cookie along the redirect that sets it, so
    such a one gets a page that goes on by itself.
    """
    frame = Frame(request)
    access, console = frame.site.access, frame.site.settings.console
    response = frame.page("welcome.html", "", target=target) if by_link else see(target)
    response.set_cookie(
        cookie_name(frame.site),
        access.open_session(console.token),
        httponly=True,
        samesite="strict",
        secure=_tls(request),
    )
    return response


def _form(request: Request, target: str, message: str = "", *, status: int = 200, **blanks: object) -> Response:
    frame = Frame(request)
    text = frame.t(message, **blanks) if message else ""
    return frame.page("login.html", "", status=status, next=target, message=text, configured=_configured(request))


def _configured(request: Request) -> bool:
    return site_of(request).settings.console.token is not None


def _tls(request: Request) -> bool:
    return request.url.scheme == "https"
