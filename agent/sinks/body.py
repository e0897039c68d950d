"""The body that webhook and MQTT carry: the contract's alarm object, the same bytes at every try."""

import hashlib
import json

from agent.alarms.model import Delivery


async def body_of(delivery: Delivery) -> bytes:
    """As it was at the first try, from the memo; made and noted at the first."""
    if delivery.memo is None:
        await delivery.note(json.dumps(delivery.alarm.as_json(), ensure_ascii=False, separators=(",", ":")))
    assert delivery.memo is not None
    return delivery.memo.encode("utf-8")


def idempotency_key(site: str, alarm_id: int, body: bytes) -> str:
    """The same at every try, and no other's: a database that had to begin anew numbers its alarms from 1 again."""
    return f"{site}-{alarm_id}-{hashlib.sha256(body).hexdigest()[:16]}"
