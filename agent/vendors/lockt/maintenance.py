"""Planned maintenance, out of an answer whose fields the reference does not name. Pure.

A record's times are told by their form alone: the earliest is the beginning and the latest the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from agent.vendors.lockt.models import Record
from agent.vendors.lockt.values import as_stamp

MAX_PAUSE_S = 300.0
"""Maintenance may end early, so the cloud is asked at least this often whatever was announced."""


@dataclass(frozen=True, slots=True)
class Window:
    begins: datetime
    ends: datetime

    def holds(self, now: datetime) -> bool:
        return self.begins <= now < self.ends

    def pause_s(self, now: datetime) -> float:
        """How long to leave the cloud alone."""
        return min(max(1.0, (self.ends - now).total_seconds()), MAX_PAUSE_S)


def windows(records: Sequence[Record], zone: tzinfo) -> list[Window]:
    """A window for each record that has two times; one with fewer announces nothing that could be waited for."""
    found = []
    for record in records:
        stamps = [stamp for value in record.raw.values() if (stamp := as_stamp(value))]
        moments = sorted(stamp.at(zone) for stamp in stamps)
        if len(moments) >= 2 and moments[0] < moments[-1]:
            found.append(Window(moments[0], moments[-1]))
    return found
