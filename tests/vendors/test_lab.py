"""The laboratory's troubles, seen by the product's own HTTP client."""

from typing import Any

import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from agent.faults import Fault, FaultClass
from agent.http import HttpClient
from agent.vendors.lab import Ill, Laboratory


async def echo(request: Request) -> JSONResponse:
    return JSONResponse(request.url.path)


app = Starlette(routes=[Route("/{rest:path}", echo)])


@pytest.fixture
async def laboratory(nursery: trio.Nursery) -> Laboratory:
    made = Laboratory(app)
    await nursery.start(made.serve)
    return made


@pytest.fixture
async def client(laboratory: Laboratory) -> Any:
    made = HttpClient(laboratory.url, timeout_s=10)
    yield made
    await made.aclose()


async def fault_of(client: HttpClient, path: str = "/x", timeout_s: float = 10) -> FaultClass:
    with pytest.raises(Fault) as caught:
        await client.request("GET", path, timeout_s=timeout_s, max_bytes=100_000)
    return caught.value.fault_class


async def test_the_app_answers_and_requests_are_noted(laboratory: Laboratory, client: HttpClient) -> None:
    assert (await client.request("GET", "/a?b=1")).json() == "/a"
    assert (await client.request("GET", "/c")).json() == "/c"
    assert list(laboratory.requests) == ["GET /a?b=1", "GET /c"]


@pytest.mark.parametrize(
    ("ill", "seen"),
    [
        (Ill.RESET, FaultClass.REFUSED),
        (Ill.CLOSE, FaultClass.REFUSED),
        (Ill.LOST, FaultClass.REFUSED),
        (Ill.GARBAGE, FaultClass.PROTOCOL),
        (Ill.HUGE, FaultClass.PROTOCOL),
    ],
)
async def test_a_trouble_befalls_as_many_requests_as_told(
    laboratory: Laboratory, client: HttpClient, ill: Ill, seen: FaultClass
) -> None:
    laboratory.inject(ill, times=2)
    assert await fault_of(client) is seen
    assert await fault_of(client) is seen
    assert (await client.request("GET", "/x")).status_code == 200


@pytest.mark.parametrize("ill", [Ill.STALL, Ill.DRIBBLE, Ill.LATENCY])
async def test_slow_troubles_last_until_cleared(laboratory: Laboratory, client: HttpClient, ill: Ill) -> None:
    laboratory.inject(ill, delay_s=5)
    assert await fault_of(client, timeout_s=0.2) is FaultClass.SLOW
    laboratory.clear()
    assert (await client.request("GET", "/x")).status_code == 200


async def test_a_dribbled_answer_is_whole(laboratory: Laboratory, client: HttpClient) -> None:
    laboratory.inject(Ill.DRIBBLE, delay_s=0.0)
    assert (await client.request("GET", "/x")).json() == "/x"


async def test_answers_of_others(laboratory: Laboratory, client: HttpClient) -> None:
    laboratory.inject(Ill.STATUS, times=1, status=429, retry_after_s=7)
    laboratory.inject(Ill.HTML, times=1, status=502)
    laboratory.inject(Ill.WRONG_JSON, times=1)
    limited, page, wrong = [await client.request("GET", "/x") for _ in range(3)]
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
    assert (page.status_code, page.text[:9]) == (502, "<!DOCTYPE")
    assert set(wrong.json()) == {"weather"}


async def test_a_trouble_may_belong_to_one_path(laboratory: Laboratory, client: HttpClient) -> None:
    laboratory.inject(Ill.RESET, path="/alarms")
    assert (await client.request("GET", "/cameras")).status_code == 200
    assert await fault_of(client, "/alarms?min_id=1") is FaultClass.REFUSED


async def test_an_outage_refuses_and_ends_at_the_same_port(laboratory: Laboratory, client: HttpClient) -> None:
    url = laboratory.url
    await client.request("GET", "/x")
    laboratory.close_port()
    await trio.testing.wait_all_tasks_blocked()
    assert await fault_of(client) is FaultClass.REFUSED
    laboratory.open_port()
    assert laboratory.url == url
    assert (await client.request("GET", "/x")).status_code == 200


async def test_an_outage_resets_a_request_in_flight(
    laboratory: Laboratory, client: HttpClient, nursery: trio.Nursery
) -> None:
    laboratory.inject(Ill.LATENCY, delay_s=30)
    seen: list[FaultClass] = []

    async def ask() -> None:
        seen.append(await fault_of(client))

    with trio.fail_after(20):
        async with trio.open_nursery() as asking:
            asking.start_soon(ask)
            await laboratory.asked("GET /x")
            laboratory.close_port()
    assert seen == [FaultClass.REFUSED]


async def test_stop_ends_serving() -> None:
    made = Laboratory(app)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(made.serve)
            made.stop.set()
