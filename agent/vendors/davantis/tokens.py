"""The access token of a DAVANTIS device: obtained by password, renewed by a refresh token that rotates.

Facts (manual §Authentication; one public client). The sample for the first token sends the form with a `?` before it,
the one for the refresh does not; servers evidently take the `?`. An error is
`{"fault": {"faultstring", "detail": {"errorcode"}}}`; an expired token has the errorcode
`keymanagement.service.access_token_expired` at a status that is not documented. A refresh answers with a new refresh
token, and the old one is dead. Decisions: the clean form first, the `?` form where that is turned down, and the one
that worked first from then on; one renewal at a time; a refresh token is spent the moment it is sent, so that a lost
answer leads to the password and not to a circle.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import httpx
import trio
from pydantic import SecretStr

from agent.faults import Fault, FaultClass
from agent.http import HttpClient
from agent.vendors.wire import json_of, retry_after_s, table, text

PATH = "/oauth/token"
TOKEN_ERRORS = ("keymanagement.", "oauth.")
"""How the errorcodes about a token begin: expired, invalid, revoked."""


class Tokens:
    """Hands out the access token. `form_prefix` is the form of log-in that worked last ("" or "?")."""

    def __init__(self, http: HttpClient, username: str, password: SecretStr) -> None:
        self._http = http
        self._username = username
        self._password = password
        self._lock = trio.Lock()
        self._access: str | None = None
        self._refresh: str | None = None
        self.form_prefix = ""

    async def current(self) -> str:
        """The token in use; logs in where there is none."""
        return self._access or await self.renew(None)

    async def renew(self, failed: str | None) -> str:
        """A token other than `failed`, the one a request was turned down with. Many may ask at once; one renews."""
        async with self._lock:
            if self._access is None or self._access == failed:
                self._access = None
                self._access = await self._refreshed() or await self._logged_in()
            return self._access

    async def _refreshed(self) -> str | None:
        """A token for the refresh token; None where there is none or it is not taken."""
        refresh, self._refresh = self._refresh, None
        if refresh is None:
            return None
        answer = await self._ask("", {"grant_type": "refresh_token", "refresh_token": refresh})
        return self._token_in(answer)

    async def _logged_in(self) -> str:
        form = {
            "grant_type": "password",
            "username": self._username,
            "password": self._password.get_secret_value(),
        }
        for prefix in (self.form_prefix, "" if self.form_prefix else "?"):
            answer = await self._ask(prefix, form)
            if token := self._token_in(answer):
                self.form_prefix = prefix
                return token
        raise self._turned_down(answer)

    async def _ask(self, prefix: str, form: Mapping[str, str]) -> httpx.Response:
        answer = await self._http.request(
            "POST",
            PATH,
            content=prefix + urlencode(form),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            max_bytes=64 * 1024,
        )
        if answer.status_code == 429 or answer.status_code >= 500:
            raise unavailable(self._http.url, answer)
        return answer

    def _token_in(self, answer: httpx.Response) -> str | None:
        if answer.status_code != 200:
            return None
        document = table(document_or_none(answer))
        access, refresh = document.get("access_token"), document.get("refresh_token")
        if not _usable(access):
            return None
        self._refresh = refresh if _usable(refresh) else None
        return str(access)

    def _turned_down(self, answer: httpx.Response) -> Fault:
        """Tell a wrong password from a wrong product: the device speaks JSON or nothing at all, and asks no browser
        for a password.
        """
        document = document_or_none(answer)
        asks_browser = answer.headers.get("www-authenticate", "").lower().startswith(("basic", "digest"))
        own_words = not answer.content or isinstance(document, dict)
        if errorcode(document) is not None or (
            answer.status_code in (400, 401, 403) and own_words and not asks_browser
        ):
            return Fault(
                FaultClass.AUTHENTICATION,
                f"{self._http.url} turns down the user or the password.",
                hint="Check username and password; they are those of a user set up in the DAVANTIS software.",
            )
        return wrong_product(self._http.url, f"POST {PATH} is answered {answer.status_code}")


def _usable(token: Any) -> bool:
    """Whether it can stand in a header: text, short, without spaces and controls."""
    return isinstance(token, str) and 0 < len(token) <= 4096 and token.isascii() and token.isprintable()


def document_or_none(answer: httpx.Response) -> Any:
    """The JSON document of an answer, None where it holds none."""
    try:
        return json_of(answer, "")
    except Fault:
        return None


def errorcode(document: Any) -> str | None:
    """The errorcode of an error document ("" for an error without one), None for a document that is no error."""
    fault = document.get("fault") if isinstance(document, dict) else None
    if fault is None:
        return None
    return text(table(table(fault).get("detail")).get("errorcode"))


def is_about_token(answer: httpx.Response, code: str | None) -> bool:
    """Whether a request was turned down for its token, whatever the status says."""
    return answer.status_code == 401 or (code is not None and code.startswith(TOKEN_ERRORS))


def unavailable(url: str, answer: httpx.Response) -> Fault:
    return Fault(
        FaultClass.PROTOCOL,
        f"{url} answers {answer.status_code} ({answer.reason_phrase[:60]}).",
        hint="The device has trouble of its own; if it lasts, look at its log or restart it.",
        retry_after_s=retry_after_s(answer),
    )


def wrong_product(url: str, what: str) -> Fault:
    return Fault(
        FaultClass.PROTOCOL,
        f"{url} answers, but not as a DAVANTIS device: {what}.",
        hint="Check the address and the port (21000 unless it was changed); something else listens there.",
    )
