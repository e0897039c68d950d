"""The console's pages as a browser gets them: complete, escaped, and bound to nobody else."""

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
import trio

from agent.alarms.model import Kind
from agent.faults import Fault, FaultClass
from agent.web import words
from agent.web.pages.clock import SiteClock

TOKEN = "a token that is long enough"
HOSTILE = "<script>alert(1)</script>'\"><img src=x onerror=alert(2)>&{{7*7}}{% raw %}\u202e\x00"


@pytest.fixture
async def browser(place: Any, stranger: httpx.AsyncClient) -> httpx.AsyncClient:
    await stranger.post("/login", data={"token": TOKEN})
    return stranger


class Elements(HTMLParser):
    """The elements of a page, with what would make a browser run or load something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.inline: list[str] = []
        self.addresses: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        for name, value in attrs:
            if name.startswith("on") or name == "style":
                self.inline.append(f"{tag} {name}={value}")
            if name in ("src", "href", "action", "poster"):
                self.addresses.append(value or "")
        self._in_script = tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.inline.append(data)
        self._in_script = False


async def _every_page(place: Any, browser: httpx.AsyncClient, alarm_id: int) -> dict[str, str]:
    batch = await place.site.batches.run_once("test")
    paths = [
        "/", "/alarms", "/alarms?kind=person&source=yard&day=2026-01-01", "/alarms?delivery=pending",
        f"/alarms/{alarm_id}", "/cameras", "/cameras?watch=yard:1", "/clients", "/clients?state=new",
        "/clients?client=9998", "/clients/Alarm24/9998", f"/batches/{batch.id}", "/health",
        "/do?source=yard&action=arm&target=1",
        "/clients/Alarm24/9998/do?action=lock", "/clients/combine", "/clients/removed?id=x", "/nothing",
        "/alarms/999999", "/alarms?limit=x&kind=burglar", "/login/wrong",
    ]  # fmt: skip
    found = {}
    for path in paths:
        for language in words.CATALOGUE:
            answer = await browser.get(path, headers={"Accept-Language": language})
            assert answer.status_code in (200, 403, 404, 422), (path, answer.status_code, answer.text)
            found[f"{language} {path}"] = answer.text
            policy = answer.headers["Content-Security-Policy"]
            assert "unsafe" not in policy and "frame-ancestors 'none'" in policy and "default-src 'none'" in policy
            assert answer.headers["Referrer-Policy"] == "same-origin"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cache-Control"] == "no-store"
    return found


async def test_a_hostile_name_is_only_a_name_on_every_page(
    registered: str, place: Any, browser: httpx.AsyncClient
) -> None:
    place.yard.name = HOSTILE
    place.yard.snapshot_type = HOSTILE.replace("\x00", "")
    key = place.site.keys.by_name("Alarm24")
    text = HOSTILE.replace("\x00", "")
    await place.site.registry.put_client(key, 9998, {"Name": text, "SpecRequest": text})
    await place.site.registry.put_zone(key, 9998, {"Zone_No": 3, "Zone_area": text})
    place.site.problems["reload"] = f"Refused {HOSTILE}. Really {HOSTILE}."
    place.receiver.trouble = Fault(FaultClass.PROTOCOL, HOSTILE)
    place.yard.trouble = None
    await browser.post("/do", data={"source": "yard", "action": "arm", "target": HOSTILE})
    alarm_id = await place.pictured(
        description=HOSTILE, raw={HOSTILE: [HOSTILE, {"x": "\ud83d"}]}, native_id=HOSTILE, device=HOSTILE
    )
    pages = await _every_page(place, browser, alarm_id)
    seen = 0
    for path, text in pages.items():
        elements = Elements(text)
        assert elements.inline == [], path
        assert elements.names.count("script") <= 1 and "alert(1)</script>" not in text, path
        assert "onerror=alert(2)&gt;" in text or "<img src=x" not in text, path
        assert "49" not in re.findall(r"&amp;(\d+)", text), path
        seen += "&lt;script&gt;alert(1)" in text
    assert seen >= 10


async def test_no_page_reaches_for_another_host(registered: str, place: Any, browser: httpx.AsyncClient) -> None:
    pages = await _every_page(place, browser, await place.pictured())
    for path, text in pages.items():
        for address in Elements(text).addresses:
            assert address.startswith(("/", "#")) and not address.startswith("//"), (path, address)


async def test_nothing_secret_is_shown(registered: str, place: Any, browser: httpx.AsyncClient) -> None:
    pages = await _every_page(place, browser, await place.alarm())
    for path, text in pages.items():
        for secret in ("hidden-one", TOKEN, "a secret key"):
            assert secret not in text, path
    assert "**********" in pages["en /health"] and "192.0.2.1" in pages["en /health"]


async def test_the_site_page_says_that_all_is_well_or_the_cause(
    place: Any, browser: httpx.AsyncClient, wait_until: Any
) -> None:
    place.site.keys.path.write_text("[]")
    place.site.keys.reload()
    await wait_until(lambda: place.site.batches.share_status()["state"] == "up")
    text = (await browser.get("/")).text
    assert "Everything works." in text and "No alarm has been raised yet." in text
    place.receiver.trouble = Fault(FaultClass.REFUSED, "Its port refuses connections.")
    await place.alarm()
    await wait_until(lambda: place.site.dispatchers["receiver"].state == "down")
    text = (await browser.get("/")).text
    assert "Alarms are not reaching receiver." in text and "Its port refuses connections." in text
    assert "Everything works." not in text
    norwegian = (await browser.get("/", headers={"Accept-Language": "nb"})).text
    assert "Alarmer når ikke fram til receiver." in norwegian


async def test_the_list_is_filtered_by_its_address_and_goes_back_page_by_page(
    place: Any, browser: httpx.AsyncClient
) -> None:
    old = datetime.now(UTC) - timedelta(days=40)
    ids = [await place.alarm() for _ in range(32)]
    tamper = await place.alarm(kind=Kind.TAMPER, occurred_at=old)

    async def listed(query: str) -> list[int]:
        text = (await browser.get(f"/alarms{query}")).text
        return [int(found) for found in re.findall(r'<li id="alarm-(\d+)"', text)]

    newest = sorted([*ids, tamper], reverse=True)
    assert await listed("") == newest[:30]
    assert f"before={newest[29]}" in (await browser.get("/alarms")).text
    assert await listed(f"?before={newest[29]}") == newest[30:]
    assert await listed("?kind=tamper") == [tamper]
    assert await listed("?source=elsewhere") == []
    day = old.astimezone(ZoneInfo("Europe/Oslo")).date()
    assert await listed(f"?day={day}") == [tamper]
    today = await listed(f"?day={datetime.now(ZoneInfo('Europe/Oslo')).date()}")
    # By the time of occurrence within a day; alarms of one millisecond by their number.
    assert today == sorted(ids, reverse=True)[:30] or set(today) <= set(ids)
    assert (await browser.get("/alarms?day=31.1.2026")).status_code == 422
    assert await listed("?delivery=rejected") == []


async def test_a_days_pages_miss_nothing_and_repeat_nothing(place: Any, browser: httpx.AsyncClient) -> None:
    moment = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
    ids = [await place.alarm(occurred_at=moment + timedelta(seconds=number // 7)) for number in range(70)]
    found: list[int] = []
    address = "/alarms?day=2026-01-15"
    while address:
        text = (await browser.get(address)).text
        found += [int(number) for number in re.findall(r'<li id="alarm-(\d+)"', text)]
        following = re.search(r'rel="next" href="([^"]+)"', text)
        address = following[1].replace("&amp;", "&") if following else ""
    assert found == sorted(ids, reverse=True)


async def test_one_alarms_page_tells_its_story(place: Any, browser: httpx.AsyncClient, wait_until: Any) -> None:
    alarm_id = await place.pictured(raw={"odd": 1})

    async def told() -> bool:
        text = (await browser.get(f"/alarms/{alarm_id}")).text
        return all(word in text for word in ("Acknowledged by receiver", "Picture here", "Video here"))

    await wait_until(told)
    text = (await browser.get(f"/alarms/{alarm_id}")).text
    assert "Raised by the device" in text and "&#34;odd&#34;: 1" in text
    assert f"/api/v1/alarms/{alarm_id}/video" in text
    small = await browser.get(f"/alarms/{alarm_id}/thumbnail")
    assert small.status_code == 200 and small.headers["Content-Type"] == "image/jpeg" and len(small.content) < 20_000


async def test_a_picture_that_is_none_is_passed_on_as_data(
    place: Any, browser: httpx.AsyncClient, wait_until: Any, monkeypatch: Any
) -> None:
    from agent.web.pages import thumbnails

    monkeypatch.setattr(thumbnails, "MAX_PIXELS", 100)
    alarm_id = await place.pictured()

    async def ready() -> bool:
        return (await browser.get(f"/alarms/{alarm_id}/thumbnail")).status_code == 200

    await wait_until(ready)
    whole = await browser.get(f"/alarms/{alarm_id}/thumbnail")
    assert whole.content == (await browser.get(f"/api/v1/alarms/{alarm_id}/snapshot")).content


async def test_an_action_says_what_it_will_do_and_then_what_came_of_it(place: Any, browser: httpx.AsyncClient) -> None:
    asked = (await browser.get("/do?source=yard&action=disarm&target=1")).text
    assert "Disarms Input 1 (Yard key) of yard." in asked and place.yard.acted == []
    done = await browser.post("/do", data={"source": "yard", "action": "disarm", "target": "1"}, follow_redirects=True)
    assert done.status_code == 200 and "Done: disarm 1 done." in done.text
    refused = await browser.post("/do", data={"source": "yard", "action": "arm", "target": "2"}, follow_redirects=True)
    assert "The device refuses: Camera 2 is in maintenance." in refused.text
    trail = (await browser.get("/api/v1/audit")).json()["audit"]
    assert [(entry["who"], entry["outcome"]) for entry in trail] == [("console", "done"), ("console", "refused")]
    for wrong in ("source=x&action=arm&target=1", "source=yard&action=explode&target=1", ""):
        assert (await browser.get(f"/do?{wrong}")).status_code == 404


async def test_cameras_are_listed_also_while_the_device_is_away(place: Any, browser: httpx.AsyncClient) -> None:
    assert "Gate" in (await browser.get("/cameras")).text
    place.yard.trouble = Fault(FaultClass.SLOW, "yard is slow.")
    await browser.post("/do", data={"source": "yard", "action": "arm", "target": "1"})
    text = (await browser.get("/cameras")).text
    assert "Gate" in text and "yard is slow." in text


async def test_a_live_picture_passes_through_and_ends_with_its_viewer(
    place: Any, browser: httpx.AsyncClient, wait_until: Any
) -> None:
    async with browser.stream("GET", "/cameras/yard/1/live") as response:
        assert response.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=frame"
        parts = response.aiter_raw()
        assert b"image/jpeg" in await anext(parts)
        assert place.yard.watching == 1
        await response.aclose()
        try:
            await anext(parts)
        except (httpx.HTTPError, httpx.StreamError, StopAsyncIteration):
            pass
    await wait_until(lambda: place.yard.watching == 0)
    assert (await browser.get("/cameras/yard/9/live")).status_code == 502
    assert (await browser.get("/cameras/nowhere/1/live")).status_code == 404
    place.yard.trouble = Fault(FaultClass.UNREACHABLE, "gone")
    assert (await browser.get("/cameras/yard/1/live")).status_code == 502


async def test_clients_and_batches(registered: str, place: Any, browser: httpx.AsyncClient, tmp_path: Any) -> None:
    assert "9998" in (await browser.get("/clients")).text
    assert "9998" not in (await browser.get("/clients?state=imported")).text.split("<main")[1]
    assert "No client has the number 17" in (await browser.get("/clients?client=17")).text
    client = (await browser.get("/clients/Alarm24/9998")).text
    assert "&lt;Name&gt;Ola Nordmann &amp;lt;b&amp;gt;" in client and registered in client
    assert (await browser.get("/clients/Alarm24/1")).status_code == 404
    locked = await browser.post("/clients/Alarm24/9998/do", data={"action": "lock"}, follow_redirects=True)
    assert "locked until" in locked.text and "Unlock" in locked.text
    await browser.post("/clients/Alarm24/9998/do", data={"action": "unlock"})
    assert "1 wait." in (await browser.get("/clients/combine")).text
    sent = await browser.post("/clients/combine", follow_redirects=True)
    assert "1 clients are on the share" in sent.text
    assert registered in (tmp_path / "share" / "clients.xml").read_text()
    assert "waits for its result" in (await browser.get("/batches/1")).text


async def test_checks_run_when_asked_for_and_show_their_remedy(
    place: Any, browser: httpx.AsyncClient, monkeypatch: Any
) -> None:
    from agent import checks

    async def run(*_: Any) -> Any:
        yield checks.Check("disk", "Disk", "failed", "1 GB free.", "Free space now.")

    monkeypatch.setattr(checks, "run", run)
    assert "Free space now." not in (await browser.get("/health")).text
    text = (await browser.post("/health/checks", follow_redirects=True)).text
    assert "Free space now." in text and "1 GB free." in text


async def test_the_script_of_an_open_page_is_told_when_to_look_again(
    place: Any, browser: httpx.AsyncClient, monkeypatch: Any
) -> None:
    from agent.web.pages import live

    monkeypatch.setattr(live, "TICK_S", 3600.0)
    with trio.fail_after(20):
        async with browser.stream("GET", "/live") as response:
            lines = response.aiter_lines()
            assert (await anext(lines)).startswith("retry")
            await place.alarm()
            while not (await anext(lines)).startswith("event: change"):
                pass
            # Logged out elsewhere: the stream ends by itself.
            await browser.post("/logout")
            async for _ in lines:
                pass


async def test_open_pages_share_one_making_until_something_happens(
    place: Any, browser: httpx.AsyncClient, monkeypatch: Any
) -> None:
    from agent.web.pages import live

    monkeypatch.setattr(live, "FRESH_S", 3600.0)
    live_header = {live.HEADER: "1"}
    first = (await browser.get("/alarms", headers=live_header)).text
    place.site.settings = place.site.settings.model_copy(
        update={"site": place.site.settings.site.model_copy(update={"timezone": "Asia/Tokyo"})}
    )
    assert (await browser.get("/alarms", headers=live_header)).text == first
    alarm_id = await place.alarm()
    assert f"alarm-{alarm_id}" in (await browser.get("/alarms", headers=live_header)).text
    norwegian = await browser.get("/alarms", headers={**live_header, "Accept-Language": "nb"})
    assert "Alarmer" in norwegian.text


async def test_static_files_are_kept_for_ever_under_a_name_of_their_content(
    place: Any, stranger: httpx.AsyncClient
) -> None:
    page = (await stranger.get("/login")).text
    (css,) = re.findall(r'href="(/static/console\.css\?v=[0-9a-f]{12})"', page)
    answer = await stranger.get(css)
    assert answer.status_code == 200 and "immutable" in answer.headers["Cache-Control"]
    for wrong in ("/static/nothing", "/static/..%2f__init__.py", "/static/.hidden", "/static/"):
        assert (await stranger.get(wrong)).status_code in (303, 404)


def _clock(moment: datetime) -> SiteClock:
    return SiteClock(ZoneInfo("Europe/Oslo"), words.translator("en"), moment)


def test_times_have_their_date_when_it_is_not_today() -> None:
    clock = _clock(datetime(2026, 1, 15, 1, 0, tzinfo=UTC))
    assert ">02:00:00<" in clock.time("2026-01-15T01:00:00.000Z")
    assert ">2026-01-14 23:59:59<" in clock.time("2026-01-14T22:59:59.000Z")
    assert 'title="2026-01-14 22:59:59.000 UTC"' in clock.time("2026-01-14T22:59:59.000Z")
    assert clock.is_night and not _clock(datetime(2026, 1, 15, 12, 0, tzinfo=UTC)).is_night


def test_a_day_has_the_hours_it_has() -> None:
    clock = _clock(datetime(2026, 1, 15, 1, 0, tzinfo=UTC))
    for day, hours in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-01-15", 24)):
        begin, end = clock.day_bounds(datetime.fromisoformat(day).date())
        assert (end - begin) == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.018, "18 ms"), (0.3, "0.3 s"), (12, "12 s"), (303, "5 min 3 s"), (273_600, "3 d 4 h"), (-1, "0 ms")],
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert _clock(datetime(2026, 1, 15, tzinfo=UTC)).duration(seconds) == text
