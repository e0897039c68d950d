"""The REST resources of Sensaphone.net: what there is, what may be done, and how a request names it.

Source: the API overview's table of resources and its "List". A resource is a path ("device/zone"); in JSON mode it is
nested objects below the first name, in URI mode it is a path with every value in braces:

    JSON  POST /api/v1/device            {"device": [{"device_id": 1234, "zone": [{"zone_id": 112233, "name": null}]}]}
    URI   GET  /api/v1/{acct}/{session}/device/{1234}/zone/{112233}/name

The overview writes "zones" in one example and "zone" in all others; we send "zone". Which resources are lists and
which are objects it shows for few; the rest of `LISTS` follows the names' sense.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

VERBS: Mapping[str, frozenset[str]] = {
    name: frozenset(verb for verb, allowed in zip(("read", "update", "create", "delete"), row, strict=True) if allowed)
    for name, row in {
        "login": (1, 1, 1, 1),
        "dashboard": (1, 0, 0, 0),
        "history": (1, 0, 0, 0),
        "account": (1, 1, 0, 0),
        "feature": (1, 1, 0, 0),
        "device": (1, 1, 1, 1),
        "devicegroup": (1, 1, 1, 1),
        "location": (1, 1, 0, 0),  # not in the table, yet in the list; its parts can be read and written
        "address": (1, 1, 0, 0),
        "coordinates": (1, 1, 0, 0),
        "zone": (1, 1, 1, 0),
        "calllist": (1, 1, 1, 1),
        "alarmschedule": (1, 1, 1, 1),
        "schedule": (1, 1, 1, 1),
        "default_schedule": (1, 1, 1, 1),
        "device_schedule": (1, 1, 1, 1),
        "timerange": (1, 1, 1, 1),
        "contactgroup": (1, 1, 1, 1),
        "user": (1, 1, 1, 1),
        "contact": (1, 1, 1, 1),
    }.items()
}

RESOURCES = (
    "account",
    "account/feature",
    "calllist",
    "contact",
    "contact/schedule",
    "contact/schedule/timerange",
    "contactgroup",
    "dashboard",
    "device",
    "device/default_schedule",
    "device/default_schedule/timerange",
    "device/default_schedule/calllist",
    "device/device_schedule",
    "device/device_schedule/timerange",
    "device/device_schedule/calllist",
    "device/feature",
    "device/location",
    "device/location/address",
    "device/location/coordinates",
    "device/zone",
    "device/zone/alarm_zone/alarmschedule",
    "device/zone/alarm_zone/alarmschedule/timerange",
    "device/zone/alarm_zone/alarmschedule/calllist",
    "device/zone/schedule",
    "device/zone/schedule/timerange",
    "devicegroup",
    "history",
    "login",
    "user",
    "user/alarm_user/contact",
    "user/alarm_user/contact/schedule",
    "user/alarm_user/contact/schedule/timerange",
    "user/alarm_user/schedule",
    "user/alarm_user/schedule/timerange",
    "user/site_user/address",
)

LISTS = frozenset(
    {
        "device",
        "zone",
        "devicegroup",
        "calllist",
        "alarmschedule",
        "schedule",
        "default_schedule",
        "device_schedule",
        "timerange",
        "contactgroup",
        "user",
        "contact",
    }
)
"""Resources with an id of their own (`<name>_id`), accessed as an array of objects; the others are objects."""

METHODS: Mapping[str, str] = {"create": "POST", "read": "GET", "update": "PUT", "delete": "DELETE"}
"""URI mode's HTTP methods."""


def checked(request_type: str, resource: str) -> list[str]:
    """The path's names. Raises ValueError for what the service does not have, or does not do with it."""
    if resource not in RESOURCES:
        raise ValueError(f"Sensaphone.net has no resource {resource!r}")
    names = resource.split("/")
    if request_type not in VERBS[names[-1]]:
        raise ValueError(f"Sensaphone.net cannot {request_type} {resource!r}")
    return names


def id_name(name: str) -> str:
    return f"{name}_id"


def nested(names: list[str], ids: Mapping[str, int | str], fields: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` at the end of the path, wrapped in its parents: JSON mode's body below the envelope.

    `ids` are by resource name (`{"device": 1234, "zone": 112233}`). A whole collection is asked for with null, as
    clients in the field do.
    """
    body: Any = dict(fields)
    for name in reversed(names):
        if name in ids:
            body = {id_name(name): ids[name], **body}
        body = {name: ([body] if name in LISTS else body) if body else None}
    return dict(body)


def uri(names: list[str], ids: Mapping[str, int | str], prop: str | None = None, value: Any = None) -> str:
    """The part of a URI after account and session; every value in braces, and the braces encoded.

    `prop` names one property, `value` what to set it to.
    """
    parts: list[str] = []
    for name in names:
        parts.append(name)
        if name in ids:
            parts.append(braced(ids[name]))
    if prop is not None:
        parts.append(quote(prop, safe=""))
        if value is not None:
            parts.append(braced(value))
    return "/".join(parts)


def braced(value: Any) -> str:
    """`{value}` as it stands in a URI. An empty one would address the whole collection, so it never leaves.

    Raises ValueError.
    """
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
    if not text.strip():
        raise ValueError("a value in a Sensaphone URI is never empty")
    return quote("{" + text + "}", safe="")
