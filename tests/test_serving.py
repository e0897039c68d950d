"""The limits every listener has, seen from a caller's socket."""

from functools import partial
from typing import Any

import httpx
import pytest
import trio

from agent import serving


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the size of the body, or with a stream that goes on for a while."""
    if scope["type"] != "http":
        raise NotImplementedError
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/slow":
        for _ in range(4):
            await send({"type": "http.response.body", "body": b".", "more_body": True})
            await trio.sleep(0.4)
    await send({"type": "http.response.body", "body": b"%d" % size})


@pytest.fixture
async def url(nursery: trio.Nursery) -> str:
    limits = partial(serving.serve, max_body_bytes=1000, read_timeout_s=0.5)
    found: str = await nursery.start(limits, app, serving.listen_tcp("127.0.0.1", 0), trio.Event())
    return found


async def test_who_only_listens_is_not_cut_off(url: str) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{url}/slow", timeout=20)).text == "....0"


async def test_a_body_that_stops_arriving_is_408(url: str) -> None:
    answer = await _raw(url, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 408") and b"stopped arriving" in answer


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 1001\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n" + b"3e9\r\n" + b"a" * 1001 + b"\r\n"],
)
async def test_a_body_that_is_too_large_is_413(url: str, head: bytes) -> None:
    answer = await _raw(url, b"POST / HTTP/1.1\r\nHost: x\r\n" + head)
    assert answer.startswith(b"HTTP/1.1 413") and b"1000 bytes" in answer


async def test_a_body_within_the_limits_arrives(url: str) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.post(url, content=b"a" * 1000)).text == "1000"


async def _raw(url: str, request: bytes) -> bytes:
    host, port = url.removeprefix("http://").split(":")
    with trio.fail_after(20):
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(request)
            answer = b""
            while b"\r\n\r\n" not in answer or b"}" not in answer:
                part = await stream.receive_some()
                if not part:
                    break
                answer += part
            return answer
