"""Whether the share answers, since when, and how often a refused log-in may be tried again.

starting ─→ up ⇄ down       transitions are logged once, with how long and how often
refused log-in: three tries in five minutes, then none until the oldest is five minutes old or `retry_now`
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import trio

from agent.alarms.model import instant
from agent.faults import Fault, FaultClass

log = logging.getLogger("varde.xml_combine")

LOGIN_TRIES = 3
LOGIN_WINDOW_S = 300.0


class LocalFault(Fault):
    """This box stands in the way (its disk, its permissions), not the share."""


class ShareHealth:
    """`heard` is called with True or False whenever it is known whether the share answers."""

    def __init__(self, kind: str, place: str, now: Callable[[], datetime], heard: Callable[[bool], None]) -> None:
        self._kind = kind
        self._place = place
        self._now = now
        self._heard = heard
        self._refusals: deque[float] = deque(maxlen=LOGIN_TRIES)
        self._refusal: Fault | None = None
        self._failures = 0
        self.state = "starting"
        self.since = now()
        self.error = ""

    def status(self) -> dict[str, Any]:
        return {
            "kind": self._kind,
            "place": self._place,
            "state": self.state,
            "since": instant(self.since),
            "error": self.error or None,
        }

    @property
    def login_is_refused(self) -> bool:
        return self._refusal is not None

    def retry_now(self) -> None:
        """Somebody has changed something: a refused log-in may be tried again at once."""
        self._refusals.clear()
        self._refusal = None

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Around every use of the share. Raises `Fault` without asking while a log-in must not be tried again."""
        self._spare_the_account()
        try:
            yield
        except LocalFault:
            raise
        except Fault as fault:
            self._down(fault)
            raise
        self._up()

    def _spare_the_account(self) -> None:
        full = len(self._refusals) == LOGIN_TRIES
        if self._refusal is not None and full and trio.current_time() - self._refusals[0] < LOGIN_WINDOW_S:
            raise self._refusal

    def _down(self, fault: Fault) -> None:
        self._failures += 1
        if fault.fault_class is FaultClass.AUTHENTICATION:
            self._refusals.append(trio.current_time())
            self._refusal = fault
        if self.state != "down":
            log.warning("the share is down: %s", fault)
            self.state, self.since = "down", self._now()
        elif self.error != str(fault):
            log.warning("the share is still down: %s", fault)
        self.error = str(fault)
        self._heard(False)

    def _up(self) -> None:
        self.retry_now()
        if self.state == "down":
            minutes = (self._now() - self.since).total_seconds() / 60
            log.info("the share is up again after %.1f minutes and %d failures", minutes, self._failures)
        if self.state != "up":
            self.state, self.since = "up", self._now()
        self._failures = 0
        self.error = ""
        self._heard(True)
