"""Flapping protection: the same happening at the same device again within a time is held back.

    lost · back · lost · back · lost ........................ stays lost
    sent   sent   held   held   held until the time is over → sent, because the far end was last told "back"

A first alarm is never held. What is held is released when its time is over, if the far end would otherwise go on
believing the opposite of what is so; a held alarm whose opposite follows goes with it.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.alarms.model import JournalledAlarm, Kind, instant, parse_instant

_PAIRS = (
    (Kind.CAMERA_LOST, Kind.CAMERA_RESTORED),
    (Kind.SOURCE_LOST, Kind.SOURCE_RESTORED),
    (Kind.ARMED, Kind.DISARMED),
)
_OPPOSITE = {one: other for pair in _PAIRS for one, other in (pair, pair[::-1])}

_EARLIER = """
SELECT alarms.kind, alarms.restoral, alarms.device, alarms.received_at, outbox.id AS outbox_id,
    outbox.state = 'pending' AND outbox.attempts = 0 AND outbox.next_attempt_at > ? AS held
FROM alarms JOIN outbox ON outbox.alarm_id = alarms.id AND outbox.sink = ?
WHERE alarms.source = ? AND alarms.id < ? ORDER BY alarms.id DESC
"""


@dataclass(frozen=True, slots=True)
class Hold:
    """`until`: a held alarm is written nevertheless, to be sent then."""

    held: bool
    until: datetime | None = None


def hold(connection: sqlite3.Connection, alarm: JournalledAlarm, sink: str, hold_s: float, now: datetime) -> Hold:
    """Whether `alarm` is held back from `sink`. Takes back a held opposite, which is over with this alarm."""
    this = (alarm.alarm.kind, alarm.alarm.restoral)
    sent: list[tuple[tuple[Kind, bool], datetime]] = []
    for row in _earlier(connection, alarm, sink, now - timedelta(seconds=hold_s), now):
        happening = (Kind(row["kind"]), bool(row["restoral"]))
        if happening not in (this, opposite(*this)):
            continue
        if not row["held"]:
            sent.append((happening, parse_instant(row["received_at"])))
        elif happening != this:
            connection.execute("DELETE FROM outbox WHERE id = ?", (row["outbox_id"],))
        else:
            return Hold(True)  # one is waiting already
    same = [at for happening, at in sent if happening == this]
    if not same:
        return Hold(False)
    last_told = sent[0][0]
    return Hold(True) if last_told == this else Hold(True, same[0] + timedelta(seconds=hold_s))


def opposite(kind: Kind, restoral: bool) -> tuple[Kind, bool]:
    return (_OPPOSITE[kind], restoral) if kind in _OPPOSITE else (kind, not restoral)


def _earlier(
    connection: sqlite3.Connection, alarm: JournalledAlarm, sink: str, since: datetime, now: datetime
) -> list[sqlite3.Row]:
    """What went to the sink about the device before `alarm`, newest first, as far back as `since`."""
    found: list[sqlite3.Row] = []
    # What was received in the future was so before the clock was set back, nobody knows how long ago: nothing is held
    # for its sake. Row by row: the index is in journal order, and only the newest few of a long history are wanted.
    with closing(connection.execute(_EARLIER, (instant(now), sink, alarm.source, alarm.id))) as rows:
        for row in rows:
            if row["received_at"] < instant(since):
                break
            if row["device"] == alarm.alarm.device and row["received_at"] <= instant(now):
                found.append(row)
    return found
