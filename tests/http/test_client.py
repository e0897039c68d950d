"""The HTTP client against real sockets: every fault has its class, nothing is read without bound."""

import contextlib
from pathlib import Path

import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from agent.faults import Fault, FaultClass
from agent.http import HttpClient
from agent.vendors.lab import Ill, Laboratory


async def hello(request: Request) -> Response:
    return PlainTextResponse(f"hello {request.headers.get('authorization', 'nobody')}")


async def elsewhere(request: Request) -> Response:
    return RedirectResponse(request.query_params["to"], 307)


async def circle(request: Request) -> Response:
    return RedirectResponse("/circle", 307)


@pytest.fixture
async def laboratory(nursery: trio.Nursery) -> Laboratory:
    routes = [Route("/hello", hello), Route("/elsewhere", elsewhere), Route("/circle", circle)]
    made = Laboratory(Starlette(routes=routes))
    await nursery.start(made.serve)
    return made


@contextlib.asynccontextmanager
async def client_of(url: str, **options: object):  # type: ignore[no-untyped-def]
    client = HttpClient(url, **options)  # type: ignore[arg-type]
    try:
        yield client
    finally:
        await client.aclose()


async def fault_of(url: str, path: str = "/hello", **options: object) -> Fault:
    async with client_of(url, **{"timeout_s": 5.0, **options}) as client:
        with pytest.raises(Fault) as caught:
            await client.request("GET", path)
    return caught.value


async def test_an_answer_comes_whole(laboratory: Laboratory) -> None:
    async with client_of(laboratory.url, headers={"Authorization": "token"}) as client:
        response = await client.request("GET", "/hello")
        assert (response.status_code, response.text) == (200, "hello token")
        assert (await client.request("GET", "/nowhere")).status_code == 404


@pytest.mark.parametrize(
    ("ill", "fault_class"),
    [
        (Ill.STALL, FaultClass.SLOW),
        (Ill.DRIBBLE, FaultClass.SLOW),
        (Ill.RESET, FaultClass.REFUSED),
        (Ill.CLOSE, FaultClass.REFUSED),
        (Ill.GARBAGE, FaultClass.PROTOCOL),
        (Ill.HUGE, FaultClass.PROTOCOL),
    ],
)
async def test_every_ill_has_its_class(laboratory: Laboratory, ill: Ill, fault_class: FaultClass) -> None:
    laboratory.inject(ill)
    timeout_s = 0.5 if fault_class is FaultClass.SLOW else 20.0
    assert (await fault_of(laboratory.url, timeout_s=timeout_s)).fault_class is fault_class


async def test_a_closed_port_is_refused_and_a_wrong_name_unreachable() -> None:
    refused = await fault_of("http://127.0.0.1:9")
    assert refused.fault_class is FaultClass.REFUSED and refused.hint
    unknown = await fault_of("http://no-such-host.invalid")
    assert unknown.fault_class is FaultClass.UNREACHABLE and unknown.hint


async def test_a_token_follows_no_redirect_to_another_origin(laboratory: Laboratory) -> None:
    async with client_of(laboratory.url, headers={"Authorization": "token"}) as client:
        same = await client.request("GET", "/elsewhere", params={"to": "/hello"})
        assert same.text == "hello token"
    for target in ("http://localhost:1/hello", "http://127.0.0.1:1/hello", "https://127.0.0.1/hello"):
        fault = await fault_of(laboratory.url, f"/elsewhere?to={target}")
        assert fault.fault_class is FaultClass.PROTOCOL and "another host" in str(fault)


async def test_a_circle_of_redirects_ends(laboratory: Laboratory) -> None:
    assert "circle" in str(await fault_of(laboratory.url, "/circle"))


async def test_a_body_has_a_limit(laboratory: Laboratory) -> None:
    async with client_of(laboratory.url) as client:
        with pytest.raises(Fault, match="more than 5 bytes"):
            await client.request("GET", "/hello", max_bytes=5)


@pytest.mark.parametrize("content", [None, b"no certificate"])
async def test_a_ca_file_that_cannot_be_used_is_this_clients_fault(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    fault = await fault_of("https://127.0.0.1:9", ca_file=path)
    assert str(path) in fault.message and fault.hint


async def test_proxy_variables_are_not_heard(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with client_of(laboratory.url) as client:
        assert (await client.request("GET", "/hello")).status_code == 200


async def test_who_asks_after_the_close_gets_a_fault(laboratory: Laboratory) -> None:
    async with client_of(laboratory.url) as client:
        await client.request("GET", "/hello")
    with pytest.raises(Fault, match="closed here"):
        await client.request("GET", "/hello")
    with pytest.raises(Fault, match="closed here"):
        async with client.stream("GET", "/hello"):
            pass
