"""What a device sends, made safe to look at: JSON of bounded depth, and readers that never raise.

Facts. `json.loads` lets `NaN`, `1e999` and half surrogate pairs through, all of which break whoever writes the value
down later; it recurses as deep as the sender likes. Vendors send numbers as strings and leave keys out. Decisions:
`json_of` refuses or repairs the first kind, so that any `raw` can be stored; the small readers below take a value of
any type and give the wanted one, or nothing.
"""

import json
import math
from typing import Any

import httpx

from agent.faults import Fault, FaultClass

MAX_DEPTH = 32
MAX_TEXT = 200


def json_of(response: httpx.Response, where: str) -> Any:
    """The answer's JSON document. Raises `Fault(PROTOCOL)` for anything else, nested deeper than 32 included."""
    try:
        value = json.loads(response.content, parse_constant=_refuse, parse_float=_finite)
        return _checked(value, 0)
    except (ValueError, RecursionError):
        kind = response.headers.get("content-type", "no content type").split(";")[0][:60]
        raise Fault(
            FaultClass.PROTOCOL, f"{where} answers {response.status_code} with what is not usable JSON ({kind})."
        ) from None


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number beyond any measure")
    return number


def _checked(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deep")
    if isinstance(value, dict):
        return {_checked(key, depth): _checked(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_checked(item, depth + 1) for item in value]
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be stored
    return value


def table(value: Any) -> dict[str, Any]:
    """`value` where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def rows(value: Any) -> list[dict[str, Any]]:
    """The objects in `value` where it is a list; a lone object is a list of one."""
    if isinstance(value, dict):
        return [value]
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: Any, limit: int = MAX_TEXT) -> str:
    """A text or number as one line of at most `limit` characters; "" for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    try:
        return " ".join(str(value).split())[:limit]
    except ValueError:  # an integer of more digits than Python prints
        return ""


def whole(value: Any) -> int | None:
    """A whole number of at most 64 bits, also where it stands as a string or as 7.0."""
    if isinstance(value, str):
        try:
            value = int(value.strip()[:20])
        except ValueError:
            return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        return None
    return value


def truth(value: Any) -> bool | None:
    """A boolean, also where it stands as 0, 1, "true" or "False"; None where it is none."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(
            value.strip().lower()
        )
    return {0: False, 1: True}.get(value) if isinstance(value, int) else None


def retry_after_s(response: httpx.Response) -> float | None:
    """The `Retry-After` of an answer in seconds, at most an hour; None where it says nothing, or a date."""
    value = response.headers.get("retry-after", "")
    return float(min(int(value[:9]), 3600)) if value.isascii() and value.isdecimal() else None
