"""A SIA DC-09 receiver, for demo, tests and laboratories: TCP and UDP, plain and encrypted, with troubles on demand.

    frame ─decode→ Received ─→ time window ─→ trouble in force? ─→ answer

It is strict where receivers are (CRC, length, key, time) and as odd as they are where `troubles.py` says so.
"""

import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import trio

from agent.sinks.dc09 import troubles
from agent.sinks.dc09.connection import Protocol
from agent.sinks.dc09.frame import crc16, decrypt, encrypt, random_pad, stamp, wrap
from agent.sinks.dc09.troubles import Answer, Trouble

log = logging.getLogger("varde.receiver")

MAX_FRAME = 4200
KEPT = 100_000
WINDOW = (timedelta(seconds=40), timedelta(seconds=20))

_FRAME = re.compile(
    rb'^\n?([0-9A-Fa-f]{4})0([0-9A-Fa-f]{3})("(\*?)(SIA-DCS|ADM-CID|NULL)"(\d{4})'
    rb"(?:R([0-9A-Fa-f]{1,6}))?L([0-9A-Fa-f]{1,6})#([0-9A-Fa-f]{3,16})\[(.*))$",
    re.DOTALL,
)
_CONTENT = re.compile(
    r"^(?:[^|\[\]]*\|)?(?:#(?P<account>[0-9A-Fa-f]{3,16})\|(?P<data>[^\[\]]*))?\]"
    r"(?P<extended>(?:\[[^\[\]]*\])*)(?:_(?P<stamp>[0-9:,-]+))?$"
)
_SIA = re.compile(r"^N([A-Z]{2})(\d*)(?:\^([^^]*)\^)?$")
_CID = re.compile(r"^(\d)([0-9A-F]{3}) (\d\d) (\d{3})$")


class BadFrame(Exception):
    """Not a frame, or not one that this receiver can read; the text says why."""


@dataclass(frozen=True, slots=True)
class Received:
    """One frame as read. `code` is "BA" or, in Contact ID, "1130"; `extended` maps the letter to its text."""

    identifier: str
    sequence: int
    account: str
    encrypted: bool
    data: str
    code: str
    number: int | None
    text: str
    extended: Mapping[str, str]
    stamped_at: datetime | None
    frame: bytes
    received_at: datetime

    @property
    def is_event(self) -> bool:
        return self.identifier != "NULL"


def decode(frame: bytes, key: bytes | None, at: datetime) -> Received:
    """A whole frame without its CR. Raises `BadFrame`."""
    found = _FRAME.match(frame)
    if found is None:
        raise BadFrame("no frame")
    crc, length, message, star, identifier, sequence, _, _, account, content = found.groups()
    if int(crc, 16) != crc16(message):
        raise BadFrame("wrong CRC")
    if int(length, 16) != len(message):
        raise BadFrame("wrong length")
    if star:
        if key is None:
            raise BadFrame("encrypted, and no key is known")
        try:
            content = decrypt(key, content)
        except ValueError as error:
            raise BadFrame(str(error)) from None
    parts = _CONTENT.match(content.decode("cp1252", "replace"))
    if parts is None:
        raise BadFrame("the content cannot be read; is the key right?")
    code, number, text = _event(parts["data"] or "")
    return Received(
        identifier=identifier.decode(),
        sequence=int(sequence),
        account=account.decode(),
        encrypted=bool(star),
        data=parts["data"] or "",
        code=code,
        number=number,
        text=text,
        extended={item[0]: item[1:] for item in re.findall(r"\[([^\[\]]+)\]", parts["extended"])},
        stamped_at=_time(parts["stamp"]),
        frame=frame,
        received_at=at,
    )


def _event(data: str) -> tuple[str, int | None, str]:
    if sia := _SIA.match(data):
        return sia[1], int(sia[2]) if sia[2] else None, sia[3] or ""
    if cid := _CID.match(data):
        return cid[1] + cid[2], int(cid[4]), ""
    return "", None, ""


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%H:%M:%S,%m-%d-%Y").replace(tzinfo=UTC)
    except ValueError:
        raise BadFrame("the time stamp cannot be read") from None


@dataclass
class Receiver:
    """Serves until cancelled. `keys` maps accounts to AES keys, "" to that of all others; an account without one is
    taken in plain. `window` is how far a stamp may lie behind and ahead, None: any. `events` are those acknowledged,
    newest last; `frames` counts everything that came; `on_event` is called for each acknowledged event.

    `trouble` is in force for `accounts` (None: all) and for the next `times` frames (None: until changed).
    """

    keys: Mapping[str, bytes] = field(default_factory=dict)
    window: tuple[timedelta, timedelta] | None = WINDOW
    on_event: Callable[[Received], None] = lambda event: None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    trouble: Trouble = Trouble.NONE
    times: int | None = None
    accounts: frozenset[str] | None = None
    delay_s: float = 1.0  # of `Trouble.SLOW`
    events: deque[Received] = field(default_factory=lambda: deque(maxlen=KEPT))
    seen: deque[Received] = field(default_factory=lambda: deque(maxlen=KEPT))
    frames: int = 0
    bad_frames: int = 0
    connections: int = 0
    port: int = 0

    def misbehave(self, trouble: Trouble, *, times: int | None = None, accounts: frozenset[str] | None = None) -> None:
        self.trouble, self.times, self.accounts = trouble, times, accounts

    async def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        protocol: Protocol = "tcp",
        *,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """`task_status` gets the port, which a port of 0 leaves to the system."""
        if protocol == "udp":
            return await self._serve_udp(host, port, task_status)
        listeners = await trio.open_tcp_listeners(port, host=host)
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started(self.port)
        await trio.serve_listeners(self._serve_tcp, listeners)

    async def _serve_tcp(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        received = b""
        try:
            async with stream:
                while data := await stream.receive_some(4096):
                    *frames, received = (received + data).split(b"\r")
                    received = received[-MAX_FRAME:]
                    for frame in frames:
                        answer = self._answer(frame)
                        await _say(stream.send_all, answer)
                        if answer.closes:
                            return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the sender has gone

    async def _serve_udp(self, host: str, port: int, task_status: trio.TaskStatus[int]) -> None:
        server = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        with server:
            await server.bind((host, port))
            self.port = server.getsockname()[1]
            task_status.started(self.port)
            async with trio.open_nursery() as nursery:
                while True:
                    datagram, address = await server.recvfrom(4096)

                    async def send(piece: bytes, address: tuple[str, int] = address) -> None:
                        await server.sendto(piece, address)

                    nursery.start_soon(_say, send, self._answer(datagram.rstrip(b"\r")))

    def _answer(self, frame: bytes) -> Answer:
        self.frames += 1
        try:
            received = decode(frame, self._key(frame), self.now())
        except BadFrame as bad:
            self.bad_frames += 1
            log.debug("bad frame: %s", bad)
            return Answer([b"\n\r" if "CRC" in str(bad) else self.nak()])
        self.seen.append(received)
        trouble = self._trouble_for(received)
        if trouble is Trouble.NONE and not self._in_window(received):
            return Answer([self.nak()])
        answer = troubles.ANSWERS[trouble](self, received)
        if answer.accepts and received.is_event:
            self.events.append(received)
            self.on_event(received)
        return answer

    def _trouble_for(self, received: Received) -> Trouble:
        if self.trouble is Trouble.NONE or (self.accounts is not None and received.account not in self.accounts):
            return Trouble.NONE
        if self.times is not None:
            if self.times <= 0:
                return Trouble.NONE
            self.times -= 1
        return self.trouble

    def _in_window(self, received: Received) -> bool:
        if self.window is None or received.stamped_at is None:
            return True
        behind, ahead = self.window
        return -behind <= received.stamped_at - self.now() <= ahead

    def _key(self, frame: bytes) -> bytes | None:
        found = _FRAME.match(frame)
        account = found[9].decode() if found else ""
        return self.keys.get(account, self.keys.get(""))

    # --- answers, for `troubles.py` -----------------------------------------------------------------------------

    def acknowledgement(
        self,
        received: Received,
        *,
        word: str = "ACK",
        sequence: int | None = None,
        fields: str = "R0L0",
        data: str = "",
        bar: bytes = b"|",
        tail: bytes = b"",
    ) -> bytes:
        """The right answer, or one whose parts are what the caller says; `tail` ends the clear text of a cipher."""
        number = received.sequence if sequence is None else sequence
        head = f"{number:04d}{fields}#{received.account}["
        key = self.keys.get(received.account, self.keys.get(""))
        if not received.encrypted or key is None:
            return wrap(f'"{word}"{head}{data}]'.encode())
        clear = f"{data}]_{stamp(self.now())}".encode() + tail
        pad = random_pad if bar else bytes  # one receiver pads with zeros and leaves the bar out
        return wrap(f'"*{word}"{head}'.encode() + encrypt(key, clear, pad, bar))

    def nak(self, fields: str = "R0L0A0") -> bytes:
        return wrap(f'"NAK"0000{fields}[]_{stamp(self.now())}'.encode())


async def _say(send: Callable[[bytes], Awaitable[None]], answer: Answer) -> None:
    if answer.after_s:
        await trio.sleep(answer.after_s)
    for number, piece in enumerate(answer.pieces):
        if number:
            await trio.sleep(0.05)  # so that the pieces are segments of their own
        await send(piece)
