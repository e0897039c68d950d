"""What receivers do wrong, one answer each. Every one of them was seen in a receiver that people use, or is what a line
and a restart do to it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from agent.sinks.dc09.frame import crc16, wrap

if TYPE_CHECKING:
    from agent.sinks.dc09.receiver import Received, Receiver


class Trouble(StrEnum):
    NONE = "none"
    SILENT = "silent"  # takes nothing, says nothing
    SWALLOW = "swallow"  # takes the event; its acknowledgement is lost
    NAK = "nak"
    NAK_TWICE = "nak-twice"
    NAK_AND_CLOSE = "nak-and-close"
    NAK_SWAPPED = "nak-swapped"  # L0R0A0
    BARE_NAK = "bare-nak"  # no line feed, CRC or CR: the account is unknown
    DUH = "duh"
    GARBAGE = "garbage"
    EMPTY = "empty"  # LF CR, said of a wrong CRC
    CLOSE = "close"
    ACK_AND_CLOSE = "ack-and-close"
    SLOW = "slow"  # the right answer after the receiver's `delay_s`
    SPLIT = "split"  # the right answer in three segments
    JOINED = "joined"  # an old answer, garbage and the right one in one segment
    WRONG_CRC = "wrong-crc"
    WRONG_SEQUENCE = "wrong-sequence"
    WRONG_LENGTH = "wrong-length"  # with a right CRC: an acknowledgement all the same, like those that follow
    LOWER_CASE = "lower-case"
    BINARY_CRC = "binary-crc"
    NONE_L0 = "none-l0"
    NO_BAR = "no-bar"
    PKCS7 = "pkcs7"
    WITH_KEY = "with-key"
    NO_CR = "no-cr"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent, in segments; `accepts`: the event is taken."""

    pieces: list[bytes] = field(default_factory=list)
    accepts: bool = False
    after_s: float = 0.0
    closes: bool = False


def _right(receiver: "Receiver", received: "Received") -> Answer:
    return Answer([receiver.acknowledgement(received)], accepts=True)


def _split(receiver: "Receiver", received: "Received") -> Answer:
    whole = receiver.acknowledgement(received)
    return Answer([whole[:7], whole[7:15], whole[15:]], accepts=True)


def _joined(receiver: "Receiver", received: "Received") -> Answer:
    old = receiver.acknowledgement(received, sequence=received.sequence % 9999 + 1)
    return Answer([old + b'\x00\xff"\r' + receiver.acknowledgement(received)], accepts=True)


def _wrong_crc(receiver: "Receiver", received: "Received") -> Answer:
    whole = receiver.acknowledgement(received)
    return Answer([whole[:1] + (b"0000" if whole[1:5] != b"0000" else b"0001") + whole[5:]])


def _wrong_sequence(receiver: "Receiver", received: "Received") -> Answer:
    return Answer([receiver.acknowledgement(received, sequence=(received.sequence + 1) % 10000)])


def _wrong_length(receiver: "Receiver", received: "Received") -> Answer:
    whole = receiver.acknowledgement(received)
    return Answer([whole[:5] + b"0FFF" + whole[9:]], accepts=True)


def _lower_case(receiver: "Receiver", received: "Received") -> Answer:
    whole = receiver.acknowledgement(received)
    return Answer([whole[:9].lower() + whole[9:]], accepts=True)


def _binary_crc(receiver: "Receiver", received: "Received") -> Answer:
    whole = receiver.acknowledgement(received)
    return Answer([b"\n" + crc16(whole[9:-1]).to_bytes(2, "big") + whole[5:]], accepts=True)


def _closing(answer: Answer) -> Answer:
    return Answer(answer.pieces, accepts=answer.accepts, closes=True)


ANSWERS: Mapping[Trouble, Callable[["Receiver", "Received"], Answer]] = {
    Trouble.NONE: _right,
    Trouble.SILENT: lambda receiver, received: Answer(),
    Trouble.SWALLOW: lambda receiver, received: Answer(accepts=True),
    Trouble.NAK: lambda receiver, received: Answer([receiver.nak()]),
    Trouble.NAK_TWICE: lambda receiver, received: Answer([receiver.nak() * 2]),
    Trouble.NAK_AND_CLOSE: lambda receiver, received: Answer([receiver.nak() * 2], closes=True),
    Trouble.NAK_SWAPPED: lambda receiver, received: Answer([receiver.nak("L0R0A0")]),
    Trouble.BARE_NAK: lambda receiver, received: Answer([b'"NAK"']),
    Trouble.DUH: lambda receiver, received: Answer(
        [wrap(f'"DUH"{received.sequence:04d}R0L0#{received.account}[]'.encode())]
    ),
    Trouble.GARBAGE: lambda receiver, received: Answer([b'\x00\xfe HTTP/1.1 400 \r\n"ACK"\r\xff']),
    Trouble.EMPTY: lambda receiver, received: Answer([b"\n\r"]),
    Trouble.CLOSE: lambda receiver, received: Answer(closes=True),
    Trouble.ACK_AND_CLOSE: lambda receiver, received: _closing(_right(receiver, received)),
    Trouble.SLOW: lambda receiver, received: Answer(
        [receiver.acknowledgement(received)], accepts=True, after_s=receiver.delay_s
    ),
    Trouble.SPLIT: _split,
    Trouble.JOINED: _joined,
    Trouble.WRONG_CRC: _wrong_crc,
    Trouble.WRONG_SEQUENCE: _wrong_sequence,
    Trouble.WRONG_LENGTH: _wrong_length,
    Trouble.LOWER_CASE: _lower_case,
    Trouble.BINARY_CRC: _binary_crc,
    Trouble.NONE_L0: lambda receiver, received: Answer(
        [receiver.acknowledgement(received, fields="NoneL0")], accepts=True
    ),
    Trouble.NO_BAR: lambda receiver, received: Answer([receiver.acknowledgement(received, bar=b"")], accepts=True),
    Trouble.PKCS7: lambda receiver, received: Answer(
        [receiver.acknowledgement(received, tail=b"\x10" * 16)], accepts=True
    ),
    Trouble.WITH_KEY: lambda receiver, received: Answer(
        [receiver.acknowledgement(received, word="RSP", data="K0123456789ABCDEF")], accepts=True
    ),
    Trouble.NO_CR: lambda receiver, received: Answer([receiver.acknowledgement(received)[:-1]], accepts=True),
}
