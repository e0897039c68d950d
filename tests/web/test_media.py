"""Snapshots and videos: the stored type, ranges, the reason where there is none, and links that expire."""

import base64
import time
from typing import Any

import httpx
import pytest

from agent.web import links


async def _ready(bearer: httpx.AsyncClient, alarm_id: int, wait_until: Any) -> None:
    async def ready() -> bool:
        evidence = (await bearer.get(f"/api/v1/alarms/{alarm_id}")).json()["evidence"]
        return set(evidence.values()) == {"ready"}

    await wait_until(ready)


async def test_a_snapshot_comes_with_its_own_type(place: Any, bearer: httpx.AsyncClient, wait_until: Any) -> None:
    alarm_id = await place.pictured()
    await _ready(bearer, alarm_id, wait_until)
    answer = await bearer.get(f"/api/v1/alarms/{alarm_id}/snapshot")
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.content.startswith(b"\xff\xd8")


async def test_a_video_can_be_read_in_ranges(place: Any, bearer: httpx.AsyncClient, wait_until: Any) -> None:
    alarm_id = await place.pictured()
    await _ready(bearer, alarm_id, wait_until)
    url = f"/api/v1/alarms/{alarm_id}/video"
    whole = await bearer.get(url)
    assert whole.headers["Content-Type"] == "video/mp4" and whole.headers["Accept-Ranges"] == "bytes"
    part = await bearer.get(url, headers={"Range": "bytes=100-199"})
    assert part.status_code == 206 and part.content == whole.content[100:200]
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(whole.content)}"
    beyond = await bearer.get(url, headers={"Range": "bytes=99999999-"})
    assert beyond.status_code == 416
    head = await bearer.head(url)
    assert head.status_code == 200 and int(head.headers["Content-Length"]) == len(whole.content)


async def test_while_recording_it_is_404_with_the_reason(place: Any, bearer: httpx.AsyncClient) -> None:
    place.yard.media_ready = False
    alarm_id = await place.pictured()
    for media in ("snapshot", "video"):
        answer = await bearer.get(f"/api/v1/alarms/{alarm_id}/{media}")
        assert answer.status_code == 404 and "recorded" in answer.json()["detail"]
        assert answer.headers["Retry-After"]
    bare = await place.alarm()
    answer = await bearer.get(f"/api/v1/alarms/{bare}/snapshot")
    assert answer.status_code == 404 and "none" in answer.json()["detail"]


async def test_what_claims_to_be_a_page_is_only_data(place: Any, bearer: httpx.AsyncClient, wait_until: Any) -> None:
    place.yard.snapshot_type = "text/html"
    alarm_id = await place.pictured()
    await _ready(bearer, alarm_id, wait_until)
    answer = await bearer.get(f"/api/v1/alarms/{alarm_id}/snapshot")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment")


async def test_a_picture_link_works_without_a_token_until_it_expires(
    place: Any, bearer: httpx.AsyncClient, stranger: httpx.AsyncClient, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarm_id = await place.pictured()
    await _ready(bearer, alarm_id, wait_until)
    link = links.picture_link(place.site, await place.site.journal.alarm(alarm_id))
    assert link is not None and link.startswith("https://console.example/m/")
    path = link.removeprefix("https://console.example")
    answer = await stranger.get(path)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "image/jpeg"
    monkeypatch.setattr(time, "time", lambda: 10_000_000_000.0 - 6e9)
    assert (await stranger.get(path)).status_code == 404


async def test_a_forged_link_is_404(
    place: Any, bearer: httpx.AsyncClient, stranger: httpx.AsyncClient, wait_until: Any
) -> None:
    alarm_id = await place.pictured()
    await _ready(bearer, alarm_id, wait_until)
    link = links.picture_link(place.site, await place.site.journal.alarm(alarm_id))
    assert link is not None
    token = link.rsplit("/", 1)[1]
    raw = bytearray(base64.urlsafe_b64decode(token + "=="))
    raw[11] ^= 1  # one second more or less, and still the same alarm
    longer = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    for wrong in (longer, token[:-4], "", "x", "æ", "A" * 38, "A" * 5000):
        assert (await stranger.get(f"/m/{wrong}")).status_code == 404
    assert (await stranger.get(f"/m/{token}")).status_code == 200


async def test_no_link_where_nothing_can_be_seen(place: Any) -> None:
    bare = await place.site.journal.alarm(await place.alarm())
    assert links.picture_link(place.site, bare) is None
    pictured = await place.site.journal.alarm(await place.pictured())
    place.site.settings = place.site.settings.model_copy(
        update={"console": place.site.settings.console.model_copy(update={"public_url": None})}
    )
    assert links.picture_link(place.site, pictured) is None


async def test_links_survive_a_restart(place: Any, tmp_path: Any) -> None:
    alarm = await place.site.journal.alarm(await place.pictured())
    token = links.picture_link(place.site, alarm).rsplit("/", 1)[1]
    links._keys.clear()
    assert links._check(place.site, token) == alarm.id
    path = place.site.settings.paths.state_dir / "link.key"
    assert path.stat().st_mode & 0o777 == 0o600
