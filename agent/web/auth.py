"""Who asks, and may they: bearer token, console session, one-time link, or the control socket's file permissions.

    /login ──token──────────→ throttle ─→ session (cookie)          every request: bearer token or session, else 401
    /login/{once} ──────────→ used up ──→ session (cookie)          every change by session: same origin, else 403

Sessions live in memory: they end with the process, with a log-out, with a change of the console token, after
`IDLE_S` without a request and after `LONGEST_S` whatever happens.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import trio
from pydantic import SecretStr

IDLE_S = 12 * 3600.0
LONGEST_S = 14 * 86400.0
LINK_VALID_S = 600.0
MAX_SESSIONS = 1000
MAX_LINKS = 100
TRIES = 5
TRIES_WINDOW_S = 60.0
MAX_ADDRESSES = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """`who` stands in the audit trail: "console", "token", a local user's name or "control socket"."""

    who: str
    session: str | None = None


@dataclass(slots=True)
class _Session:
    token: bytes
    begun: float
    used: float


class Throttle:
    """At most `tries` failures within `window_s` from one address. Bounded: the longest known addresses go first."""

    def __init__(self, clock: Callable[[], float], tries: int = TRIES, window_s: float = TRIES_WINDOW_S) -> None:
        self.tries = tries
        self.window_s = window_s
        self._clock = clock
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Seconds until `address` may try again, 0 when now."""
        recent = self._recent(address)
        return 0.0 if len(recent) < self.tries else max(0.0, recent[-self.tries] + self.window_s - self._clock())

    def failed(self, address: str) -> None:
        self._failures[address] = [*self._recent(address)[-self.tries :], self._clock()]
        self._failures.move_to_end(address)
        while len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)

    def _recent(self, address: str) -> list[float]:
        return [at for at in self._failures.get(address, ()) if at > self._clock() - self.window_s]


@dataclass
class Access:
    """Sessions, one-time links and the throttle of one site; shared by the console and the control socket."""

    clock: Callable[[], float] = trio.current_time
    _sessions: OrderedDict[bytes, _Session] = field(default_factory=OrderedDict)
    _links: OrderedDict[bytes, float] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self.throttle = Throttle(self.clock)

    def open_session(self, token: SecretStr | None) -> str:
        """A new session's id, for the cookie."""
        session = secrets.token_urlsafe(32)
        now = self.clock()
        self._sessions[_digest(session)] = _Session(fingerprint(token), now, now)
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def find_session(self, session: str, token: SecretStr | None) -> bool:
        """Whether `session` is open; that it was asked for keeps it so. `token` is the console token in force."""
        key = _digest(session)
        found = self._sessions.get(key)
        now = self.clock()
        if found is None:
            return False
        if now - found.used > IDLE_S or now - found.begun > LONGEST_S or found.token != fingerprint(token):
            del self._sessions[key]
            return False
        found.used = now
        self._sessions.move_to_end(key)
        return True

    def close_session(self, session: str) -> None:
        self._sessions.pop(_digest(session), None)

    def make_link(self) -> str:
        """The secret part of a link that logs in once within `LINK_VALID_S`."""
        once = secrets.token_urlsafe(24)
        self._links[_digest(once)] = self.clock() + LINK_VALID_S
        while len(self._links) > MAX_LINKS:
            self._links.popitem(last=False)
        return once

    def use_link(self, once: str) -> bool:
        valid_until = self._links.pop(_digest(once), None)
        return valid_until is not None and self.clock() <= valid_until


def _digest(secret: str) -> bytes:
    # Looked up by digest, so that the time a dictionary takes tells nothing about the secret.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def fingerprint(token: SecretStr | None) -> bytes:
    return b"" if token is None else _digest(token.get_secret_value())


def is_token(given: str, token: SecretStr | None) -> bool:
    """Whether `given` is the console token; never when there is none."""
    return token is not None and hmac.compare_digest(_digest(given), fingerprint(token))
