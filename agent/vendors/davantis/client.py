"""Every documented endpoint of a DAVANTIS device, typed. Knows HTTP, not alarms.

Facts (manual). `GET /alarms` is a bare array, at most 300 rows by default, 204 without a body where nothing matches;
an error is an object where an array is expected. A file that is not ready answers 404. `*_absolute` addresses in the
rows carry the host as the device sees itself. Decisions: a request that is turned down for its token is repeated once
with a new one; addresses are built here and never taken from an answer, so that the token stays with its host; files
and live pictures have a connection pool of their own, so that no poll ever waits behind a video.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import trio
from pydantic import SecretStr

from agent.alarms.model import MediaStream
from agent.faults import Fault, FaultClass, Refused
from agent.http import HttpClient, abandon, faults
from agent.vendors.davantis import records
from agent.vendors.davantis.tokens import (
    Tokens,
    document_or_none,
    errorcode,
    is_about_token,
    unavailable,
    wrong_product,
)
from agent.vendors.wire import rows, table, text, truth

MAX_LIST_BYTES = 8 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
MAX_FILE_BYTES = 256 * 1024 * 1024
FILE_TIMEOUT_S = 120.0
"""for a whole file, so that a device that dribbles does not hold a fetch for ever"""


class NotReady(Exception):
    """404 for a file: it is recording, or there is none."""


class DavantisClient:
    """One device. Raises `Fault`; lists are as long as the device makes them, up to 8 MiB."""

    def __init__(
        self, url: str, username: str, password: SecretStr, *, timeout_s: float = 10.0, ca_file: Path | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self._http = HttpClient(self.url, timeout_s=timeout_s, ca_file=ca_file, connections=2)
        self._files = HttpClient(self.url, timeout_s=timeout_s, ca_file=ca_file, connections=8)
        self.tokens = Tokens(self._http, username, password)

    async def aclose(self) -> None:
        await self._http.aclose()
        await self._files.aclose()

    async def installation(self, *, timeout_s: float | None = None) -> records.Installation:
        return records.installation(table(await self._get("/installation", timeout_s=timeout_s)))

    async def cameras(self, *, timeout_s: float | None = None) -> list[records.Camera]:
        return records.cameras(rows(await self._get_list("/cameras", timeout_s)))

    async def alarms(self, wanted: records.AlarmFilter | None = None) -> list[records.AlarmRecord]:
        """Newest first; empty where nothing matches."""
        query = wanted.query() if wanted else {}
        return records.alarm_records(await self._get("/alarms", params=query), f"{self.url}/alarms")

    async def relays(self) -> list[records.Switch]:
        return records.switches(rows(await self._get_list("/relays")))

    async def inputs(self) -> list[records.Switch]:
        return records.switches(rows(await self._get_list("/inputs")))

    async def set_relay(self, relay: str, on: bool) -> None:
        """Raises `Refused` with the device's own words."""
        await self._patch(f"/relays/{quote(relay, safe='')}", on)

    async def set_input(self, number: str, armed: bool) -> None:
        """Raises `Refused` with the device's own words, for instance where the input is wired to a switch."""
        await self._patch(f"/inputs/{quote(number, safe='')}", armed)

    @asynccontextmanager
    async def snapshot(self, alarm: str) -> AsyncIterator[MediaStream]:
        """The picture of an alarm, JPEG. Raises `NotReady`."""
        async with self._file(f"/alarms/{quote(alarm, safe='')}/snapshot", ("image/",)) as stream:
            yield stream

    @asynccontextmanager
    async def video(self, alarm: str) -> AsyncIterator[MediaStream]:
        """The video of an alarm: mp4, wmv or avi, see its content type. Raises `NotReady`."""
        async with self._file(f"/alarms/{quote(alarm, safe='')}/video", ("video/", "application/octet")) as stream:
            yield stream

    @asynccontextmanager
    async def live(self, camera: str) -> AsyncIterator[MediaStream]:
        """Live pictures, multipart JPEG without end. Raises `NotReady` for a camera that is not there."""
        path = f"/cameras/{quote(camera, safe='')}/stream/mjpeg"
        async with self._stream(path, ("multipart/", "image/"), max_bytes=None) as stream:
            yield stream

    # --- requests ------------------------------------------------------------------------------------------------

    async def _authorised(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer to a request with a token; repeated once where the token is turned down."""
        token = await self.tokens.current()
        for attempt in range(2):
            headers = {"Authorization": f"Bearer {token}"}
            answer = await self._http.request(method, path, headers=headers, max_bytes=MAX_LIST_BYTES, **options)
            if not is_about_token(answer, _code_of(answer)):
                return answer
            if attempt == 0:
                token = await self.tokens.renew(token)
        raise _token_never_taken(self.url)

    async def _get(self, path: str, **options: Any) -> Any:
        """A document; an empty list for 204."""
        answer = await self._authorised("GET", path, **options)
        if answer.status_code == 204:
            return []
        return self._document(answer, path)

    async def _get_list(self, path: str, timeout_s: float | None = None) -> list[Any]:
        document = await self._get(path, timeout_s=timeout_s)
        if not isinstance(document, list):
            raise Fault(FaultClass.PROTOCOL, f"{self.url}{path} answers with something that is no list.")
        return document

    async def _patch(self, path: str, status: bool) -> None:
        answer = await self._authorised("PATCH", path, json={"status": status})
        if answer.status_code == 429 or answer.status_code >= 500:
            raise unavailable(self.url, answer)
        document = document_or_none(answer)
        if not answer.is_success or errorcode(document) is not None:
            raise Refused(words(answer, document))
        # 200 says that the request was taken; where the answer carries the new state, the state decides.
        if truth(table(document).get("status")) not in (None, status):
            raise Refused("The device accepts the request and stays as it was.")

    def _document(self, answer: httpx.Response, path: str) -> Any:
        if answer.status_code == 429 or answer.status_code >= 500:
            raise unavailable(self.url, answer)
        document = document_or_none(answer)
        if document is None:
            raise wrong_product(self.url, f"GET {path} is answered {answer.status_code} without usable JSON")
        if answer.status_code != 200 or errorcode(document) is not None:
            raise Fault(FaultClass.REJECTED, f"{self.url}{path} is turned down: {words(answer, document)}")
        return document

    # --- files ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _file(self, path: str, types: tuple[str, ...]) -> AsyncIterator[MediaStream]:
        with faults(self.url, FILE_TIMEOUT_S), trio.fail_after(FILE_TIMEOUT_S):
            async with self._stream(path, types, MAX_FILE_BYTES) as stream:
                yield stream

    @asynccontextmanager
    async def _stream(self, path: str, types: tuple[str, ...], max_bytes: int | None) -> AsyncIterator[MediaStream]:
        token = await self.tokens.current()
        for attempt in range(2):
            headers = {"Authorization": f"Bearer {token}"}
            async with self._files.stream("GET", path, headers=headers) as answer:
                kind = answer.headers.get("content-type", "")
                if answer.status_code == 200 and kind.lower().startswith(types):
                    async with aclosing(self._chunks(answer, max_bytes)) as chunks:
                        yield MediaStream(kind[:200], chunks)
                    return
                await self._not_a_file(answer, path)
            if attempt == 0:
                token = await self.tokens.renew(token)
        raise _token_never_taken(self.url)

    async def _chunks(self, answer: httpx.Response, max_bytes: int | None) -> AsyncGenerator[bytes, None]:
        size = 0
        body = answer.aiter_raw()
        try:
            async for chunk in body:
                size += len(chunk)
                if max_bytes is not None and size > max_bytes:
                    raise Fault(FaultClass.PROTOCOL, f"{self.url} sends a file of more than {max_bytes} bytes.")
                yield chunk
        finally:
            await abandon(answer, body)

    async def _not_a_file(self, answer: httpx.Response, path: str) -> None:
        """Raise what an answer that is no file means; return where it is about the token."""
        parts = bytearray()
        async with aclosing(self._chunks(answer, MAX_ERROR_BYTES)) as chunks:
            async for part in chunks:
                parts += part
        whole = httpx.Response(answer.status_code, headers={"content-type": "?"}, content=bytes(parts))
        if is_about_token(whole, _code_of(whole)):
            return
        if answer.status_code == 404:
            raise NotReady
        if answer.status_code == 429 or answer.status_code >= 500:
            raise unavailable(self.url, answer)
        raise Fault(FaultClass.PROTOCOL, f"{self.url}{path} answers {answer.status_code} without the file.")


def _code_of(answer: httpx.Response) -> str | None:
    """The errorcode of an answer. A list, by far the largest answer, is not parsed for it."""
    if answer.content.lstrip()[:1] != b"{":
        return None
    return errorcode(document_or_none(answer))


def _token_never_taken(url: str) -> Fault:
    return Fault(
        FaultClass.AUTHENTICATION,
        f"{url} gives a token and then does not take it.",
        hint="Check that the user may use the API, and that nobody else logs in as the same user.",
    )


def words(answer: httpx.Response, document: Any) -> str:
    """A refusal in the device's own words, one line."""
    body = table(document)
    fault = body.get("fault")
    for said in (table(fault).get("faultstring"), body.get("message"), body.get("error"), body.get("detail"), fault):
        if text(said):
            return text(said)
    if document is None and "html" not in answer.headers.get("content-type", ""):
        plain = text(answer.content[:400].decode("utf-8", "replace"))
        if plain:
            return plain
    return f"the device answers {answer.status_code} without a reason"
