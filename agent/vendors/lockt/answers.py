"""Lockt's answers, taken apart: status, body, envelope, and the error shapes. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from agent.faults import Fault, FaultClass
from agent.vendors import wire
from agent.vendors.lockt.errors import BatchResult, Complaint, LocktBusy, LocktRejected, RejectedRecord
from agent.vendors.lockt.values import as_text, as_whole

MAX_RETRY_AFTER_S = 3600.0
BUSY_RETRY_AFTER_S = 30.0
"""How long to leave the cloud alone after a 429 or 503 that does not say how long."""
MAX_SENTENCES = 20


def envelope(what: str, response: httpx.Response, now: datetime) -> dict[str, Any]:
    """The JSON object of a good answer; raises `Fault` for every other, `LocktRejected` with the vendor's words.

    `what` names the request for people ("GET /door").
    """
    status, answer = response.status_code, _object(response)
    if status in (401, 403):
        raise _no_access(what, status, answer or {})
    if status == 429 or status >= 500:
        raise _busy(what, status, response.headers, now)
    if status == 404 and answer is None:
        raise Fault(
            FaultClass.PROTOCOL,
            f"Lockt does not know {what} (404).",
            hint="Check url; SecureAccess 2.4 or later is required.",
        )
    if status >= 400:
        raise LocktRejected(what, complaint_of(answer or {}))
    if status != 200 or answer is None:
        raise Fault(
            FaultClass.PROTOCOL,
            f"Lockt answers {what} with something other than a JSON object (status {status}).",
            hint="Check url, and that no proxy or log-in page stands between.",
        )
    return answer


def rows(what: str, answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects of `data`; an object is an array of one. Raises `Fault` and `LocktRejected`.

    An answer without `data` is a failure and never an empty list, which would read as "nothing there".
    """
    data = answer.get("data")
    if isinstance(data, dict):
        data = [data]
    if isinstance(data, list) and all(isinstance(row, dict) and not _is_error(row) for row in data):
        return data
    complaint = complaint_of(answer)
    if complaint.sentences or complaint.rejected:
        raise LocktRejected(what, complaint)
    raise Fault(FaultClass.PROTOCOL, f"Lockt's answer to {what} has no data as documented.")


def summary(what: str, answer: Mapping[str, Any], *, partly: bool) -> BatchResult:
    """The process summary of a write. `partly`: invalid records do not fail the others (validate_fails_batch off).

    Raises `LocktRejected` where nothing was written, or nobody says what was.
    """
    data = answer.get("data")
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    counts = data if isinstance(data, dict) else {}
    complaint = complaint_of(answer)
    counted = any(name in counts for name in ("submitted", "inserted", "updated", "deleted", "processed"))
    if not counted or (complaint.rejected and not partly):
        if complaint.sentences or complaint.rejected:
            raise LocktRejected(what, complaint)
        raise Fault(FaultClass.PROTOCOL, f"Lockt's answer to {what} has no summary as documented.")
    errors = _count(counts.get("errors")) if not isinstance(counts.get("errors"), list) else 0
    return BatchResult(
        submitted=_count(counts.get("submitted")),
        inserted=_count(counts.get("inserted")),
        updated=_count(counts.get("updated")),
        deleted=_count(counts.get("deleted")),
        processed=_count(counts.get("processed")),
        errors=max(errors, len(complaint.rejected)),
        rejected=complaint.rejected,
    )


def complaint_of(answer: Mapping[str, Any]) -> Complaint:
    """The vendor's sentences and rejected records, wherever either error shape puts them (contradictions 13, 14)."""
    sentences: list[str] = []
    rejected: list[RejectedRecord] = []
    data = answer.get("data")
    places = [answer, *([data] if isinstance(data, dict) else data if isinstance(data, list) else [])]
    for place in places:
        if not isinstance(place, dict):
            sentences += _sentences(place) if isinstance(place, str) else []
            continue
        if "input_data" in place:
            rejected.append(_rejected(place))
            continue
        for key in ("result", "error", "message"):
            sentences += _sentences(place.get(key))
        for item in _listed(place.get("errors")):
            if isinstance(item, dict) and ("input_data" in item or "error" in item):
                rejected.append(_rejected(item))
            else:
                sentences += _sentences(item)
    return Complaint(tuple(dict.fromkeys(sentences)), tuple(rejected))


def _rejected(item: Mapping[str, Any]) -> RejectedRecord:
    record = item.get("input_data")
    words = tuple(_sentences(item.get("error"))) or ("Lockt gives no reason.",)
    return RejectedRecord(words, record if isinstance(record, dict) else {})


def _is_error(row: Mapping[str, Any]) -> bool:
    return bool(row) and set(row) <= {"error", "errors"}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, dict | str) else []


def _sentences(value: Any) -> list[str]:
    if isinstance(value, list):
        return [text for item in value[:MAX_SENTENCES] if (text := as_text(item).strip())]
    text = as_text(value).strip() if isinstance(value, str) else ""
    return [text] if text else []


def _count(value: Any) -> int:
    try:
        return max(0, as_whole(value))
    except ValueError:
        return 0


def _no_access(what: str, status: int, answer: Mapping[str, Any]) -> Fault:
    said = " ".join(complaint_of(answer).sentences)
    return Fault(
        FaultClass.AUTHENTICATION,
        f"Lockt refuses {what} ({status}){': ' + said if said else '.'}",
        hint="Check api_user and api_key, and that Lockt has enabled the API for this site.",
    )


def _busy(what: str, status: int, headers: Mapping[str, str], now: datetime) -> Fault:
    wished = retry_after(headers.get("retry-after", ""), now)
    if status == 429:
        return LocktBusy(
            FaultClass.REFUSED,
            f"Lockt asks for fewer requests ({what}: 429).",
            hint="Raise poll_interval_s.",
            retry_after_s=wished or BUSY_RETRY_AFTER_S,
        )
    default = BUSY_RETRY_AFTER_S if status == 503 else None
    return Fault(
        FaultClass.REFUSED if status in (502, 503, 504) else FaultClass.PROTOCOL,
        f"Lockt fails at {what} ({status}).",
        retry_after_s=wished or default,
    )


def retry_after(header: str, now: datetime) -> float | None:
    """Seconds from a Retry-After header in either of its forms; None where it says nothing usable."""
    header = header.strip()
    if header.isascii() and header.isdecimal():
        return min(float(header[:9]), MAX_RETRY_AFTER_S)
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, TypeError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(0.0, (aware - now).total_seconds()), MAX_RETRY_AFTER_S)


def _object(response: httpx.Response) -> dict[str, Any] | None:
    """The body as a JSON object; None for everything else."""
    try:
        value = wire.json_of(response, "Lockt")
    except Fault:
        return None
    return value if isinstance(value, dict) else None
