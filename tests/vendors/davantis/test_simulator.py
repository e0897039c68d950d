"""The simulator, seen by clients that are not ours: plain `http.client`, and Chromium for the video."""

import http.client
import io
import json
import shutil
import subprocess
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
import trio
from PIL import Image

from agent.vendors.davantis import picture
from agent.vendors.davantis.simulator import DavantisSimulator, clip


class PlainClient:
    """The manual's way: one `http.client` connection, bearer header, JSON."""

    def __init__(self, simulator: DavantisSimulator) -> None:
        address = urlsplit(simulator.url)
        self._connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
        self._headers: dict[str, str] = {}

    def ask(self, method: str, path: str, body: str | None = None):
        self._connection.request(method, path, body, self._headers)
        response = self._connection.getresponse()
        return response, response.read()

    def log_in(self, form: str) -> dict:
        response, body = self.ask("POST", "/oauth/token", form)
        assert response.status == 200, body
        document = json.loads(body)
        self._headers = {"Authorization": f"Bearer {document['access_token']}"}
        return document

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
async def plain(nursery):
    simulator = DavantisSimulator(password="")
    await nursery.start(simulator.serve)
    client = PlainClient(simulator)
    yield simulator, client
    client.close()


async def test_the_manuals_log_in_and_refresh(plain):
    _, client = plain

    def steps():
        first = client.log_in("?grant_type=password&username=admin&password=")
        assert (first["token_type"], first["expires_in"]) == ("bearer", 3599)
        second = client.log_in(f"grant_type=refresh_token&refresh_token={first['refresh_token']}")
        assert "token_type" not in second
        assert second["refresh_token"] != first["refresh_token"]
        response, _ = client.ask(
            "POST", "/oauth/token", f"grant_type=refresh_token&refresh_token={first['refresh_token']}"
        )
        assert response.status == 401

    await trio.to_thread.run_sync(steps)


async def test_the_manuals_polling_loop(plain):
    """Newest id first, then `min_id` again and again: 204 without news, 200 with, nothing twice."""
    simulator, client = plain
    simulator.raise_event()
    simulator.raise_event()

    def begin() -> int:
        client.log_in("?grant_type=password&username=admin&password=")
        response, body = client.ask("GET", "/alarms")
        assert response.status == 200
        alarms = json.loads(body)
        assert alarms[0]["id"] == max(alarm["id"] for alarm in alarms)
        return alarms[0]["id"]

    def again(min_id: int) -> list[dict]:
        response, body = client.ask("GET", f"/alarms?min_id={min_id}")
        if response.status == 204:
            assert body == b""
            return []
        assert response.status == 200
        return json.loads(body)

    mark = await trio.to_thread.run_sync(begin)
    assert await trio.to_thread.run_sync(again, mark) == []
    raised = [int(simulator.raise_event("person")) for _ in range(3)]
    news = await trio.to_thread.run_sync(again, mark)
    assert [alarm["id"] for alarm in news] == raised[::-1]
    assert all(alarm["description"] and alarm["started"] for alarm in news)
    assert await trio.to_thread.run_sync(again, news[0]["id"]) == []


async def test_the_manuals_download_of_a_video(plain):
    simulator, client = plain
    simulator.quirks.recording_s = 0
    simulator.raise_event("armed")
    number = simulator.raise_event("person")

    def steps():
        client.log_in("?grant_type=password&username=admin&password=")
        alarms = json.loads(client.ask("GET", "/alarms")[1])
        ready = next(alarm["id"] for alarm in alarms if alarm["video_status"] == "ready")
        assert str(ready) == number
        response, body = client.ask("GET", f"/alarms/{ready}/video")
        assert response.getheader("Content-type") == "video/mp4"
        assert body == clip()
        response, _ = client.ask("GET", f"/alarms/{alarms[-1]['id']}/snapshot")
        assert response.status == 404

    await trio.to_thread.run_sync(steps)


async def test_the_manuals_relay_and_input(plain):
    _, client = plain

    def steps():
        client.log_in("?grant_type=password&username=admin&password=")
        assert client.ask("PATCH", "/relays/1", json.dumps({"status": True}))[0].status == 200
        assert json.loads(client.ask("GET", "/relays")[1])[0] == {"id": 1, "alias": "light", "status": True}
        assert client.ask("PATCH", "/inputs/1", json.dumps({"status": False}))[0].status == 200
        response, body = client.ask("PATCH", "/inputs/2", json.dumps({"status": False}))
        assert response.status == 409
        assert "fault" in json.loads(body)

    await trio.to_thread.run_sync(steps)


async def test_no_token_no_answer(plain):
    _, client = plain
    response, body = await trio.to_thread.run_sync(client.ask, "GET", "/alarms")
    assert response.status == 401
    assert json.loads(body)["fault"]["detail"]["errorcode"] == "keymanagement.service.invalid_access_token"


async def test_a_list_holds_the_newest_300(plain):
    simulator, client = plain
    raised = simulator.raise_backlog(310, over_s=1000)

    def steps():
        client.log_in("?grant_type=password&username=admin&password=")
        return [str(alarm["id"]) for alarm in json.loads(client.ask("GET", "/alarms")[1])]

    assert await trio.to_thread.run_sync(steps) == raised[::-1][:300]


async def test_the_schedule_raises_one_kind_after_the_other(autojump_clock):
    simulator = DavantisSimulator()
    with trio.move_on_after(95):
        await simulator.schedule(20)
    assert [alarm.key for alarm in simulator.device.alarms][:3] == [
        "detected.intruder",
        "detected.person",
        "detected.vehicle",
    ]
    assert len(simulator.device.alarms) == 5


def red(content: bytes) -> int:
    """How many pixels of a picture are the box's red."""
    pixels = Image.open(io.BytesIO(content)).convert("RGB").get_flattened_data()
    return sum(r > 170 and g < 90 and b < 90 for r, g, b in pixels)


def test_a_snapshot_shows_the_intruder_in_a_box_and_an_empty_yard_none():
    moment = datetime(2026, 3, 1, 22, 14, tzinfo=UTC)
    empty = picture.snapshot(2, "2  Loading bay", moment, progress=None)
    caught = picture.snapshot(2, "2  Loading bay", moment, progress=0.5, label="person")
    assert Image.open(io.BytesIO(caught)).size == picture.SIZE
    assert red(empty) < 20 < 200 < red(caught)


def test_cameras_look_at_different_places():
    moment = datetime(2026, 3, 1, 22, 14, tzinfo=UTC)
    assert len({picture.snapshot(camera, "", moment, progress=None) for camera in (1, 2, 3, 4)}) == 4


def test_the_video_is_small():
    assert 10_000 < len(clip()) < 150_000


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Debian's chromium")
def test_the_video_plays_in_chromium(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(clip())
    (tmp_path / "page.html").write_text(
        "<video id=v src=clip.mp4 muted></video><script>"
        "v.ontimeupdate=()=>{if(v.currentTime>0.2)document.title='played '+v.videoWidth};v.play()</script>"
    )
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
    options += ["--allow-file-access-from-files", "--virtual-time-budget=5000", f"--user-data-dir={tmp_path}/profile"]
    done = subprocess.run(
        ["chromium", *options, "--dump-dom", f"file://{tmp_path}/page.html"],
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert "played 480" in done.stdout
