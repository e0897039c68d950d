"""Supervision messages: proof to the monitoring centre that the line lives, and to us that a receiver does.

answers ─→ a NULL whenever nothing else was sent for its interval
silent  ─→ a probe every 10 s, or at its interval where that is shorter, until it answers
"""

import logging

import trio

from agent.faults import Fault, FaultClass
from agent.sinks.dc09.frame import Line, Word
from agent.sinks.dc09.station import TRIES, Station

log = logging.getLogger("varde.dc09")

PROBE_S = 10.0


async def supervise(station: Station, line: Line, interval_s: float, *, is_alone: bool) -> None:
    """Never returns. With an interval of 0 only a silent station is asked, and only where another stands in for it."""
    is_told_so = False
    while True:
        await _until_due(station, interval_s, is_alone=is_alone)
        try:
            word = await station.ask(lambda at: line.null(at=at), 0, 1 if station.answers is False else TRIES)
            takes_null = word is not Word.DUH
        except Fault as fault:
            takes_null = fault.fault_class is not FaultClass.PROTOCOL
        if not takes_null and not is_told_so:
            is_told_so = True
            log.warning(
                "sink=%s the %s receiver answers supervision messages, but does not take them; "
                "set supervision_interval_s = 0 where it never will",
                station.sink,
                station.role,
            )


async def _until_due(station: Station, interval_s: float, *, is_alone: bool) -> None:
    """Sleep until a message is due; whatever else goes to the station meanwhile puts it off."""
    while True:
        interval = interval_s
        if station.answers is False and (interval_s or not is_alone):
            interval = min(PROBE_S, interval_s or PROBE_S)
        due = station.sent_at + interval if interval else float("inf")
        wait_s = due - trio.current_time()
        if wait_s <= 0:
            return
        # Not longer than a probe's interval at once: the station may go down while this sleeps.
        await trio.sleep(min(wait_s, PROBE_S))


async def ask_for_a_sign(station: Station, line: Line, interval_s: float) -> str:
    """One supervision message; what came of it. Raises `Fault` where nothing did, or a refusal where they are to be
    sent: an account that the receiver does not know and a wrong key show in no other way before the first alarm.
    """
    where = f"the {station.role} receiver {station.where}"
    try:
        word = (await station.ask(lambda at: line.null(at=at), 0, tries=1)).value
    except Fault as fault:
        if fault.fault_class is not FaultClass.PROTOCOL:
            raise
        word = "NAK"
    if word == Word.ACK.value:
        return f"{where} acknowledges"
    said = f"{where} answers {word} to a supervision message"
    if not interval_s:
        return said
    raise Fault(
        FaultClass.PROTOCOL,
        f"{said[0].upper()}{said[1:]} of account {line.account}.",
        hint="Check that it knows the account, has the same key, and that both clocks are right; where it never takes "
        "supervision messages, set supervision_interval_s = 0.",
    )
