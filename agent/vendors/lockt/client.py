"""Lockt SecureAccess Cloud API 1.1.0: every endpoint, typed by the table in `reference.py`. Knows HTTP, not alarms.

Facts. `apiuser`, `apikey` and a JSON content type belong on every request, GET too. A POST carries at most 100
records by default; POSTs that overlap are refused. `user?id=` with a blank value answers with every user (known issue
of the vendor), and others may do the same.
Decisions. Writes take turns under one lock and go in blocks; a customer's smaller limit is learnt from its refusal; a
blank or odd parameter is refused here; a write is never repeated by itself, since a lost answer does not say whether
it was done.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import trio
from pydantic import SecretStr, ValidationError

from agent.faults import Fault, FaultClass
from agent.http import MAX_BODY_BYTES, HttpClient
from agent.vendors.lockt import answers
from agent.vendors.lockt import reference as lockt
from agent.vendors.lockt.errors import BatchResult, LocktRejected, Unsendable
from agent.vendors.lockt.models import Event, Reference, SystemTime, Unlocked
from agent.vendors.lockt.reference import Command, Options, Parameter, Read, Received, Sent, Write
from agent.vendors.lockt.values import as_whole

Filter = int | str | bool
_TOO_MANY = re.compile(r"exceeds maximum of (\d{1,6}) objects", re.IGNORECASE)


class LocktClient:
    """One account. `url` stands without the API path."""

    def __init__(
        self,
        url: str,
        api_user: str,
        api_key: SecretStr,
        *,
        timeout_s: float = 10.0,
        ca_file: Path | None = None,
        block_records: int = lockt.MAX_RECORDS,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._http = HttpClient(url + "/api/v1", timeout_s=timeout_s, ca_file=ca_file, connections=2)
        self._api_user = api_user
        self._api_key = api_key
        self._block_records = block_records
        self._max_body_bytes = max_body_bytes
        self._writing = trio.Lock()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def read(self, endpoint: Read[Received], **filters: Filter) -> list[Received]:
        """The records of a GET. A filter that the endpoint does not have, or a blank one, is `Unsendable`."""
        for name in filters:
            if name not in endpoint.filters:
                raise Unsendable(f"/{endpoint.path} has no parameter {name}")
        query = "&".join(_query(endpoint.path, name, endpoint.filters[name], value) for name, value in filters.items())
        path = f"/{endpoint.path}" + (f"?{query}" if query else "")
        what = f"GET /{endpoint.path}"
        return _typed(what, endpoint, answers.rows(what, await self._send("GET", path, what)))

    async def write(
        self,
        endpoint: Write[Sent],
        records: Sequence[Sent],
        options: Options | None = None,
        on_block: Callable[[int, BatchResult], None] | None = None,
    ) -> BatchResult:
        """Send records in blocks, one block at a time, and add up their summaries.

        `on_block(records sent so far, sum so far)` follows each. A block that is turned down ends the batch:
        `LocktRejected.done` says what the blocks before it have written.
        """
        chosen = options or Options()
        done, sent = BatchResult(), 0
        while sent < len(records):
            block = records[sent : sent + min(endpoint.per_call, self._block_records)]
            try:
                done += await self._write_block(endpoint, block, chosen)
            except LocktRejected as error:
                if self._learn_limit(error, len(block)):
                    continue
                error.done = done
                raise
            sent += len(block)
            if on_block:
                on_block(sent, done)
        return done

    async def command(self, endpoint: Command, value: Filter = True) -> BatchResult:
        """A POST without a body."""
        query = _query(endpoint.path, endpoint.parameter, endpoint.kind, value)
        what = f"POST /{endpoint.path}"
        async with self._writing:
            answer = await self._send("POST", f"/{endpoint.path}?{query}", what)
        return answers.summary(what, answer, partly=True)

    async def events(self, since: int | None = None) -> list[Event]:
        """Events from id `since` on, or (None) all that the cloud holds: 5,000 by default. In no promised order."""
        return await (self.read(lockt.EVENTS) if since is None else self.read(lockt.EVENTS, id=since))

    async def unlock(self, door: int) -> Unlocked:
        """The outcome of a momentary unlock of a wired door, which a 200 alone does not say."""
        what = "POST /unlock"
        body = _body(lockt.UNLOCK_DOORS, [Reference(id=door)], Options())
        async with self._writing:
            answer = await self._send("POST", "/unlock", what, json=body)
        for row in answers.rows(what, answer):
            outcome = Unlocked.model_validate(row)
            if outcome.id == door:
                return outcome
        raise Fault(FaultClass.PROTOCOL, f"Lockt's answer to {what} does not name the door.")

    async def system_time(self) -> SystemTime | None:
        return next(iter(await self.read(lockt.TIME)), None)

    async def ping(self) -> None:
        """Connectivity and authorisation. The reference shows no body, so any good JSON answer will do."""
        await self._send("GET", "/ping", "GET /ping")

    async def _write_block(self, endpoint: Write[Sent], block: Sequence[Sent], options: Options) -> BatchResult:
        what = f"{endpoint.method} /{endpoint.path}"
        partly = "validate_fails_batch" in endpoint.options and not options.validate_fails_batch
        body = _body(endpoint, block, options)
        async with self._writing:
            try:
                answer = await self._send(endpoint.method, f"/{endpoint.path}", what, json=body)
            except LocktRejected as error:
                if not partly or not error.rejected or _failed_whole(error):
                    raise
                # The valid records of this block are written; the error shape just has no place to count them.
                written = max(0, len(block) - len(error.rejected))
                return BatchResult(len(block), processed=written, errors=len(error.rejected), rejected=error.rejected)
        return answers.summary(what, answer, partly=partly)

    def _learn_limit(self, error: LocktRejected, tried: int) -> bool:
        """Take the customer's own record limit from the refusal; False where it is about something else."""
        for sentence in error.sentences:
            if (limit := _TOO_MANY.search(sentence)) and 0 < int(limit[1]) < tried:
                self._block_records = int(limit[1])
                return True
        return False

    async def _send(self, method: str, path: str, what: str, **options: Any) -> dict[str, Any]:
        headers = {
            "Content-Type": "application/json",
            "apiuser": self._api_user,
            "apikey": self._api_key.get_secret_value(),
        }
        try:
            response = await self._http.request(
                method, path, headers=headers, max_bytes=self._max_body_bytes, **options
            )
        except UnicodeEncodeError:
            raise Fault(
                FaultClass.AUTHENTICATION,
                "api_user or api_key holds letters that no header can carry.",
                hint="Copy both again from Lockt.",
            ) from None
        return answers.envelope(what, response, datetime.now(UTC))


def _failed_whole(error: LocktRejected) -> bool:
    return any("batch has failed" in sentence.lower() for sentence in error.sentences)


def _body(endpoint: Write[Sent], block: Sequence[Sent], options: Options) -> Mapping[str, Any]:
    body: dict[str, Any] = {endpoint.node: [record.body() for record in block]}
    if endpoint.options:
        body["options"] = options.body(endpoint.options)
    return body


def _query(path: str, name: str, kind: Parameter, value: Filter) -> str:
    """One parameter of a URL. Raises `Unsendable` for what is blank or of the wrong kind."""
    if kind is Parameter.SWITCH:
        if value is not True:
            raise Unsendable(f"/{path}?{name} takes no value")
        return quote(name)
    if isinstance(value, bool) or not str(value).strip():
        raise Unsendable(f"/{path}?{name}= must not be blank: Lockt would answer with everything")
    if kind is Parameter.NUMBER:
        try:
            value = as_whole(value)
        except ValueError:
            raise Unsendable(f"/{path}?{name}= takes a whole number") from None
    return urlencode({name: str(value)})


def _typed(what: str, endpoint: Read[Received], rows: list[dict[str, Any]]) -> list[Received]:
    try:
        return [endpoint.model.model_validate(row) for row in rows]
    except (ValidationError, RecursionError) as error:
        places = sorted({str(item["loc"][0]) for item in error.errors()}) if isinstance(error, ValidationError) else []
        raise Fault(
            FaultClass.PROTOCOL, f"Lockt's answer to {what} has records that cannot be read ({', '.join(places)})."
        ) from None
