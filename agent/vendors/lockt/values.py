"""The values in Lockt's answers, read leniently: texts, numbers, flags and times.

Facts. Empty values are "" and not null; numbers and booleans may come as strings; the vendor's own samples carry
UTF-8 that was read as Windows-1252 ("Switchâ„¢"). Times with the form `YYYY-MM-DD HH:MM:SS` are the system's local
time, times with the form `YYYY-MM-DDTHH:MM:SSZ` are UTC, and the same field may have either.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any

from pydantic import BeforeValidator

MAX_TEXT = 4000
LOCAL_FORM = "%Y-%m-%d %H:%M:%S"


def _windows_character(byte: int) -> str:
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)  # the five bytes that Windows-1252 leaves free pass as they are


_BYTE_OF = {_windows_character(byte): byte for byte in range(0x80, 0x100)}
_LEADS = "".join(re.escape(_windows_character(byte)) for byte in range(0xC2, 0xF5))
_FOLLOWERS = "".join(re.escape(_windows_character(byte)) for byte in range(0x80, 0xC0))
_MOJIBAKE = re.compile(f"[{_LEADS}][{_FOLLOWERS}]{{1,3}}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")


def repaired(text: str) -> str:
    """Undo UTF-8 that was read as Windows-1252, run by run: one text may hold both broken and whole letters."""
    return text if text.isascii() else _MOJIBAKE.sub(_decoded, text)


def _decoded(match: re.Match[str]) -> str:
    try:
        return bytes(_BYTE_OF[character] for character in match[0]).decode("utf-8")
    except UnicodeDecodeError:
        return match[0]


def as_text(value: Any) -> str:
    """Text for people: repaired, bounded, without control characters; anything but a scalar is ""."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)[:MAX_TEXT]
    return _CONTROL.sub(" ", repaired(value[:MAX_TEXT])) if isinstance(value, str) else ""


def as_whole(value: Any) -> int:
    """An id or a code, as a number or as a string of digits. Raises ValueError."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,18}\s*", value, re.ASCII):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**62:
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    raise ValueError("is no whole number")


def as_number(value: Any) -> float:
    """A finite number. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > 40:
        raise ValueError("is no number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("is no finite number")
    return number


def as_flag(value: Any) -> bool:
    """True for true, "true", 1 and "1" only: what is not said is not so."""
    return value is True or (isinstance(value, str) and value.strip().lower() in ("true", "1")) or value in (1, 1.0)


@dataclass(frozen=True, slots=True)
class Stamp:
    """A time as Lockt writes it. `moment` is aware where the form says UTC, and naive where it is the system's local
    time; `text` is what was received.
    """

    text: str
    moment: datetime

    @property
    def is_local(self) -> bool:
        return self.moment.tzinfo is None

    def at(self, zone: tzinfo) -> datetime:
        """The instant in UTC, `zone` being the zone of the system's local time."""
        local = self.moment.replace(tzinfo=zone) if self.is_local else self.moment
        return local.astimezone(UTC)


def as_stamp(value: Any) -> Stamp | None:
    """None for "" and for what is no time: an event with a broken time is still an event."""
    if isinstance(value, Stamp):
        return value
    if not isinstance(value, str) or not re.match(r"\d{4}-\d\d-\d\d", value) or len(value) > 40:
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        # The ends of the calendar cannot be moved to another zone, and no door was opened there.
        return Stamp(value, moment) if 1970 < moment.year < 9000 else None
    except ValueError:
        return None


def as_local_time(value: Any) -> Any:
    """A time to be sent: always the system's local time, "" for no limit.

    What already says UTC or carries an offset is refused, since Lockt would read it as local; other texts pass, for
    the vendor to judge. Raises ValueError.
    """
    if isinstance(value, str):
        stamp = as_stamp(value)
        if stamp is None:
            return value.strip()
        value = stamp.moment
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            raise ValueError("must be the system's local time, without Z or offset")
        return value.strftime(LOCAL_FORM)
    return value


def _or_none(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def lenient(value: Any) -> Any:
        try:
            return read(value)
        except (ValueError, OverflowError):
            return None

    return lenient


Text = Annotated[str, BeforeValidator(as_text)]
Id = Annotated[int, BeforeValidator(as_whole)]
WholeOrNone = Annotated[int | None, BeforeValidator(_or_none(as_whole))]
NumberOrNone = Annotated[float | None, BeforeValidator(_or_none(as_number))]
Flag = Annotated[bool, BeforeValidator(as_flag)]
Time = Annotated[Stamp | None, BeforeValidator(as_stamp)]
LocalTime = Annotated[str, BeforeValidator(as_local_time)]
