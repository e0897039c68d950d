"""Short-lived links to an alarm's picture, for the message to the monitoring centre.

/m/<token>   token = id ‖ expiry ‖ HMAC-SHA256(key of this installation)[:16], base64url: nothing is stored
"""

import base64
import hmac
import os
import secrets
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import Response

from agent.alarms.model import Evidence, JournalledAlarm, Media
from agent.web.answers import fail
from agent.web.media import evidence

if TYPE_CHECKING:
    from agent.site import Site

_TOKEN = struct.Struct(">QI")
_MAC_BYTES = 16
_keys: dict[Path, bytes] = {}


def picture_link(site: "Site", alarm: JournalledAlarm) -> str | None:
    """A link to the alarm's picture for the receiver; None where no address reaches the console or there is none."""
    console = site.settings.console
    if console.public_url is None or alarm.alarm.snapshot in (Evidence.UNAVAILABLE, Evidence.EXPIRED):
        return None
    return f"{console.public_url}/m/{_sign(site, alarm.id, int(time.time() + console.link_valid_s))}"


async def linked_picture(site: "Site", token: str) -> Response:
    """What `picture_link` leads to. One answer for every token that is wrong, forged or expired."""
    alarm_id = _check(site, token)
    if alarm_id is None:
        fail(404, "This link is not valid, or no longer.")
    return await evidence(site, alarm_id, Media.SNAPSHOT)


def _sign(site: "Site", alarm_id: int, expires: int) -> str:
    data = _TOKEN.pack(alarm_id, expires)
    mac = hmac.digest(_key(site), data, "sha256")[:_MAC_BYTES]
    return base64.urlsafe_b64encode(data + mac).rstrip(b"=").decode()


def _check(site: "Site", token: str) -> int | None:
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:
        return None
    data, mac = raw[: _TOKEN.size], raw[_TOKEN.size :]
    if not hmac.compare_digest(mac, hmac.digest(_key(site), data, "sha256")[:_MAC_BYTES]):
        return None
    alarm_id, expires = _TOKEN.unpack(data)
    return int(alarm_id) if time.time() <= expires else None


def _key(site: "Site") -> bytes:
    """This installation's key, made at its first use and kept beside the database, so that links survive a restart."""
    path = site.settings.paths.state_dir / "link.key"
    if path not in _keys:
        _keys[path] = _read_or_make(path)
    return _keys[path]


def _read_or_make(path: Path) -> bytes:
    try:
        found = path.read_bytes()
        if len(found) >= 32:
            return found
    except OSError:
        pass
    made = secrets.token_bytes(32)
    try:
        part = path.with_suffix(".part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(made)
        part.rename(path)
    except OSError:
        pass  # a full disk: the links of this run work, those of the next have another key
    return made
