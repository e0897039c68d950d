"""Sensaphone.net's REST API: log-in, session, and every resource in JSON mode and in URI mode.

Source: the API overview (modes, versions, codes) and the vendor's wiki (log-in, dashboard, device, history).

Facts, and what follows. A session is a string that lives `session_expiration` seconds (a lifetime, not an instant);
we renew it at half of that, by JSON mode's update of `login`. URI mode puts session and, at log-in, the password
into the address, where every proxy logs them; everything here goes by JSON mode, and URI mode is a method of its own
for who asks for it by name. Codes 1 and 2 mean the session: log in once, repeat once. 5 to 7 mean the user: never
tried again by the client, an account can be locked.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import trio
from pydantic import SecretStr

from agent.faults import Fault, FaultClass
from agent.http import HttpClient
from agent.vendors import wire
from agent.vendors.sensaphone import resources
from agent.vendors.sensaphone.answers import SESSION_CODES, Answer, ApiFault, answer_of

log = logging.getLogger("varde.sensaphone")

Verb = Literal["read", "update", "create", "delete"]
Version = Literal["v1", "v2", "v3"]
Ids = Mapping[str, int | str]

DEFAULT_LIFETIME_S = 86400.0
RENEW_AT = 0.5
"""share of a session's life after which it is renewed"""


@dataclass(frozen=True, slots=True)
class Session:
    account: int
    key: SecretStr
    renew_at: float
    """on trio's clock"""


class SensaphoneClient:
    """One user's view of Sensaphone.net. Requests raise `ApiFault` for a code other than 0, else `Fault`."""

    def __init__(
        self,
        url: str,
        username: str,
        password: SecretStr,
        *,
        timeout_s: float = 10.0,
        ca_file: Path | None = None,
        version: Version = "v1",
    ) -> None:
        self._username = username
        self._password = password
        self._version = version
        self._http = HttpClient(url, timeout_s=timeout_s, ca_file=ca_file, connections=2)
        self._session: Session | None = None
        self._entering = trio.Lock()

    @property
    def where(self) -> str:
        return self._http.url

    async def aclose(self) -> None:
        await self._http.aclose()

    # Log-in and session

    async def login(self) -> Session:
        """A new session, replacing the one there is."""
        answer = await self._post(
            "login",
            "login",
            {
                "request_type": "create",
                "resource": "login",
                "user_name": self._username,
                "password": self._password.get_secret_value(),
            },
        )
        self._session = self._session_of(answer, None)
        return self._session

    async def renew(self) -> Session:
        """The same session with a new life; a new log-in where the service will not."""
        old = self._session
        if old is None:
            return await self.login()
        try:
            answer = await self._post("login", "login", self._envelope("update", "login", old))
        except ApiFault as fault:
            if fault.fault_class is FaultClass.REFUSED:
                raise
            return await self.login()  # whatever it disliked about the old session, a new one has none of it
        self._session = self._session_of(answer, old)
        return self._session

    async def session(self) -> Session:
        """The session in use, made or renewed where that is due; two callers never do it twice."""
        async with self._entering:
            if self._session is None:
                return await self.login()
            if trio.current_time() >= self._session.renew_at:
                return await self.renew()
            return self._session

    def _session_of(self, answer: Answer, old: Session | None) -> Session:
        data = wire.table(answer.data.get("login")) or answer.data
        account = wire.whole(data.get("acctid"))
        key = wire.text(data.get("session"))
        if old is not None:
            account, key = account or old.account, key or old.key.get_secret_value()
        if account is None or not key:
            raise Fault(FaultClass.PROTOCOL, f"{self.where} answers the log-in without an account and a session.")
        lifetime = wire.whole(data.get("session_expiration")) or 0
        life_s = float(min(lifetime, 31 * 86400)) if lifetime > 0 else DEFAULT_LIFETIME_S
        return Session(account, SecretStr(key), trio.current_time() + life_s * RENEW_AT)

    # Resources

    async def call(
        self, verb: Verb, resource: str, fields: Mapping[str, Any] | None = None, **ids: int | str
    ) -> Answer:
        """JSON mode: `call("read", "device/zone", {"name": None}, device=1234, zone=112233)`.

        `fields` are properties: None in a read or delete asks for them by name, none at all means everything.
        Raises ValueError for a resource or verb that the service does not have.
        """
        names = resources.checked(verb, resource)
        return await self.submit(verb, names[0], resources.nested(names, ids, fields or {}))

    async def submit(self, verb: Verb, name: str, body: Mapping[str, Any], path: str | None = None) -> Answer:
        """JSON mode with a body of the caller's own shape below the envelope; `path` where it is not the name."""

        async def once(session: Session) -> Answer:
            return await self._post(path or name, name, {**self._envelope(verb, name, session), **body})

        return await self._in_session(once)

    async def uri(
        self, verb: Verb, resource: str, prop: str | None = None, value: Any = None, **ids: int | str
    ) -> Answer:
        """URI mode: one property, or one resource whole. Account and session stand in the address.

        Raises ValueError like `call`, and for an empty value, which would address everything.
        """
        names = resources.checked(verb, resource)
        rest = resources.uri(names, ids, prop, value)

        async def once(session: Session) -> Answer:
            key = session.key.get_secret_value()
            path = f"/api/{self._version}/{resources.braced(session.account)}/{resources.braced(key)}/{rest}"
            response = await self._http.request(resources.METHODS[verb], path)
            return answer_of(response, self.where, names[0])

        return await self._in_session(once)

    async def _in_session(self, once: Callable[[Session], Awaitable[Answer]]) -> Answer:
        """Codes 1 and 2 are answered by one log-in and one repetition; what comes then stands."""
        session = await self.session()
        try:
            answer = await once(session)
        except ApiFault as fault:
            if fault.code not in SESSION_CODES:
                raise
            log.info("session ended early (code %d): logging in again", fault.code)
            async with self._entering:
                if self._session is session:  # another caller may have logged in meanwhile
                    self._session = None
                    await self.login()
            answer = await once(await self.session())
        return answer

    def _envelope(self, verb: Verb, name: str, session: Session) -> dict[str, Any]:
        return {
            "request_type": verb,
            "resource": name,
            "acctid": session.account,
            "session": session.key.get_secret_value(),
        }

    async def _post(self, path: str, name: str, body: Mapping[str, Any]) -> Answer:
        response = await self._http.request("POST", f"/api/{self._version}/{path}", json=dict(body))
        return answer_of(response, self.where, name)

    # What the source and an installer ask for

    async def dashboard(self) -> Answer:
        """Devices with their state, and below each the zones that are in alarm (those only)."""
        return await self.call("read", "dashboard")

    async def devices(self) -> Answer:
        """Every device whole, with all its zones."""
        return await self.call("read", "device")

    async def device(self, device_id: int | str) -> Answer:
        return await self.call("read", "device", device=device_id)

    async def acknowledge_offline(self, device_id: int | str) -> Answer:
        """Acknowledge that a device is offline: the one acknowledgement the vendor documents."""
        return await self.call("update", "device", {"ack_offline_alarm": True}, device=device_id)

    async def log_points(self, device_id: int | str) -> Answer:
        """Which log point belongs to which zone of a device."""
        body = {"data_log_points": {"resource_type": "device", "device_id": device_id}}
        return await self.submit("read", "history", {"history": body}, "history/data_log_points")

    async def data_log(self, log_points: list[int], *, offset: int = 0, count: int = 100) -> Answer:
        """Logged values, newest first; `offset` counts from the newest, so pages slide as rows arrive.

        `start` and `end` are left out: their encoding and their order are contradictory between revisions of the
        vendor's pages, and each row carries `epoch` (unix seconds) to filter by.
        """
        body = {"data_log": {"log_points": log_points, "begin_offset": offset, "record_offset": count}}
        return await self.submit("read", "history", {"history": body}, "history/data_log")

    async def event_log(self, *, offset: int = 0, count: int = 100, **filters: list[int]) -> Answer:
        """`filters`: contact_ids, device_ids, zone_ids, user_ids, event_types. The rows' fields are undocumented."""
        body = {"event_log": {"begin_offset": offset, "record_offset": count, **filters}}
        return await self.submit("read", "history", {"history": body}, "history/event_log")

    async def audit_log(self, *, offset: int = 0, count: int = 100) -> Answer:
        """Who changed what: `change`, `who`, `what`, `when`, `epoch`."""
        body = {"audit_log": {"begin_offset": offset, "record_offset": count}}
        return await self.submit("read", "history", {"history": body}, "history/audit_log")
