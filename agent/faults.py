"""What can go wrong with a far end, in six words that logs, metrics and people share.

A fault says what failed, where, why, and what to do about it. Its class decides how long to wait before the next try
(`alarms/polling.py`, `alarms/dispatch.py`) and is the `outcome` label of the metrics.
"""

from enum import StrEnum


class FaultClass(StrEnum):
    UNREACHABLE = "unreachable"  # no route, no name, no answer to the connection
    REFUSED = "refused"  # somebody is there and closes the door: port closed, connection reset
    AUTHENTICATION = "authentication"  # user, password, key or token is wrong: never retried quickly
    PROTOCOL = "protocol"  # an answer came and is not what the document promises
    SLOW = "slow"  # connected, and no whole answer in time
    REJECTED = "rejected"  # understood and turned down


class Fault(Exception):
    """A far end failed.

    `message` says what, where and why in one sentence without a secret; `hint` says what to do next ("" where there
    is nothing to add); `retry_after_s` is the far end's own wish (429, 503), None where it said nothing.
    """

    def __init__(
        self, fault_class: FaultClass, message: str, *, hint: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.fault_class = fault_class
        self.message = message
        self.hint = hint
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class Refused(Exception):
    """A device understood an action and will not do it; the text is the device's own reason."""


class UnknownTarget(Exception):
    """An action names a door, input, relay or alarm that the device does not have."""


class UnknownAction(Exception):
    """An action that this kind of device does not offer."""


class Rejected(Exception):
    """A sink's far end will never accept this alarm; the text says why. Raised by `Sink.deliver`."""
