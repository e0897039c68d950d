"""Far ends that mean harm: each takes a connection and does one thing with it, until the caller goes."""

import zlib
from collections.abc import Awaitable, Callable

import trio

Evil = Callable[[trio.SocketStream], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


async def mute(stream: trio.SocketStream) -> None:
    """Accepts and never answers."""
    async for _ in stream:
        pass


async def dribble(stream: trio.SocketStream) -> None:
    """A byte now and then, for ever."""
    await stream.receive_some(4096)
    await stream.send_all(OK + b"Content-Length: 1000000\r\n\r\n")
    while True:
        await stream.send_all(b"[")
        await trio.sleep(0.2)


async def endless_header(stream: trio.SocketStream) -> None:
    await stream.receive_some(4096)
    await stream.send_all(b"HTTP/1.1 200 OK\r\n")
    while True:
        await stream.send_all(b"X-More: " + b"x" * 60_000)


async def gigabyte(stream: trio.SocketStream) -> None:
    await stream.receive_some(4096)
    await stream.send_all(OK + b"Content-Length: 1000000000\r\n\r\n")
    while True:
        await stream.send_all(b"[" * 65536)


async def zip_bomb(stream: trio.SocketStream) -> None:
    """A gigabyte in a megabyte, sent although nobody said that he takes it."""
    await stream.receive_some(4096)
    body = bomb()
    await stream.send_all(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await mute(stream)


async def nested(stream: trio.SocketStream) -> None:
    """Well-formed JSON, 3 MB deep."""
    await stream.receive_some(4096)
    body = b"[" * 3_000_000 + b"]" * 3_000_000
    await stream.send_all(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await mute(stream)


async def huge_numbers(stream: trio.SocketStream) -> None:
    """Well-formed JSON whose numbers take for ever to read, or are none."""
    await stream.receive_some(4096)
    body = b'{"access_token": 1' + b"0" * 100_000 + b', "expires_in": NaN, "refresh_token": 1e999}'
    await stream.send_all(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await mute(stream)


async def garbage(stream: trio.SocketStream) -> None:
    await stream.receive_some(4096)
    await stream.send_all(bytes(range(256)) * 64)
    await mute(stream)


ALL: dict[str, Evil] = {
    "mute": mute,
    "dribble": dribble,
    "endless-header": endless_header,
    "gigabyte": gigabyte,
    "zip-bomb": zip_bomb,
    "nested": nested,
    "huge-numbers": huge_numbers,
    "garbage": garbage,
}

_bombs: list[bytes] = []


def bomb() -> bytes:
    if not _bombs:
        packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        block = bytes(10_000_000)
        _bombs.append(b"".join([*(packer.compress(block) for _ in range(100)), packer.flush()]))
    return _bombs[0]


async def listen(nursery: trio.Nursery, evil: Evil) -> int:
    """Serve it in `nursery`; the port."""

    async def serve(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await evil(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the caller has had enough

    listeners = await nursery.start(trio.serve_tcp, serve, 0)
    return int(listeners[0].socket.getsockname()[1])


async def echo(stream: trio.SocketStream) -> None:
    """An error page that repeats the request, its secrets included."""
    request = bytes(await stream.receive_some(65536))
    head = b"HTTP/1.1 500 Oops\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(request)
    await stream.send_all(head + request)
