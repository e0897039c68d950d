"""The accepting side of NTLM over HTTP, for the laboratory: a challenge, and a real check of the NTLMv2 response.

Source: [MS-NLMP]. Written apart from the library that our client uses, so that the two prove each other: the response
is recomputed from the password, and right only if user, domain, password and this very challenge went into it.

    client ─NEGOTIATE (1)→ server ─CHALLENGE (2)→ client ─AUTHENTICATE (3)→ server checks
"""

import base64
import hmac
import secrets
import struct

SIGNATURE = b"NTLMSSP\0"
UNICODE, NTLM, EXTENDED_SECURITY, TARGET_INFO = 0x1, 0x200, 0x80000, 0x800000
REQUEST_TARGET, TARGET_IS_DOMAIN, KEY_128, KEY_56 = 0x4, 0x10000, 0x20000000, 0x80000000
MASK = 0xFFFFFFFF


class Acceptor:
    """One connection's handshake."""

    def __init__(self, domain: str, username: str, password: str) -> None:
        self.domain = domain
        self.username = username
        self.password = password
        self._challenge = b""

    def step(self, token: str) -> tuple[bool, str | None]:
        """Take a base64 token of the client: (authenticated, base64 token to answer with, None for none)."""
        try:
            message = base64.b64decode(token, validate=True)
            kind = struct.unpack_from("<I", message, 8)[0] if message.startswith(SIGNATURE) else 0
            if kind == 1:
                self._challenge = secrets.token_bytes(8)
                return False, base64.b64encode(self._challenge_message()).decode()
            return kind == 3 and bool(self._challenge) and self._right(message), None
        except (ValueError, struct.error):
            return False, None

    def _challenge_message(self) -> bytes:
        name = self.domain.encode("utf-16-le")
        info = struct.pack("<HH", 2, len(name)) + name + struct.pack("<HH", 0, 0)  # the domain's name, and the end
        flags = UNICODE | NTLM | EXTENDED_SECURITY | TARGET_INFO | REQUEST_TARGET | TARGET_IS_DOMAIN | KEY_128 | KEY_56
        offset = 56
        return b"".join(
            (
                SIGNATURE,
                struct.pack("<I", 2),
                struct.pack("<HHI", len(name), len(name), offset),
                struct.pack("<I", flags),
                self._challenge,
                bytes(8),
                struct.pack("<HHI", len(info), len(info), offset + len(name)),
                bytes((10, 0, 0, 0, 0, 0, 0, 15)),
                name,
                info,
            )
        )

    def _right(self, message: bytes) -> bool:
        response, domain, user = (_field(message, offset) for offset in (20, 28, 36))
        challenge, self._challenge = self._challenge, b""  # good for one answer
        if len(response) < 48:  # an NTLMv1 response has 24 bytes, and proves too little
            return False
        named = (domain.decode("utf-16-le"), user.decode("utf-16-le"))
        if (named[0].lower(), named[1].lower()) != (self.domain.lower(), self.username.lower()):
            return False
        key = hmac.digest(
            md4(self.password.encode("utf-16-le")), (named[1].upper() + named[0]).encode("utf-16-le"), "md5"
        )
        proof, blob = response[:16], response[16:]
        return hmac.compare_digest(hmac.digest(key, challenge + blob, "md5"), proof)


def _field(message: bytes, offset: int) -> bytes:
    length, _, start = struct.unpack_from("<HHI", message, offset)
    return message[start : start + length]


def md4(data: bytes) -> bytes:
    """RFC 1320. Python's own is gone where OpenSSL 3 runs without its legacy provider."""
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476]
    padded = data + b"\x80" + bytes((55 - len(data)) % 64) + struct.pack("<Q", len(data) * 8)
    for start in range(0, len(padded), 64):
        words = struct.unpack_from("<16I", padded, start)
        mixed = _rounds(list(state), words)
        state = [(before + after) & MASK for before, after in zip(state, mixed, strict=True)]
    return struct.pack("<4I", *state)


def _choose(x: int, y: int, z: int) -> int:
    return (x & y) | (~x & z)


def _majority(x: int, y: int, z: int) -> int:
    return (x & y) | (x & z) | (y & z)


def _parity(x: int, y: int, z: int) -> int:
    return x ^ y ^ z


_ROUNDS = (
    (0x00000000, (3, 7, 11, 19), tuple(range(16)), _choose),
    (0x5A827999, (3, 5, 9, 13), (0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), _majority),
    (0x6ED9EBA1, (3, 9, 11, 15), (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15), _parity),
)


def _rounds(state: list[int], words: tuple[int, ...]) -> list[int]:
    a, b, c, d = state
    for constant, shifts, order, function in _ROUNDS:
        for step, index in enumerate(order):
            total = (a + function(b, c, d) + words[index] + constant) & MASK
            shift = shifts[step % 4]
            a, b, c, d = d, (total << shift | total >> (32 - shift)) & MASK, b, c
    return [a, b, c, d]
