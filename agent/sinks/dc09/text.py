"""Text as receivers can take it: plain letters, and none of the signs that a frame is built of.

Facts. A letter outside ASCII in a plain frame makes some receivers lose the frame, others answer NAK; in an encrypted
one the letter is lost. `[ ] | ^ / "` and control characters end fields. Decision: everything is transliterated, the
Norwegian letters as they are written without them; Windows-1252 only where the receiver is set to allow it.
"""

import re
import unicodedata
from functools import lru_cache

MAX_TEXT = 256  # of the extended fields

_LETTERS = str.maketrans(
    {
        "æ": "ae",
        "ø": "o",
        "å": "a",
        "Æ": "Ae",
        "Ø": "O",
        "Å": "A",
        "ß": "ss",
        "ð": "d",
        "Ð": "D",
        "đ": "d",
        "Đ": "D",
        "þ": "th",
        "Þ": "Th",
        "œ": "oe",
        "Œ": "Oe",
        "ł": "l",
        "Ł": "L",
        "ı": "i",
        "°": " deg ",
        "µ": "u",
        "€": "EUR",
        "£": "GBP",
        "‘": "'",
        "’": "'",
        "“": "'",
        "”": "'",
        "«": "'",
        "»": "'",
        "–": "-",
        "—": "-",
        "−": "-",
        "…": "...",
        "×": "x",
    }
)
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f\[\]|^/"\\\u2028\u2029]+')
_BLANKS = re.compile(r"\s+")


@lru_cache(maxsize=4096)  # names of devices and the site come again and again
def plain(text: str, longest: int = MAX_TEXT) -> str:
    """ASCII, at most `longest` characters."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text[: 4 * longest]).translate(_LETTERS)
        text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    return _safe(text, longest)


def windows(text: str, longest: int = MAX_TEXT) -> str:
    """Letters of Windows-1252 as they are, others as in `plain`."""
    letters = (letter if _in_windows(letter) else plain(letter) for letter in unicodedata.normalize("NFC", text))
    return _safe("".join(letters), longest)


def _in_windows(letter: str) -> bool:
    try:
        letter.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True


def _safe(text: str, longest: int) -> str:
    return _BLANKS.sub(" ", _UNSAFE.sub(" ", text)).strip()[:longest].rstrip()
