"""SIA DC-09 on the wire: frames as bytes, sans-I/O. No clock, no socket.

    LF crc 0LLL "id" seq Rrcvr Lpref #acct [ [pad|] #acct|data ] [x]… _timestamp CR
           └──────────────── crc and length are about this part ───────────────┘
                                     └─────── encrypted, where there is a key ──┘

Facts. The CRC is CRC-16/ARC, high byte first. The pad stands before the data, is random, and fills the clear text to a
multiple of 16; a text that fits already gets 16 more. AES-CBC with a zero IV, in upper-case hex. Receivers answer with
malformed fields (`NoneL0`), swapped ones (`L0R0A0`), a bare `"NAK"`, zeros or PKCS7 bytes within the cipher, lower-case
or binary CRCs. Decision: a reply is what bears the word and a right CRC; nothing else in it has to be right, and
nothing in the cipher of a reply is needed, since number and account stand before it.
"""

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

MAX_FRAME_BYTES = 1000  # some receivers read no more than this at once, and take the rest for another frame
LAST_SEQUENCE = 9999
TEXT_ENCODING = "cp1252"  # of the text fields where the receiver allows it; ASCII otherwise, which is a part of it

_ZERO_IV = CBC(bytes(16))
_PAD_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnopqrstuvwxyz-+"  # 64, and no "|", "[" or "]"
Pad = Callable[[int], bytes]


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
        table.append(value)
    return table


_TABLE = _crc_table()


def crc16(data: bytes) -> int:
    """CRC-16/ARC; of b"123456789" it is 0xBB3D."""
    crc = 0
    table = _TABLE
    for byte in data:
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    return crc


def random_pad(length: int) -> bytes:
    return bytes(_PAD_LETTERS[byte & 63] for byte in secrets.token_bytes(length))


def stamp(at: datetime) -> str:
    """`HH:MM:SS,MM-DD-YYYY` in UTC."""
    at = at.astimezone(UTC)
    return f"{at.hour:02d}:{at.minute:02d}:{at.second:02d},{at.month:02d}-{at.day:02d}-{at.year:04d}"


@dataclass(frozen=True, slots=True)
class Line:
    """What is the same in every frame of one account to one receiver: the R and L fields, account and key."""

    account: str
    receiver: str = "0"
    prefix: str = "0"
    key: bytes | None = None

    def event(
        self,
        identifier: str,
        sequence: int,
        data: str,
        extended: Sequence[str] = (),
        *,
        at: datetime,
        pad: Pad = random_pad,
    ) -> bytes:
        """A frame with one event: `identifier` is "SIA-DCS" or "ADM-CID", `extended` items are without brackets."""
        body = f"#{self.account}|{data}]" + "".join(f"[{item}]" for item in extended) + "_" + stamp(at)
        return self._frame(identifier, sequence, body, pad)

    def null(self, *, at: datetime | None, pad: Pad = random_pad) -> bytes:
        """A supervision message; its number is 0000. `at` may be None in plain only."""
        return self._frame("NULL", 0, "]" if at is None else "]_" + stamp(at), pad)

    def event_bytes(self, identifier: str, data: str, extended: Sequence[str]) -> int:
        """The length that `event` will have."""
        clear = len(self.account) + 2 + len(data) + 1 + sum(len(item) + 2 for item in extended) + 20
        content = clear if self.key is None else 32 * ((clear + 1) // 16 + 1)
        star = self.key is not None
        return 10 + len(identifier) + 2 + star + 4 + 2 + len(self.receiver + self.prefix + self.account) + 2 + content

    def _frame(self, identifier: str, sequence: int, body: str, pad: Pad) -> bytes:
        content = body.encode(TEXT_ENCODING, "replace")
        star = ""
        if self.key is not None:
            star = "*"
            content = encrypt(self.key, content, pad)
        head = f'"{star}{identifier}"{sequence:04d}R{self.receiver}L{self.prefix}#{self.account}['
        return wrap(head.encode("ascii") + content)


def wrap(message: bytes) -> bytes:
    """LF, CRC, length, `message` (from the first quotation mark on), CR."""
    return b"\n%04X%04X%b\r" % (crc16(message), len(message), message)


def encrypt(key: bytes, clear: bytes, pad: Pad = random_pad, bar: bytes = b"|") -> bytes:
    """Upper-case hex of pad, bar and `clear`."""
    clear = pad(16 - (len(clear) + len(bar)) % 16) + bar + clear
    encryptor = Cipher(AES(key), _ZERO_IV).encryptor()
    return (encryptor.update(clear) + encryptor.finalize()).hex().upper().encode("ascii")


def decrypt(key: bytes, content: bytes) -> bytes:
    """The clear text, pad included, of what stands after the `[`. Raises ValueError."""
    decryptor = Cipher(AES(key), _ZERO_IV).decryptor()
    cipher = bytes.fromhex(content.decode("ascii"))
    if len(cipher) % 16:
        raise ValueError("the encrypted part is no multiple of 16 bytes")
    return decryptor.update(cipher) + decryptor.finalize()


# --- replies ------------------------------------------------------------------------------------------------------


class Word(StrEnum):
    ACK = "ACK"
    NAK = "NAK"
    DUH = "DUH"
    RSP = "RSP"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a receiver said. `sequence` is None where it gave none, `at` is its clock where it told (in a NAK)."""

    word: Word
    sequence: int | None
    at: datetime | None = None

    def acknowledges(self, sequence: int) -> bool:
        """An RSP is an ACK with data; the data is never looked at."""
        return self.word in (Word.ACK, Word.RSP) and self.sequence == sequence


MAX_BUFFER_BYTES = 4096
_BARE = re.compile(rb'^\s*"(NAK|DUH)"\s*$')
_REPLY = re.compile(rb'"\*?(ACK|NAK|DUH|RSP)"\s*(\d{1,4})?')
_STAMP = re.compile(rb"_(\d\d):(\d\d):(\d\d),(\d\d)-(\d\d)-(\d{4})")
_HEAD_BYTES = 8  # CRC and length before the first quotation mark


def read_replies(received: bytes) -> tuple[list[Reply], bytes]:
    """The replies in what was received so far, and what may be the beginning of another. Garbage is passed over."""
    if _BARE.match(received):
        return [_reply(found, received) for found in _REPLY.finditer(received)], b""
    replies = []
    done = 0
    for found in _REPLY.finditer(received):
        end = received.find(b"\r", found.end())
        # An end without CR: some receivers leave it out. A right CRC over all that is there says that it is an end.
        message = received[found.start() : end if end >= 0 else len(received)]
        if found.start() >= done and _crc_is_right(received[done : found.start()], message):
            replies.append(_reply(found, message))
            done = found.start() + len(message) + (end >= 0)
    return replies, received[done:][-MAX_BUFFER_BYTES:]


def _reply(found: re.Match[bytes], message: bytes) -> Reply:
    return Reply(Word(found[1].decode()), int(found[2]) if found[2] else None, _stamped(message))


def _crc_is_right(before: bytes, message: bytes) -> bool:
    """`before` ends with CRC and length; in one dialect the CRC is two bytes, which may be any."""
    crc = crc16(message)
    head = before[-_HEAD_BYTES:]
    return head[:4].upper() == b"%04X" % crc or head[-6:-4] == crc.to_bytes(2, "big")


def _stamped(message: bytes) -> datetime | None:
    found = _STAMP.search(message)
    if found is None:
        return None
    hour, minute, second, month, day, year = (int(group) for group in found.groups())
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
