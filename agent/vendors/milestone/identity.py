"""XProtect's identity provider: a bearer token for a basic user, or for a Windows user by NTLM.

Facts. A basic user logs in through the API gateway (`/API/IDP/connect/token`); a Windows user must ask the identity
provider itself, because the gateway does not pass NTLM through. A token lives `expires_in` seconds (3600) and there
is no refresh token. Bad credentials are 400 or 401 with an OAuth `error`. Decisions: the form is properly encoded,
whatever the vendor's samples do; a token is renewed at 80 % of its life; one task at a time asks for one; an identity
provider that was only discovered is never spoken to with less protection than the gateway that named it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import httpx
import trio
from pydantic import SecretStr

from agent.faults import Fault, FaultClass
from agent.http import HttpClient
from agent.vendors import wire

CLIENT_ID = "GrantValidatorClient"
"""The client that XProtect has registered for this purpose; the same everywhere."""
RENEW_AT = 0.8
DEFAULT_LIFE_S = 3600
Grant = Literal["basic", "windows"]
Discover = Callable[[], Awaitable[str | None]]
"""The identity provider's address as the gateway's `.well-known/uris` gives it."""


@dataclass(frozen=True, slots=True)
class Token:
    value: SecretStr
    renew_at: float
    """on trio's clock"""


class IdentityProvider:
    """Keeps one user's token fresh. `discover` is asked for a Windows user whose `idp_url` is not configured."""

    def __init__(
        self,
        gateway_url: str,
        username: str,
        password: SecretStr,
        *,
        grant: Grant,
        idp_url: str | None,
        discover: Discover,
        timeout_s: float,
        ca_file: Path | None,
    ) -> None:
        self._gateway_url = gateway_url
        self._username = username
        self._password = password
        self._grant: Grant = grant
        self._idp_url = idp_url
        self._discover = discover
        self._timeout_s = timeout_s
        self._ca_file = ca_file
        self._http: HttpClient | None = None
        self._token: Token | None = None
        self._asking = trio.Lock()

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    async def token(self) -> Token:
        """The token in use, or a new one where that is due."""
        async with self._asking:
            if self._token is None or trio.current_time() >= self._token.renew_at:
                self._token = await self._ask()
            return self._token

    def forget(self, token: Token) -> None:
        """The gateway would not have this one, whatever its age; a newer one stays."""
        if self._token is token:
            self._token = None

    async def _ask(self) -> Token:
        http = await self._provider()
        response = await (self._basic(http) if self._grant == "basic" else self._windows(http))
        where = http.url
        if response.status_code != 200:
            raise _refusal(response, where)
        body = wire.table(wire.json_of(response, where))
        value = body.get("access_token")
        if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
            raise (
                _refusal(response, where)
                if body.get("error")
                else Fault(FaultClass.PROTOCOL, f"{where} answers the log-in without a token.")
            )
        life_s = wire.whole(body.get("expires_in")) or DEFAULT_LIFE_S
        life_s = min(max(life_s, 1), 86400)
        return Token(SecretStr(value), trio.current_time() + life_s * RENEW_AT)

    async def _provider(self) -> HttpClient:
        """The client for the token endpoint; one connection, which NTLM authenticates."""
        if self._http is None:
            url = self._idp_url or (await self._discovered() if self._grant == "windows" else None)
            base = (url or f"{self._gateway_url}/{'API/IDP' if self._grant == 'basic' else 'IDP'}").rstrip("/")
            self._http = HttpClient(
                base.removesuffix("/connect/token"), timeout_s=self._timeout_s, ca_file=self._ca_file, connections=1
            )
        return self._http

    async def _discovered(self) -> str | None:
        url = await self._discover()
        if url and self._gateway_url.startswith("https://") and not url.startswith("https://"):
            raise Fault(
                FaultClass.PROTOCOL,
                f"{self._gateway_url} names an identity provider without TLS.",
                hint="Set idp_url to the identity provider's https address.",
            )
        return url

    async def _basic(self, http: HttpClient) -> httpx.Response:
        form = {
            "grant_type": "password",
            "username": self._username,
            "password": self._password.get_secret_value(),
            "client_id": CLIENT_ID,
        }
        return await self._post(http, form, {})

    async def _windows(self, http: HttpClient) -> httpx.Response:
        """The library's handshake, step by step through our own client, so that every answer is bounded."""
        form = {"grant_type": "windows_credentials", "client_id": CLIENT_ID}
        request = httpx.Request("POST", f"{http.url}/connect/token")
        # Imported here: few sites have a Windows user, and the library and its cryptography weigh 10 MB.
        from httpx_ntlm import HttpNtlmAuth

        steps = HttpNtlmAuth(self._username, self._password.get_secret_value()).auth_flow(request)
        next(steps)
        while True:
            response = await self._post(http, form, _handshake_headers(request))
            if response.status_code == 401 and "www-authenticate" not in response.headers:
                return response  # the library takes the header for granted
            try:
                steps.send(response)
            except StopIteration:
                return response
            except Exception:
                # Whatever the library trips over (a header left out, a token cut short), the other side sent it.
                raise Fault(FaultClass.PROTOCOL, f"{http.url} breaks off the NTLM handshake.") from None

    async def _post(self, http: HttpClient, form: dict[str, str], headers: dict[str, str]) -> httpx.Response:
        content = urlencode(form).encode()
        form_type = {"Content-Type": "application/x-www-form-urlencoded"}
        return await http.request("POST", "/connect/token", content=content, headers={**form_type, **headers})


def _handshake_headers(request: httpx.Request) -> dict[str, str]:
    return {name: request.headers[name] for name in ("Authorization", "Cookie") if name in request.headers}


def _refusal(response: httpx.Response, where: str) -> Fault:
    status = response.status_code
    if status == 429 or status >= 500:
        return Fault(
            FaultClass.REFUSED,
            f"The identity provider {where} answers {status}.",
            hint="Check that XProtect's services run.",
            retry_after_s=wire.retry_after_s(response),
        )
    if status in (400, 401, 403) or status == 200:
        return Fault(
            FaultClass.AUTHENTICATION,
            f"The identity provider {where} refuses the log-in{_code(response)}.",
            hint='Check username and password; grant = "windows" is for Windows users, with their domain.',
        )
    return Fault(
        FaultClass.PROTOCOL,
        f"The identity provider {where} answers {status}.",
        hint="Check url and idp_url: the API gateway stands on the management server in most installations.",
    )


def _code(response: httpx.Response) -> str:
    """OAuth's error word, where there is one that looks like a word: never free text, which may repeat a password."""
    try:
        body: Any = wire.table(wire.json_of(response, ""))
    except Fault:
        return ""
    word = wire.text(body.get("error"), 40)
    return f" ({word})" if word.replace("_", "").isalpha() and word.isascii() else ""
