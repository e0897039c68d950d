"""XProtect's Alarms API behind the API gateway: alarms, their states and priorities, and cameras.

Source: the vendor's AlarmsRestApiPython sample and the gateway's general rules (filters, pages, errors).

Facts. Collections answer `{"array": […]}`, single objects `{"data": {…}}`. Pages are numbered from 0; a next-page
link may be malformed or lead elsewhere, so none is ever followed. Errors come in two shapes, `{"error": {"httpCode",
"details": [{"errorText"}]}}` and the same without its wrapper, and as HTML pages of IIS. POST and PATCH answer 202:
accepted, not done. Decision: a 401 is answered by one new token and the same request again, in whatever page it was.
"""

import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from agent.faults import Fault, FaultClass
from agent.http import HttpClient
from agent.vendors import wire
from agent.vendors.milestone import records
from agent.vendors.milestone.identity import Grant, IdentityProvider
from agent.vendors.milestone.records import AlarmRecord, Camera, Level

API = "/api/rest/v1"
LIST_SIZE = 500
MAX_PAGES = 1000


class MilestoneFault(Fault):
    """The gateway answered with an error; `status` is its HTTP status."""

    def __init__(self, status: int, where: str, said: str, retry_after_s: float | None = None) -> None:
        fault_class, hint = _meaning(status)
        super().__init__(
            fault_class,
            f"{where} answers {status}{f': {said}' if said else ''}.",
            hint=hint,
            retry_after_s=retry_after_s,
        )
        self.status = status
        self.said = said


def _meaning(status: int) -> tuple[FaultClass, str]:
    if status == 401:
        return FaultClass.AUTHENTICATION, "The gateway refuses even a fresh token; check the services' clocks."
    if status == 403:
        return FaultClass.AUTHENTICATION, "The user's role in XProtect must allow alarms; Administrators does."
    if status == 429 or status >= 500:
        return FaultClass.REFUSED, "Check that XProtect's API gateway and event server run."
    return FaultClass.REJECTED, ""


class MilestoneClient:
    """One XProtect user at one gateway. Requests raise `MilestoneFault` for an error answer, else `Fault`."""

    def __init__(
        self,
        url: str,
        username: str,
        password: SecretStr,
        *,
        grant: Grant = "basic",
        idp_url: str | None = None,
        timeout_s: float = 10.0,
        ca_file: Path | None = None,
    ) -> None:
        self._http = HttpClient(url, timeout_s=timeout_s, ca_file=ca_file, connections=2)
        self._identity = IdentityProvider(
            self._http.url,
            username,
            password,
            grant=grant,
            idp_url=idp_url,
            discover=self._identity_provider_url,
            timeout_s=timeout_s,
            ca_file=ca_file,
        )
        self.server_time: datetime | None = None
        """the server's clock as of its last answer, to the second; None until it says one"""

    @property
    def where(self) -> str:
        return self._http.url

    async def aclose(self) -> None:
        await self._identity.aclose()
        await self._http.aclose()

    # Discovery

    async def uris(self) -> dict[str, Any]:
        """`ProductVersion`, `IdentityProvider`, `ApiGateways` and the rest, without a log-in."""
        response = await self._http.request("GET", "/api/.well-known/uris")
        if response.status_code != 200:
            raise _error(response, self.where)
        return wire.table(wire.json_of(response, self.where))

    async def _identity_provider_url(self) -> str | None:
        try:
            url = wire.text((await self.uris()).get("IdentityProvider"), 300).rstrip("/")
        except MilestoneFault:
            return None  # an older gateway: the identity provider stands where the vendor's samples look for it
        return url if re.match(r"^https?://[^\s/@]+(/[^\s@]*)?$", url) else None

    async def login(self) -> None:
        """Have a token, now."""
        await self._identity.token()

    # Alarms

    async def alarms(self, page: int, size: int, filters: Mapping[str, str] | None = None) -> list[AlarmRecord]:
        """One page of alarms. `filters` like {"lastUpdatedTime": "gt:'2026-01-31T00:00:00Z'"}."""
        rows = await self._array("/alarms", {"page": str(page), "size": str(size), **(filters or {})})
        return [record for row in rows if (record := records.alarm_record(row))]

    async def alarm(self, alarm_id: str) -> AlarmRecord:
        """One alarm with its extra data."""
        return self._record(await self._call("GET", _alarm_path(alarm_id), params={"include": "data"}))

    async def trigger(self, name: str, message: str, camera_id: str) -> AlarmRecord:
        """Raise an alarm on a camera. Accepted, not done: it may take a moment until it can be read."""
        body = {"name": name, "message": message, "source": camera_id}
        return self._record(await self._call("POST", "/alarms", json=body))

    async def update(self, alarm_id: str, **changes: str | None) -> AlarmRecord:
        """Change `state` or `priority` (ids), `comment` or `reasonForClosing`. Accepted, not done: read it again."""
        return self._record(await self._call("PATCH", _alarm_path(alarm_id), json=changes))

    async def states(self) -> list[Level]:
        return [found for row in await self._array("/alarmStates", {}) if (found := records.level(row))]

    async def priorities(self) -> list[Level]:
        return [found for row in await self._array("/alarmPriorities", {}) if (found := records.level(row))]

    async def messages(self) -> list[dict[str, Any]]:
        """The known alarm messages."""
        return await self._array("/alarmMessages", {})

    # Cameras

    async def cameras(self) -> list[Camera]:
        found = [camera async for row in self._pages("/cameras") if (camera := records.camera(row))]
        return list({camera.id: camera for camera in found}.values())

    async def _pages(self, path: str) -> AsyncIterator[dict[str, Any]]:
        """Every row of a collection: our own counter, until a page is short or says nothing new."""
        before: list[dict[str, Any]] = []
        for page in range(MAX_PAGES):
            rows = await self._array(path, {"page": str(page), "size": str(LIST_SIZE)})
            if rows == before:
                return
            for row in rows:
                yield row
            if len(rows) < LIST_SIZE:
                return
            before = rows

    # One request

    async def _array(self, path: str, params: Mapping[str, str]) -> list[dict[str, Any]]:
        body = await self._call("GET", path, params=params)
        rows = wire.table(body).get("array")
        if not isinstance(rows, list):
            raise Fault(FaultClass.PROTOCOL, f"{self.where} answers {path} without an array.")
        return wire.rows(rows)

    def _record(self, body: Any) -> AlarmRecord:
        record = records.alarm_record(wire.table(wire.table(body).get("data")))
        if record is None:
            raise Fault(FaultClass.PROTOCOL, f"{self.where} answers without an alarm.")
        return record

    async def _call(self, method: str, path: str, **options: Any) -> Any:
        response = await self._send(method, path, options)
        if response.status_code not in (200, 201, 202):
            raise _error(response, self.where)
        body = wire.json_of(response, self.where)
        if isinstance(body, dict) and "error" in body and not ("array" in body or "data" in body):
            raise _error(response, self.where)
        return body

    async def _send(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        """The request with a token; with a new one, once, where the gateway does not take the first."""
        for last in (False, True):
            token = await self._identity.token()
            headers = {"Authorization": f"Bearer {token.value.get_secret_value()}"}
            response = await self._http.request(method, API + path, headers=headers, **options)
            if response.status_code != 401 or last:
                break
            self._identity.forget(token)
        self.server_time = _server_time(response) or self.server_time
        return response


def gt(instant: datetime) -> str:
    """The gateway's filter for "later than"; it has no "at or later"."""
    return f"gt:'{instant.astimezone(UTC).isoformat(timespec='milliseconds').replace('+00:00', 'Z')}'"


def _alarm_path(alarm_id: str) -> str:
    # An id is one segment: dots alone would be normalised away by the HTTP library, and address the collection.
    if not alarm_id.strip(". "):
        raise MilestoneFault(404, "the agent", "there is no alarm without an id")
    return f"/alarms/{quote(alarm_id, safe='')}"


def _error(response: httpx.Response, where: str) -> MilestoneFault:
    """Both shapes of error, and a page that is none."""
    status = response.status_code
    retry_after_s = wire.retry_after_s(response)
    try:
        body = wire.table(wire.json_of(response, where))
    except Fault:
        said = "a web page" if b"<" in response.content[:200] else ""
        return MilestoneFault(status, where, said, retry_after_s)
    inner = wire.table(body.get("error")) or body
    said = "; ".join(filter(None, (wire.text(row.get("errorText")) for row in wire.rows(inner.get("details"))[:3])))
    said = said or wire.text(body.get("error")) or wire.text(inner.get("message"))
    code = wire.whole(inner.get("httpCode"))
    return MilestoneFault(code if status < 400 and code else status, where, said.rstrip("."), retry_after_s)


def _server_time(response: httpx.Response) -> datetime | None:
    try:
        moment = parsedate_to_datetime(response.headers.get_list("date")[0])
    except (ValueError, TypeError, IndexError):
        return None
    return moment.astimezone(UTC) if moment.tzinfo and abs(moment - datetime.now(UTC)) < timedelta(days=3650) else None
