"""Coming in and going out of the console."""

from typing import Any

import httpx
import pytest

from agent.web import auth

TOKEN = "a token that is long enough"
COOKIE = "varde_session_test-01"


@pytest.fixture
async def browser(place: Any, stranger: httpx.AsyncClient) -> httpx.AsyncClient:
    """A browser that has logged in."""
    answer = await stranger.post("/login", data={"token": TOKEN})
    assert answer.status_code == 303
    return stranger


async def test_every_page_asks_for_the_log_in_first(stranger: httpx.AsyncClient) -> None:
    for path in ("/", "/alarms", "/cameras", "/clients", "/health", "/do", "/batches/1", "/alarms/1/thumbnail"):
        answer = await stranger.get(path)
        assert answer.status_code == 303 and answer.headers["Location"].startswith("/login")
    asked = await stranger.get("/alarms?kind=person&source=yard")
    assert asked.headers["Location"] == "/login?next=/alarms%3Fkind%3Dperson%26source%3Dyard"


async def test_logging_in_sets_a_strict_cookie_and_goes_on(place: Any, stranger: httpx.AsyncClient) -> None:
    page = await stranger.get("/login?next=/alarms")
    assert page.status_code == 200 and 'value="/alarms"' in page.text
    answer = await stranger.post("/login", data={"token": TOKEN, "next": "/alarms"})
    assert answer.status_code == 303 and answer.headers["Location"] == "/alarms"
    cookie = answer.headers["Set-Cookie"]
    assert COOKIE in cookie and "HttpOnly" in cookie and "samesite=strict" in cookie.lower() and TOKEN not in cookie
    assert (await stranger.get("/alarms")).status_code == 200
    assert (await stranger.get("/api/v1/status")).status_code == 200
    assert (await stranger.get("/login")).status_code == 303


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:1", "/\n/x"]
)
async def test_nobody_is_sent_elsewhere_after_the_log_in(stranger: httpx.AsyncClient, target: str) -> None:
    answer = await stranger.post("/login", data={"token": TOKEN, "next": target})
    assert answer.headers["Location"] == "/"


async def test_the_wrong_token_is_throttled_and_then_the_right_one_too(stranger: httpx.AsyncClient) -> None:
    for _ in range(auth.TRIES):
        assert (await stranger.post("/login", data={"token": "wrong"})).status_code == 403
    slow = await stranger.post("/login", data={"token": TOKEN})
    assert slow.status_code == 429 and 1 <= int(slow.headers["Retry-After"]) <= 61
    assert (await stranger.get(f"/login?token={TOKEN}")).status_code == 429
    bearer = await stranger.get("/api/v1/status", headers={"Authorization": f"Bearer {TOKEN}"})
    assert bearer.status_code == 200


def test_the_throttle_lets_go_after_its_window_and_is_bounded() -> None:
    now = 0.0
    throttle = auth.Throttle(lambda: now, tries=2, window_s=10)
    throttle.failed("a")
    now = 4.0
    throttle.failed("a")
    assert throttle.wait_s("a") == 6.0 and throttle.wait_s("b") == 0
    now = 10.5
    assert throttle.wait_s("a") == 0
    throttle.failed("a")
    assert throttle.wait_s("a") == 3.5
    for number in range(auth.MAX_ADDRESSES + 10):
        throttle.failed(str(number))
    assert len(throttle._failures) == auth.MAX_ADDRESSES


def test_a_session_ends_when_idle_when_old_and_with_its_token() -> None:
    from pydantic import SecretStr

    now = 0.0
    token = SecretStr("a token")
    access = auth.Access(clock=lambda: now)
    session = access.open_session(token)
    now = auth.IDLE_S - 1
    assert access.find_session(session, token)
    now += auth.IDLE_S - 1
    assert access.find_session(session, token)
    now += auth.IDLE_S + 1
    assert not access.find_session(session, token)
    session = access.open_session(token)
    begun = now
    while now < begun + auth.LONGEST_S - auth.IDLE_S:
        now += auth.IDLE_S - 1
        assert access.find_session(session, token)
    now = begun + auth.LONGEST_S + 1
    assert not access.find_session(session, token)
    session = access.open_session(token)
    assert not access.find_session(session, SecretStr("another"))
    assert not access.find_session("made up", token) and not access.find_session("\ud800", token)


async def test_a_one_time_link_logs_in_once(local: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    url = (await local.post("/api/v1/console-link")).json()["url"]
    path = url.removeprefix("https://console.example")
    assert (await stranger.head(path)).status_code == 503
    assert (await stranger.get(path, headers={"Sec-Purpose": "prefetch;prerender"})).status_code == 503
    came = await stranger.get(path)
    assert came.status_code == 200 and COOKIE in came.headers["Set-Cookie"] and 'content="0;url=/"' in came.text
    assert (await stranger.get("/")).status_code == 200
    again = await stranger.get(path)
    assert again.status_code == 403 and "varde console" in again.text


async def test_a_link_expires() -> None:
    now = 0.0
    access = auth.Access(clock=lambda: now)
    once = access.make_link()
    now = auth.LINK_VALID_S + 1
    assert not access.use_link(once)
    assert not access.use_link("made up")


async def test_logging_out_ends_the_session(browser: httpx.AsyncClient) -> None:
    session = browser.cookies[COOKIE]
    out = await browser.post("/logout")
    assert "data-live-from" not in out.text  # nothing of that page may look again, or it would log out twice
    assert out.status_code == 200 and f'{COOKIE}=""' in out.headers["Set-Cookie"]
    answer = await browser.get("/", headers={"Cookie": f"{COOKIE}={session}"})
    assert answer.status_code == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)
async def test_a_change_from_another_site_is_refused(
    place: Any, browser: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    for path, body in (
        ("/do", {"source": "yard", "action": "arm", "target": "1"}),
        ("/logout", {}),
        ("/language", {"language": "nb"}),
        ("/api/v1/sources/yard/actions", {"action": "arm"}),
    ):
        assert (await browser.post(path, data=body, headers=headers)).status_code == 403
    assert place.yard.acted == []
    stranger = await browser.post("/login", data={"token": TOKEN}, headers=headers)
    assert stranger.status_code == 403


async def test_a_change_from_our_own_pages_is_taken(place: Any, browser: httpx.AsyncClient) -> None:
    for origin in (place.console, "https://console.example"):
        answer = await browser.post(
            "/do",
            data={"source": "yard", "action": "arm", "target": "1"},
            headers={"Origin": origin, "Sec-Fetch-Site": "same-origin"},
        )
        assert answer.status_code == 303
    bearer = {"Authorization": f"Bearer {TOKEN}", "Origin": "https://dashboard.example"}
    answer = await browser.post("/api/v1/sources/yard/actions", json={"action": "arm", "target": "1"}, headers=bearer)
    assert answer.status_code == 200
    assert len(place.yard.acted) == 3


async def test_an_event_stream_without_a_session_is_told_to_stop(stranger: httpx.AsyncClient) -> None:
    assert (await stranger.get("/live")).status_code == 204


async def test_without_a_token_nobody_logs_in(place: Any, stranger: httpx.AsyncClient) -> None:
    site = place.site
    site.settings = site.settings.model_copy(
        update={"console": site.settings.console.model_copy(update={"token": None})}
    )
    assert "varde console" in (await stranger.get("/login")).text
    for token in ("", "None", TOKEN):
        assert (await stranger.post("/login", data={"token": token})).status_code == 403
    answer = await stranger.get("/api/v1/status", headers={"Authorization": "Bearer"})
    assert answer.status_code == 401


async def test_the_language_is_switched_and_kept(browser: httpx.AsyncClient) -> None:
    assert ">Alarms<" in (await browser.get("/")).text
    assert ">Alarmer<" in (await browser.get("/", headers={"Accept-Language": "nb"})).text
    answer = await browser.post("/language", data={"language": "nb", "next": "/alarms?kind=person"})
    assert answer.status_code == 303 and answer.headers["Location"] == "/alarms?kind=person"
    page = await browser.get("/", headers={"Accept-Language": "en"})
    assert ">Alarmer<" in page.text and '<html lang="nb"' in page.text
    await browser.post("/language", data={"language": "xx"})
    assert '<html lang="nb"' in (await browser.get("/")).text


async def test_the_cookie_is_secure_where_the_line_is(place: Any) -> None:
    from agent.web import build_console

    app = build_console(place.site)
    for scheme, secure in (("https", True), ("http", False)):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url=f"{scheme}://console.test") as client:
            answer = await client.post("/login", data={"token": TOKEN})
            assert ("Secure" in answer.headers["Set-Cookie"]) is secure
