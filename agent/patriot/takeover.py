"""Taking over an existing installation of the documented API without losing a pending client.

    DIR/keys.json                     ─→ keys that are not there yet
    DIR/out/clients/**/<id>.xml       ─→ registered as new; one the API could not hold stays a file and is sent as it is
    DIR/client_state.json, pending    ─→ its row out of DIR/ready_for_import/clients.xml, registered as new; named
                                         where no row is left

Source: patriot-client-api.txt, "XML Output Structure" and "Client State Tracking". A client that goes out once more is
merged by Patriot; one that is lost is a guard at the wrong door.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lxml import etree
from pydantic import ValidationError

from agent.patriot import xmlfiles
from agent.patriot.keyfile import ApiKey
from agent.patriot.keys import Keys
from agent.patriot.registry import Registry
from agent.patriot.row import DECLARATION, INFO_FIELDS, INSTALLER_USER_NO
from agent.patriot.rowstream import Row, Unusable, rows_of
from agent.patriot.schema import Info, User, Zone

NUMBERS = frozenset(
    {
        *("SinceDays", "SinceHrs", "SinceMins", "ResetNosigsDays", "ResetNosigsHrs", "ResetNosigsMins", "NoSigsMon"),
        *("ModuleNo", "Zone_No", "UserNo", "CallOrder", "MobileNoOrder"),
    }
)
OURS = frozenset({"__id", "Zones", "Users", *INFO_FIELDS})


@dataclass
class Takeover:
    """What was found and what became of it; import ids and paths."""

    registered: list[str] = field(default_factory=list)
    kept_as_file: list[str] = field(default_factory=list)
    already_there: list[str] = field(default_factory=list)
    unusable: dict[str, str] = field(default_factory=dict)
    pending_without_row: list[str] = field(default_factory=list)


async def take_over(directory: Path, registry: Registry, keys: Keys, *, dry_run: bool = False) -> Takeover:
    """Register every client that waits in `directory`. Safe to repeat: a client that is registered already is left."""
    done = Takeover()
    waiting = dict(_waiting(directory, done))
    for import_id, (row, name) in waiting.items():
        key, client_id = _owner(import_id, keys, name)
        if key is not None and await _is_registered(registry, key, client_id):
            done.already_there.append(import_id)
        elif key is not None and (client := _client(row, key)) is not None:
            if not dry_run:
                await _register(registry, key, client_id, *client)
            done.registered.append(import_id)
        else:
            if not dry_run:
                _keep(registry.clients_dir, name, import_id, row)
            done.kept_as_file.append(import_id)
    return done


def _waiting(directory: Path, done: Takeover) -> Iterator[tuple[str, tuple[Row, str]]]:
    """(import id, (row, folder)) of what Patriot has not confirmed: what is pending first, newer files over it."""
    pending = set(_pending(directory / "client_state.json", done))
    combined = directory / "ready_for_import" / "clients.xml"
    for row in _rows(combined, done):
        if row.import_id in pending:
            pending.discard(row.import_id)
            yield row.import_id, (row, "")
    for path in sorted((directory / "out" / "clients").rglob("*.xml"), key=lambda path: path.stat().st_mtime_ns):
        for row in _rows(path, done):
            pending.discard(row.import_id)
            yield row.import_id, (row, path.parent.name)
    done.pending_without_row += sorted(pending)


def _pending(path: Path, done: Takeover) -> list[str]:
    try:
        document = json.loads(path.read_text("utf-8-sig"))
        return [key for key, value in document.items() if value.get("status") == "pending_import"]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, AttributeError) as error:
        done.unusable[str(path)] = f"cannot be read as the documented state file ({type(error).__name__})"
        return []


def _rows(path: Path, done: Takeover) -> list[Row]:
    if not path.exists():
        return []
    try:
        return list(rows_of(io.BytesIO(path.read_bytes())))
    except (Unusable, OSError) as error:
        done.unusable[str(path)] = str(error)
        return []


def _owner(import_id: str, keys: Keys, folder: str) -> tuple[ApiKey | None, int]:
    """The key whose port ends the id, and the client's number; the folder's name decides between two."""
    for key in sorted(keys.all, key=lambda key: key.name != folder):
        number = import_id.removesuffix(key.port)
        if (
            number != import_id
            and number.isdecimal()
            and str(int(number)) == number
            and key.import_id(int(number)) == import_id
        ):
            return key, int(number)
    return None, 0


async def _is_registered(registry: Registry, key: ApiKey, client_id: int) -> bool:
    sql = "SELECT 1 FROM clients WHERE key_name = ? AND client_id = ?"
    return await registry.store.read(lambda c: c.execute(sql, (key.name, client_id)).fetchone()) is not None


Parts = tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]


def _client(row: Row, key: ApiKey) -> Parts | None:
    """Info, zones and users as the API takes them; None where the row holds what the API and the key could not."""
    element = etree.fromstring(row.xml)
    if any(child.tag not in OURS and child.tag not in key.injection.elements for child in element):
        return None
    try:
        info = Info.model_validate(_values(element, INFO_FIELDS)).model_dump(exclude_none=True)
        zones = [
            Zone.model_validate(_values(zone)).model_dump(exclude_none=True) for zone in element.iterfind("Zones/Zone")
        ]
        users = [
            User.model_validate(values).model_dump(exclude_none=True)
            for values in map(_values, element.iterfind("Users/User"))
            if values.get("UserNo") != INSTALLER_USER_NO
        ]
    except (ValidationError, ValueError):
        return None
    return info, zones, users


def _values(parent: etree._Element, wanted: tuple[str, ...] | None = None) -> dict[str, Any]:
    return {
        str(child.tag): _typed(str(child.tag), child.text or "")
        for child in parent
        if isinstance(child.tag, str) and (wanted is None or child.tag in wanted)
    }


def _typed(name: str, text: str) -> Any:
    if name in NUMBERS and text.lstrip("-").isdecimal():
        return int(text)
    if name == "ResetNosigsIgnored" and text in ("True", "False"):
        return text == "True"
    return text


async def _register(
    registry: Registry, key: ApiKey, client_id: int, info: dict[str, Any], zones: list[dict[str, Any]],
    users: list[dict[str, Any]],
) -> None:  # fmt: skip
    await registry.put_client(key, client_id, info)
    for zone in zones:
        await registry.put_zone(key, client_id, zone)
    for user in users:
        await registry.create_user(key, client_id, user)


def _keep(clients_dir: Path, folder: str, import_id: str, row: Row) -> None:
    """A file of its own under `out/clients`, which the next batch sends as it is."""
    name = "".join(character if character.isalnum() else "_" for character in import_id)
    path = clients_dir / (folder or "taken-over") / f"{name}.xml"
    xmlfiles.write(path, DECLARATION + b"<Clients>" + row.xml + b"</Clients>\n")
