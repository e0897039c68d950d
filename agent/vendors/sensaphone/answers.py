"""Answers of Sensaphone.net: the result inside HTTP 200, and three versions of the same values.

Facts. Whatever the HTTP status, the truth is `result.code` (texts vary: "OK", "Success"). A `success` of the whole can
hide properties that failed, in `result.properties`. V1 gives bare values, V2 wraps each in
`{is_null, is_empty, value, type, …}`, V3 gives `{is_pending}` alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from agent.faults import Fault, FaultClass
from agent.vendors import wire

NO_SESSION, SESSION_EXPIRED, BAD_URI, BAD_JSON, BAD_USER, BAD_PASSWORD, NOT_AUTHORISED, UNAVAILABLE = range(1, 9)
SESSION_CODES = frozenset({NO_SESSION, SESSION_EXPIRED})
LOCKOUT_CODES = frozenset({BAD_USER, BAD_PASSWORD, NOT_AUTHORISED})

MEANINGS = {
    NO_SESSION: "no session was given",
    SESSION_EXPIRED: "the session has expired",
    BAD_URI: "the request's address is not valid",
    BAD_JSON: "the request's JSON is not valid",
    BAD_USER: "the user name is not valid",
    BAD_PASSWORD: "the password is not valid",
    NOT_AUTHORISED: "the user is not authorised",
    UNAVAILABLE: "the service is unavailable for now",
}


class ApiFault(Fault):
    """The service answered with a code other than 0."""

    def __init__(self, code: int, where: str, said: str, retry_after_s: float | None = None) -> None:
        meaning = MEANINGS.get(code) or said or "no reason given"
        super().__init__(
            _class_of(code),
            f"{where} refuses: {meaning} (code {code}).",
            hint=_hint_of(code),
            retry_after_s=retry_after_s,
        )
        self.code = code


def _class_of(code: int) -> FaultClass:
    if code in LOCKOUT_CODES:
        return FaultClass.AUTHENTICATION
    return FaultClass.REFUSED if code == UNAVAILABLE else FaultClass.REJECTED


def _hint_of(code: int) -> str:
    if code in SESSION_CODES:
        return "Another program may use the same user; give the agent a user of its own."
    if code == NOT_AUTHORISED:
        return "Check what the user may see and do in the vendor's account."
    return "Check username and password of the source." if code in LOCKOUT_CODES else ""


@dataclass(frozen=True, slots=True)
class PropertyFailure:
    """One property that failed inside an answer that succeeded; `path` like "device/0/zone/0/name"."""

    path: str
    code: int | None
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message or 'failed'}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request brought: plain values whatever the version, and what did not work.

    `pending` are the paths of values that are still being changed (V2 and V3 say so).
    """

    data: dict[str, Any]
    failures: tuple[PropertyFailure, ...] = ()
    pending: frozenset[str] = frozenset()


def answer_of(response: httpx.Response, where: str, resource: str) -> Answer:
    """Read an answer. `resource` is the name that its data stand under.

    Raises `ApiFault` for a code, `Fault` for what is no answer of this service.
    """
    try:
        body = wire.json_of(response, where)
    except Fault:
        if response.status_code == 429 or response.status_code >= 500:
            raise Fault(
                FaultClass.REFUSED,
                f"{where} answers {response.status_code} and no result.",
                retry_after_s=wire.retry_after_s(response),
            ) from None
        raise
    result, data = _parts(body, where, resource)
    code, success = wire.whole(result.get("code")), wire.truth(result.get("success"))
    if code or success is False:
        # What a log-in's refusal says could repeat the password; elsewhere the service's own words help.
        said = "" if resource == "login" else wire.text(result.get("message"))
        raise ApiFault(code or 0, where, said, wire.retry_after_s(response))
    if code is None and success is None:
        raise Fault(FaultClass.PROTOCOL, f"{where} answers without a result code.")
    failures = tuple(_failures(result.get("properties"), "")) + tuple(_failures(data, ""))
    plain, pending = unwrapped(data)
    return Answer(plain, failures, frozenset(pending))


def _parts(body: Any, where: str, resource: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Result and response. The overview's version examples stand without the envelope, so a bare resource counts."""
    if isinstance(body, dict) and isinstance(body.get("result"), dict):
        response = body.get("response")
        return body["result"], response if isinstance(response, dict) else {}
    if isinstance(body, dict) and resource in body and "result" not in body:
        return {"success": True, "code": 0}, body
    raise Fault(FaultClass.PROTOCOL, f"{where} answers with JSON that holds no result.")


def _failures(node: Any, path: str) -> Iterator[PropertyFailure]:
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _failures(item, f"{path}{index}/")
    elif isinstance(node, dict):
        if wire.truth(node.get("success")) is False:
            yield PropertyFailure(path.rstrip("/"), wire.whole(node.get("code")), wire.text(node.get("message")))
            return
        for key, item in node.items():
            yield from _failures(item, f"{path}{wire.text(key, 60)}/")


def unwrapped(data: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Plain values, and the paths that are pending. A V3 answer has no values: each is None."""
    pending: list[str] = []
    return _plain(data, "", pending), pending


def _plain(node: Any, path: str, pending: list[str]) -> Any:
    if isinstance(node, list):
        return [_plain(item, f"{path}/{index}", pending) for index, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    if isinstance(node.get("is_null"), bool) or set(node) == {"is_pending"}:
        if node.get("is_pending") is True:
            pending.append(path.strip("/"))
        return _value(node)
    return {key: _plain(item, f"{path}/{key}", pending) for key, item in node.items()}


def _value(wrapper: dict[str, Any]) -> Any:
    if wrapper.get("is_null", True) or "value" not in wrapper:
        return "" if wrapper.get("is_empty") is True and not wrapper.get("is_null") else None
    value, kind = wrapper["value"], wire.text(wrapper.get("type")).lower()
    if kind in ("integer", "int", "long", "number") and wire.whole(value) is not None:
        return wire.whole(value)
    if kind in ("boolean", "bool"):
        return wire.truth(value)
    return value
