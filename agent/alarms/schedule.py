"""When to poll: a steady rate without drift or bursts, and how long to wait after a failure.

Pure: times are seconds of a monotonic clock, given by the caller.
"""

import random

from agent.faults import Fault, FaultClass

GOLDEN = 0.6180339887498949
LONGEST_BACKOFF_S = 60.0
AUTHENTICATION_BACKOFF_S = 300.0
FIRST_BACKOFF_S = 0.5


class Ticks:
    """The moments of a fixed rate. A tick that is missed is skipped, never made up for."""

    def __init__(self, interval_s: float, start: float) -> None:
        self.interval_s = interval_s
        self.next = start

    def after(self, now: float) -> float:
        """The tick that follows `now`, and from then on the rate continues from there."""
        self.next += self.interval_s
        if self.next < now:
            missed = (now - self.next) // self.interval_s + 1
            self.next += missed * self.interval_s
        return self.next


def phase(index: int, interval_s: float) -> float:
    """Where within its interval the index-th source polls; any number of sources spreads evenly."""
    return (index * GOLDEN % 1.0) * interval_s


def backoff_s(
    failures: int, fault: Fault, *, shortest_s: float = FIRST_BACKOFF_S, jitter: float | None = None
) -> float:
    """Seconds to wait after the `failures`-th failure in a row (1, 2, …): doubling up to a minute, ±20 %.

    An authentication fault goes straight to five minutes, so that no account is locked out by our tries. A far end
    that says when to come again is believed up to an hour.
    """
    spread = 1 + 0.4 * ((random.random() if jitter is None else jitter) - 0.5)  # noqa: S311 - no secret in it
    if fault.fault_class is FaultClass.AUTHENTICATION:
        return AUTHENTICATION_BACKOFF_S * spread
    wait_s = min(LONGEST_BACKOFF_S, shortest_s * 2.0 ** min(failures - 1, 20))
    if fault.retry_after_s is not None:
        wait_s = max(wait_s, min(fault.retry_after_s, 3600.0))
    return wait_s * spread
