"""A Lockt event as an alarm: kind, time, place and words. Pure.

Facts. The vendor publishes two codes (48 granted, 49 denied) of a list that nobody has; the text of any code comes
with the event. `hw_time` is the lock's clock and `db_time` the cloud's: hours lie between them when a lock was
offline. Events name the door and not its id. Decisions: the table of codes is configuration, what is not in it is
`other` and delivered; a late event says so; a lock whose clock runs ahead of the cloud's has the cloud's time.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo

from agent.alarms.model import Alarm, Kind
from agent.vendors import wire
from agent.vendors.lockt.models import Event

CODES: Mapping[str, Kind] = {"48": Kind.ACCESS_GRANTED, "49": Kind.ACCESS_DENIED}
LATE = timedelta(minutes=5)


def kind_of(event: Event, codes: Mapping[str, Kind]) -> Kind:
    """By code and subcode, then by code; the configuration's table before our own."""
    keys = (f"{event.code}/{event.subcode}", str(event.code))
    return next((codes[key] for key in keys if key in codes), CODES.get(str(event.code), Kind.OTHER))


def to_alarm(event: Event, *, kind: Kind, device: str, zone: tzinfo, now: datetime, epoch: str) -> Alarm:
    """`device` is what the configuration's `zones` knows the door by; `zone` that of times in the local form."""
    by_lock = event.event_time.at(zone) if event.event_time else None
    by_cloud = event.db_time.at(zone) if event.db_time else None
    occurred_at = by_lock or by_cloud or now
    remark = ""
    if by_lock and by_cloud:
        if by_cloud - by_lock >= LATE:
            remark = f"; reported {_span(by_cloud - by_lock)} late"
        elif by_lock - by_cloud >= LATE:
            occurred_at = by_cloud
            remark = f"; the lock's clock is {_span(by_lock - by_cloud)} ahead"
    return Alarm(
        native_id=str(event.id),
        kind=kind,
        occurred_at=occurred_at,
        description=_words(event) + remark,
        device=device,
        device_name=wire.text(event.device),
        raw=event.raw,
        epoch=epoch,
    )


def _words(event: Event) -> str:
    """ "Access Denied (Battery Missing): Core 1, Main Hall; Doe, Jo, card 1000" """
    what = wire.text(event.code_text) or f"Event code {event.code if event.code is not None else 'unknown'}"
    if event.subcode_text:
        what += f" ({wire.text(event.subcode_text)})"
    where = ", ".join(wire.text(part) for part in (event.device, event.location) if part)
    card = f"card {event.card_num}" if event.card_num else ""
    who = ", ".join(wire.text(part) for part in (event.user, card) if part)
    return "; ".join(part for part in (f"{what}: {where}" if where else what, who) if part)


def _span(length: timedelta) -> str:
    minutes = round(length.total_seconds() / 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{number} {unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if number]
    return " ".join(parts[:2])
