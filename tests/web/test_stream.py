"""The server-sent stream: in order, resumable, alive, and gone within a second when the agent stops."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trio

from agent.alarms.model import Kind
from agent.web import stream


class Events:
    """The events of one stream, read as they come."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.comments = 0
        self._lines = response.aiter_lines()

    async def next(self) -> dict[str, Any]:
        """The next alarm; its `id:` line must agree with it."""
        event_id = name = ""
        while True:
            line = await anext(self._lines)
            if line.startswith(":"):
                self.comments += 1
            elif line.startswith("id: "):
                event_id = line[4:]
            elif line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                alarm: dict[str, Any] = json.loads(line[6:])
                assert name == "alarm" and event_id == str(alarm["id"])
                return alarm

    async def comment(self) -> None:
        while not (await anext(self._lines)).startswith(":"):
            pass

    async def end(self) -> None:
        async for _ in self._lines:
            pass


@asynccontextmanager
async def opened(client: httpx.AsyncClient, path: str = "", **headers: str) -> AsyncIterator[Events]:
    with trio.fail_after(20):
        async with client.stream(
            "GET", f"/api/v1/alarms/stream{path}", headers={k.replace("_", "-"): v for k, v in headers.items()}
        ) as response:
            assert response.status_code == 200
            assert response.headers["Content-Type"].startswith("text/event-stream")
            events = Events(response)
            yield events
            await response.aclose()
            try:
                await events.end()
            except (httpx.HTTPError, httpx.StreamError):
                pass


async def test_alarms_arrive_as_they_are_journalled(place: Any, bearer: httpx.AsyncClient) -> None:
    await place.alarm()
    async with opened(bearer) as events:
        assert (await anext(events._lines)).startswith("retry")
        later = [await place.alarm(), await place.alarm()]
        first = await events.next()
        assert first["id"] == later[0] and first["kind"] == "person" and "deliveries" in first
        assert (await events.next())["id"] == later[1]


async def test_a_stream_resumes_after_the_last_event_id(place: Any, bearer: httpx.AsyncClient) -> None:
    ids = [await place.alarm() for _ in range(4)]
    async with opened(bearer, Last_Event_ID=str(ids[1])) as events:
        assert [(await events.next())["id"] for _ in range(2)] == ids[2:]
    async with opened(bearer, "?after=0") as events:
        assert [(await events.next())["id"] for _ in range(4)] == ids
    async with opened(bearer, f"?after={ids[0]}", Last_Event_ID=str(ids[2])) as events:
        assert (await events.next())["id"] == ids[3]


async def test_more_than_one_page_comes_whole_and_in_order(
    place: Any, bearer: httpx.AsyncClient, monkeypatch: Any
) -> None:
    monkeypatch.setattr(stream, "PAGE", 3)
    ids = [await place.alarm() for _ in range(10)]
    async with opened(bearer, "?after=0") as events:
        assert [(await events.next())["id"] for _ in range(10)] == ids
        last = await place.alarm()
        assert (await events.next())["id"] == last


async def test_filters_hold_for_the_stream_too(place: Any, bearer: httpx.AsyncClient) -> None:
    await place.alarm()
    tamper = await place.alarm(kind=Kind.TAMPER)
    async with opened(bearer, "?after=0&kind=tamper") as events:
        assert (await events.next())["id"] == tamper


async def test_a_silent_stream_shows_life(place: Any, bearer: httpx.AsyncClient, monkeypatch: Any) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.05)
    async with opened(bearer) as events:
        await events.comment()
        await events.comment()
        alarm_id = await place.alarm()
        assert (await events.next())["id"] == alarm_id


async def test_a_stream_lives_longer_than_a_request_body_may_take(place: Any, local: httpx.AsyncClient) -> None:
    """The listener's limit on silent callers is about bodies that do not arrive, not about who only listens."""
    async with opened(local) as events:
        await anext(events._lines)
        await trio.sleep(2.5)
        alarm_id = await place.alarm()
        assert (await events.next())["id"] == alarm_id


async def test_streams_end_when_the_agent_stops(
    place: Any, bearer: httpx.AsyncClient, local: httpx.AsyncClient
) -> None:
    async with opened(bearer) as one, opened(local) as other:
        await anext(one._lines)
        await anext(other._lines)
        place.site.stopping.set()
        await one.end()
        await other.end()


async def test_the_stream_needs_a_token(place: Any, stranger: httpx.AsyncClient) -> None:
    assert (await stranger.get("/api/v1/alarms/stream")).status_code == 401
