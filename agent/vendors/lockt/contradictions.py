"""Where the reference contradicts itself, and how we settle it: here and nowhere else.

 1. The event's time is `event_time` in the table and `hw_time` in every sample: either is read, as `event_time`.
 2. Paths are singular in the list of endpoints, and `delegates`, `accesslevels`, `doors` in some samples: we ask for
    the singular, which is what the list promises.
 3. Processing options are booleans in the tables and the strings "true"/"false" in every sample: we send the strings,
    which is what is known to have been sent. `enabled` is shown both ways: we send the boolean. We read both.
 4. Ids are integers in the tables and strings in some samples: we send numbers and read both.
 5. The access levels inside a user carry `unid`, everything else carries `id`: either is read, as `id`.
 6. A credential's `user` is an object in the table and an array of one in the samples: either is read.
 7. A user is looked up by `id_num` in the list and the known issues, by `idnum` in a sample: we ask by `id_num`.
 8. Fobs are deleted under `locations` in one table and sample, under `fobs` in the other: we send `fobs`.
 9. Doors are unlocked by `id` in the table, by name in the example's body: we send `id`.
10. /doorstate is filtered by `low_battery` in the sample; the release notes name `lowbattery` with POST for e-mails.
    We read with the first and switch e-mails with the second.
11. An update of a user is chosen by id alone in the table of behaviours, by id_num or email in the table of options;
    the former says that it replaces the latter. We send the id.
12. `data` is an array for lists and an object for /about and summaries: an object is read as an array of one.
13. The error shape is printed as JSON that no parser takes (an object inside an object, without a key): we look for
    `error`, `errors` and `result` at the top and inside `data`, as text, list or object.
14. `errors` counts in a summary and lists in a failure; "the errors node of the data object" may be either.
15. A user's `pin` is validated as "missing or blank", and missing in the sample of an update: we take it as required of
    new users only.
16. A battery's level is "a decimal" in the table and a whole percentage in the samples: see `batteries.percent`.
"""

from collections.abc import Mapping
from typing import Any

_ALSO_KNOWN_AS = {"event_time": "hw_time", "id": "unid"}


def settled(record: Mapping[str, Any]) -> dict[str, Any]:
    """A received record with one name for one thing (1, 5, 6)."""
    plain = dict(record)
    for name, other in _ALSO_KNOWN_AS.items():
        if plain.get(name) in (None, "") and other in plain:
            plain[name] = plain[other]
    user = plain.get("user")
    if isinstance(user, list):
        plain["user"] = user[0] if user else None
    return plain


def sent_option(value: bool) -> str:
    """A processing option in a request body (3)."""
    return "true" if value else "false"
