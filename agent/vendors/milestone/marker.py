"""The mark on alarms that Varde itself triggers in XProtect, so that no source reads them back as new ones.

Facts. A POST takes name, message and source only, and gives no id that a source in another process, or after a
restart, could know. Decision: the mark stands in the message, at its end where an operator overlooks it: sixteen hex
digits in brackets, one key a delivery. The same key finds an alarm again whose answer was lost.
"""

import re
import secrets

from agent.vendors.milestone.records import AlarmRecord

MARK = re.compile(r"\[varde:([0-9a-f]{16})\]\s*$")
MAX_MESSAGE = 200
"""Characters of a marked message; XProtect's own limit is not documented, and a cut would take the mark off."""


def new_key() -> str:
    return secrets.token_hex(8)


def marked(message: str, key: str) -> str:
    mark = f" [varde:{key}]"
    return message[: MAX_MESSAGE - len(mark)].rstrip() + mark


def key_of(record: AlarmRecord) -> str | None:
    """The key of an alarm that Varde triggered; None for everybody else's."""
    for field in (record.message, record.description, record.name):
        if match := MARK.search(field):
            return match[1]
    return None
