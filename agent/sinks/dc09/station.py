"""One receiver at the monitoring centre: its connections, its clock, whether it answers, and what a try is.

try ─→ ACK ──────────────────────────────→ acknowledged
    ─→ DUH ──────────────────────────────→ not understood (the sink decides)
    ─→ NAK ─→ stamped by its clock, again at once ─→ NAK ─→ Fault: kept
    ─→ nothing, garbage (reply_timeout_s), refused, broken (at once) ─→ next try; after the last: Fault
"""

import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import trio

from agent.faults import Fault, FaultClass
from agent.sinks.dc09.connection import Connection, Protocol
from agent.sinks.dc09.frame import Reply, Word

log = logging.getLogger("varde.dc09")

TRIES = 3
PAUSE_S = 0.2  # between tries that failed at once: a receiver that restarts deserves a moment
DOUBLE_NAK_S = 1.0  # some receivers send the same NAK twice: after the second the answer to the repeat may still come
MAX_IDLE = 16
IDLE_S = 60.0
# NAKs are not authenticated. A receiver whose clock runs on local time is at most 14 h away; who says more could have
# us stamp frames of today for another day, to replay them then.
FARTHEST_CLOCK = timedelta(hours=24)

Build = Callable[[datetime], bytes]
"""A frame stamped with a receiver's time."""


class Station:
    """`answers` is None until something was sent; `fault` says why it is False. Times are trio's.

    `changed(station, before)` is called when `answers` changes.
    """

    def __init__(
        self,
        host: str,
        port: int,
        protocol: Protocol,
        *,
        role: str,
        sink: str,
        reply_timeout_s: float,
        changed: Callable[["Station", bool | None], None] = lambda station, before: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.host, self.port, self.protocol = host, port, protocol
        self.role = role
        self.answers: bool | None = None
        self.fault: Fault | None = None
        self.sent_at = float("-inf")
        self.clock_offset = timedelta(0)
        self.sink = sink
        self.reply_timeout_s = reply_timeout_s
        self._changed = changed
        self._now = now
        self._idle: list[Connection] = []
        self._heard_at = float("-inf")

    @property
    def where(self) -> str:
        return f"{self.host}:{self.port} ({self.protocol.upper()})"

    async def ask(
        self, build: Build, sequence: int, tries: int = TRIES, meanwhile: Callable[[], None] | None = None
    ) -> Word:
        """ACK or DUH, as the receiver answered. Raises `Fault`: unreachable, refused, slow; protocol after NAKs.

        `meanwhile` is called after each sending, before the wait for the answer.
        """
        begun = trio.current_time()
        exchange = _Exchange(self, build, sequence, meanwhile)
        fault: Fault | None = None
        try:
            for number in range(tries):
                try:
                    return await exchange.attempt(fresh=number >= 2)
                except OSError as error:
                    fault = self._broken(error)
                    if number < tries - 1:
                        await trio.sleep(PAUSE_S)
                except trio.TooSlowError:
                    fault = self._silent(exchange.connected)
        finally:
            exchange.close()
        assert fault is not None
        if self._heard_at < begun:
            self._answered(fault)
        raise fault

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    # --- used by an exchange -----------------------------------------------------------------------------------

    async def take(self, *, fresh: bool = False) -> Connection:
        """An idle connection that is still open, or a new one. Raises OSError, TooSlowError."""
        if fresh:
            self.close()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open():
                return connection
            connection.close()
        with trio.fail_after(self.reply_timeout_s):
            return await Connection.open(self.host, self.port, self.protocol)

    def give_back(self, connection: Connection) -> None:
        """To the end of the list, so that the front grows old when fewer are needed, and is closed."""
        now = connection.idle_since = trio.current_time()
        self._idle.append(connection)
        while len(self._idle) > MAX_IDLE or (len(self._idle) > 1 and now - self._idle[0].idle_since > IDLE_S):
            self._idle.pop(0).close()

    def clock(self) -> datetime:
        """The time by this receiver's clock, as far as it has told."""
        return self._now() + self.clock_offset

    def heard(self, reply: Reply) -> None:
        self._heard_at = trio.current_time()
        if not self.answers:
            self._answered(None)
        if reply.word is Word.NAK and reply.at is not None:
            self._set_clock(reply.at)

    def _set_clock(self, at: datetime) -> None:
        offset = at - self._now()
        seconds = offset.total_seconds()
        if abs(offset) > FARTHEST_CLOCK:
            log.warning(
                "sink=%s the %s receiver says that its clock is %.0f s away from ours; too far to be believed",
                self.sink, self.role, seconds,
            )  # fmt: skip
            return
        if abs(offset - self.clock_offset) > timedelta(seconds=5):
            log.warning(
                "sink=%s the clock of the %s receiver is %+.0f s from ours; frames to it are stamped by its clock. "
                "Check both clocks",
                self.sink, self.role, seconds,
            )  # fmt: skip
        self.clock_offset = offset

    def _answered(self, fault: Fault | None) -> None:
        before, self.answers, self.fault = self.answers, fault is None, fault
        if self.answers != before:
            self._changed(self, before)

    def _silent(self, connected: bool) -> Fault:
        if not connected:
            return Fault(
                FaultClass.UNREACHABLE,
                f"The {self.role} receiver {self.where} does not answer the connection.",
                hint="Check its address, the line and firewalls.",
            )
        return Fault(
            FaultClass.SLOW,
            f"The {self.role} receiver {self.where} gives no acknowledgement within {self.reply_timeout_s:g} s.",
            hint="Check that it knows the account and has the same key.",
        )

    def _broken(self, error: OSError) -> Fault:
        if isinstance(error, socket.gaierror):
            return Fault(
                FaultClass.UNREACHABLE,
                f"The name of the {self.role} receiver {self.host} is not known.",
                hint="Check its spelling and the DNS server.",
            )
        if isinstance(error, ConnectionResetError | BrokenPipeError | ConnectionAbortedError):
            return Fault(FaultClass.REFUSED, f"The {self.role} receiver {self.where} breaks the connection.")
        if isinstance(error, ConnectionRefusedError) or "refused" in str(error) or _is_refused(error):
            return Fault(
                FaultClass.REFUSED,
                f"The {self.role} receiver {self.where} refuses the connection: nothing listens on that port.",
                hint="Check the port, and that the receiver's task runs.",
            )
        return Fault(
            FaultClass.UNREACHABLE,
            f"The {self.role} receiver {self.where} cannot be reached.",
            hint="Check its address, the line and firewalls.",
        )


def _is_refused(error: OSError) -> bool:
    """trio reports a failed connection as a summary whose cause is the reason, or a group of them."""
    cause = error.__cause__
    causes = cause.exceptions if isinstance(cause, BaseExceptionGroup) else [cause]
    return any(isinstance(item, ConnectionRefusedError) for item in causes)


class _Exchange:
    """One message to one receiver through all its tries; a NAK is answered once in it, not once a try."""

    def __init__(self, station: Station, build: Build, sequence: int, meanwhile: Callable[[], None] | None) -> None:
        self.connected = False
        self._station = station
        self._build = build
        self._sequence = sequence
        self._meanwhile = meanwhile
        self._connection: Connection | None = None
        self._was_refused = False

    async def attempt(self, *, fresh: bool) -> Word:
        """ACK or DUH. Raises OSError, TooSlowError, or `Fault` after the second NAK.

        The second try goes over the same connection, where a late answer to the first still finds us; a third takes
        a new one, since the old may be dead without saying so.
        """
        self.connected = False
        connection = self._keep_or_drop(fresh)
        if connection is None:
            connection = await self._station.take(fresh=fresh)
        self.connected = True
        try:
            word = await self._answer(connection)
        except trio.TooSlowError:
            self._connection = connection
            raise
        except Fault:
            self._station.give_back(connection)
            raise
        except BaseException:
            connection.close()
            raise
        self._station.give_back(connection)
        return word

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _keep_or_drop(self, fresh: bool) -> Connection | None:
        connection, self._connection = self._connection, None
        if connection is not None and (fresh or not connection.is_open()):
            connection.close()
            return None
        return connection

    async def _answer(self, connection: Connection) -> Word:
        reply = await self._send(connection)
        if reply.word is not Word.NAK:
            return reply.word
        if not self._was_refused:
            self._was_refused = True
            if not connection.is_open():
                raise ConnectionResetError("the receiver closes the connection after its NAK")
            reply = await self._send(connection)
            if reply.word is not Word.NAK:
                return reply.word
        with trio.move_on_after(DOUBLE_NAK_S), suppress(OSError):
            reply = await connection.reply(lambda reply: self._is_ours(reply) and reply.word is not Word.NAK)
            return reply.word
        raise Fault(
            FaultClass.PROTOCOL,
            f"The {self._station.role} receiver {self._station.where} answers NAK, to its own time as well.",
            hint="Check that it knows the account, has the same key, and that both clocks are right.",
        )

    async def _send(self, connection: Connection) -> Reply:
        station = self._station
        station.sent_at = trio.current_time()
        with trio.CancelScope(deadline=station.sent_at + station.reply_timeout_s):
            await connection.send(self._build(station.clock()))
            if self._meanwhile is not None:
                self._meanwhile()
            reply = await connection.reply(self._is_ours)
            station.heard(reply)
            return reply
        raise trio.TooSlowError

    def _is_ours(self, reply: Reply) -> bool:
        """One frame is in flight on a connection, so account and line are the connection's; the number tells a late
        answer from one to this frame. A NAK has no number of its own; a DUH may have none.
        """
        if reply.word in (Word.ACK, Word.RSP):
            return reply.sequence == self._sequence
        return reply.sequence in (None, 0, self._sequence)
