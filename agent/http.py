"""The one place that makes HTTP clients: timeouts, limits, TLS, redirects, fault classes.

Facts (httpx 0.28). Its timeouts count per socket operation, so a peer that dribbles a byte a second never trips
them; it follows redirects with the caller's headers to another port of the same host; it inflates whatever it is
sent; building a client costs 60 ms of TLS set-up. Decisions: one client per device for the daemon's life; every
request has one deadline for the whole exchange and one cap on the bytes read; bodies travel uncompressed; a redirect
is followed within the same origin only, so that a token never reaches another host.
"""

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import trio

from agent import __version__
from agent.faults import Fault, FaultClass

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_REDIRECTS = 3


class HttpClient:
    """One far end's client: a base address, one connection pool, one deadline a request.

    `url` is the base that paths are appended to; `timeout_s` bounds a whole exchange, connection included; `ca_file`
    is a PEM file that replaces the system's authorities. `connections` bounds the pool: a device gets one or two.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 10.0,
        ca_file: Path | None = None,
        auth: httpx.Auth | None = None,
        headers: dict[str, str] | None = None,
        connections: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.timeout_s = timeout_s
        self._opened: httpx.AsyncClient | None = None
        self._closed = False
        self._options: dict[str, Any] = {
            # A shorter wait for the connection than for the exchange, or a silent address would pass for a slow device.
            "timeout": httpx.Timeout(timeout_s, connect=0.8 * timeout_s),
            "limits": httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            "auth": auth,
            "headers": {"User-Agent": f"varde/{__version__}", "Accept-Encoding": "identity", **(headers or {})},
            "follow_redirects": False,
            "transport": transport,
            "trust_env": False,  # a proxy variable on a site box must not see a device's password
        }
        self._ca_file = ca_file

    async def request(
        self,
        method: str,
        path: str,
        *,
        max_bytes: int = MAX_BODY_BYTES,
        timeout_s: float | None = None,
        **options: Any,
    ) -> httpx.Response:
        """The whole answer, whatever its status; raises `Fault` (unreachable, refused, slow, protocol).

        `path` is appended to the base, or is an absolute URL of the same origin. `options` are httpx's (`params`,
        `json`, `content`, `data`, `headers`, `auth`).
        """
        deadline_s = timeout_s or self.timeout_s
        with faults(self.url, deadline_s), trio.fail_after(deadline_s):
            for _ in range(MAX_REDIRECTS + 1):
                async with self._client.stream(method, self._absolute(path), **options) as response:
                    if response.has_redirect_location:
                        path = self._same_origin(response)
                        continue
                    await _read(response, max_bytes, self.url)
                    return response
            raise Fault(FaultClass.PROTOCOL, f"{self.url} redirects in a circle.")

    @asynccontextmanager
    async def stream(self, method: str, path: str, **options: Any) -> AsyncIterator[httpx.Response]:
        """An answer whose body the caller reads chunk by chunk; the deadline holds for the head and for each chunk."""
        with faults(self.url, self.timeout_s):
            async with self._client.stream(method, self._absolute(path), **options) as response:
                yield response

    async def aclose(self) -> None:
        """Whoever still asks gets a `Fault`: a stop or a reload closes a source whose pictures are being fetched."""
        self._closed = True
        if self._opened is not None:
            await self._opened.aclose()

    @property
    def _client(self) -> httpx.AsyncClient:
        """Made at the first request: a ca_file that cannot be read is this far end's fault, not the start's."""
        if self._closed:
            raise Fault(FaultClass.REFUSED, f"{self.url} is not asked any more: it has been closed here.")
        if self._opened is None:
            self._opened = httpx.AsyncClient(verify=_tls(self._ca_file), **self._options)
        return self._opened

    def _absolute(self, path: str) -> str:
        return path if path.startswith(("http://", "https://")) else self.url + path

    def _same_origin(self, response: httpx.Response) -> str:
        target = response.url.join(response.headers["Location"])
        own = httpx.URL(self.url)
        if (target.scheme, target.host, target.port) != (own.scheme, own.host, own.port):
            raise Fault(
                FaultClass.PROTOCOL,
                f"{self.url} redirects to another host ({target.scheme}://{target.host}).",
                hint="Set url to the address that answers itself; credentials never follow a redirect.",
            )
        return str(target)


async def _read(response: httpx.Response, max_bytes: int, where: str) -> None:
    """Read the body into `response`, at most `max_bytes`."""
    parts: list[bytes] = []
    size = 0
    body = response.aiter_raw()
    async for part in body:
        size += len(part)
        if size > max_bytes:
            await abandon(response, body)
            raise Fault(FaultClass.PROTOCOL, f"{where} answers with more than {max_bytes} bytes.")
        parts.append(part)
    # httpx has no public way to hand a streamed body back; its own `aread` sets this very attribute. A body that is
    # encoded although we asked for none stays as it is, and fails as what it is: not the promised answer.
    response._content = b"".join(parts)


async def abandon(response: httpx.Response, body: AsyncIterator[bytes]) -> None:
    """Leave a body that is not read to its end.

    httpx closes the connection but leaves its generators suspended, which trio then reports when they are collected;
    one more step over the closed connection ends them.
    """
    await response.aclose()
    with suppress(httpx.HTTPError, httpx.StreamError, StopAsyncIteration):
        await anext(body)


def _tls(ca_file: Path | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return _system_tls()
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise Fault(
            FaultClass.PROTOCOL, f"ca_file {ca_file} cannot be used: {error}.", hint="Give a PEM file of certificates."
        ) from None


_shared: list[ssl.SSLContext] = []


def _system_tls() -> ssl.SSLContext:
    """The system's authorities, loaded once: the context costs more than everything else in a client."""
    if not _shared:
        _shared.append(ssl.create_default_context())
    return _shared[0]


@contextmanager
def faults(where: str, deadline_s: float) -> Iterator[None]:
    """Turn what httpx and trio raise into a `Fault` about `where`."""
    try:
        yield
    except trio.TooSlowError:
        raise Fault(FaultClass.SLOW, f"{where} gives no whole answer within {deadline_s:g} s.") from None
    except httpx.TimeoutException as error:
        if isinstance(error, httpx.ConnectTimeout):
            raise Fault(
                FaultClass.UNREACHABLE,
                f"{where} does not answer.",
                hint="Check the address, cable, power and firewall.",
            ) from None
        raise Fault(FaultClass.SLOW, f"{where} gives no whole answer within {deadline_s:g} s.") from None
    except httpx.ConnectError as error:
        raise _connect_fault(where, error) from None
    except (httpx.ReadError, httpx.WriteError, httpx.CloseError):
        raise Fault(FaultClass.REFUSED, f"{where} breaks the connection.") from None
    except (httpx.ProtocolError, httpx.DecodingError) as error:
        if str(error).startswith("Server disconnected without"):
            # Not a byte of an answer: a reset that the kernel reported to the write shows up as this.
            raise Fault(FaultClass.REFUSED, f"{where} closes the connection without an answer.") from None
        raise Fault(
            FaultClass.PROTOCOL, f"{where} does not speak HTTP as expected ({error or type(error).__name__})."
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Fault(FaultClass.PROTOCOL, f"{where}: {type(error).__name__}.") from None


def _connect_fault(where: str, error: httpx.ConnectError) -> Fault:
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and len(chain) < 10:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    text = " ".join(str(item) for item in chain)
    for item in _flatten(chain):
        if isinstance(item, ssl.SSLCertVerificationError):
            return Fault(
                FaultClass.PROTOCOL,
                f"{where} shows a certificate that is not trusted ({item.verify_message}).",
                hint="Set ca_file to the certificate of its authority.",
            )
        if isinstance(item, ssl.SSLError):
            return Fault(
                FaultClass.PROTOCOL, f"{where} does not speak TLS there.", hint="Check http or https, and the port."
            )
        if isinstance(item, ConnectionRefusedError):
            return Fault(
                FaultClass.REFUSED,
                f"{where} refuses the connection: nothing listens on that port.",
                hint="Check the port, and that the device's service runs.",
            )
        if isinstance(item, ConnectionResetError):
            return Fault(FaultClass.REFUSED, f"{where} breaks the connection.")
    if "Name or service not known" in text or "getaddrinfo" in text or "name resolution" in text:
        return Fault(
            FaultClass.UNREACHABLE, f"The name of {where} is not known.", hint="Check its spelling and the DNS server."
        )
    return Fault(
        FaultClass.UNREACHABLE, f"{where} cannot be reached.", hint="Check the address, cable, power and firewall."
    )


def _flatten(chain: list[BaseException]) -> Iterator[BaseException]:
    for item in chain:
        if isinstance(item, BaseExceptionGroup):
            yield from _flatten(list(item.exceptions))
        else:
            yield item
