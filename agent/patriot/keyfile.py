"""What stands in keys.json: its text → usable keys, and a sentence about everything that cannot be used. Pure.

A file that is no JSON list is broken as a whole (`BrokenKeyFile`). An entry that cannot be used is refused by name and
the others work: enabled entries are looked at first, each in the file's order, so of two that collide the first stays.
No sentence holds a key.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agent.patriot.row import INFO_FIELDS, Injection, unfit_for_xml

CLIENT_ID_DIGITS = 16
ENTRY_FIELDS = ("key_name", "key", "key_sha256", "enabled", "valid_to", "port", "installer", "xml")
_OUR_ELEMENTS = frozenset({"__id", "Zones", "Users", *INFO_FIELDS})
_ELEMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,99}")
_MAX_DEPTH = 20


class BrokenKeyFile(Exception):
    """The file as a whole cannot be used; the text says why, with the line where there is one."""


class _Refused(Exception):
    """Why one entry cannot be used."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One entry of keys.json. `name` is the data set's and the folder's name, `port` the end of every `<__id>`."""

    name: str
    port: str
    sha256: bytes = field(repr=False)
    enabled: bool = True
    valid_to: datetime | None = None
    injection: Injection = field(default_factory=lambda: Injection({}), repr=False)

    def import_id(self, client_id: int) -> str:
        return f"{client_id}{self.port}"

    def usable_at(self, now: datetime) -> bool:
        return self.enabled and (self.valid_to is None or now < self.valid_to)


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of one file. `refused` and `warnings` are sentences for people."""

    keys: tuple[ApiKey, ...] = ()
    refused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def parse(data: bytes) -> KeySet:
    """Raises `BrokenKeyFile`."""
    entries = read_entries(data)
    keys: list[ApiKey] = []
    refused: list[str] = []
    warnings: list[str] = []
    order = sorted(range(len(entries)), key=lambda index: not _is_enabled(entries[index]))
    for index in order:
        label = _label(index, entries[index])
        try:
            key = _key(entries[index])
            _refuse_collision(key, keys)
        except _Refused as reason:
            refused.append(f"{label} is refused: {reason}")
            continue
        keys.append(key)
        warnings += [f"{label}: {warning}" for warning in _warnings(entries[index], key)]
    return KeySet(tuple(keys), tuple(refused), tuple(warnings))


def read_entries(data: bytes) -> list[Any]:
    """The list as it stands, for those who edit it. Raises `BrokenKeyFile`."""
    try:
        entries = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_no_duplicates)
    except UnicodeDecodeError as error:
        raise BrokenKeyFile(f"is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise BrokenKeyFile(f"is not JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    except _Refused as reason:
        raise BrokenKeyFile(str(reason)) from None
    except (RecursionError, ValueError):
        raise BrokenKeyFile("is not JSON that can be used: nested too deeply, or a number too long") from None
    if not isinstance(entries, list):
        raise BrokenKeyFile("must hold a list of objects: [ {…}, {…} ]")
    return entries


def ports_collide(one: str, other: str) -> bool:
    """Whether some client id with `one` and some client id with `other` give the same `<__id>`.

    Ids are decimal, without leading zeros, of 1 to 16 digits: id 1 with port "1BASE" is id 11 with port "BASE". So two
    ports collide when they are equal, or when the longer is up to 15 digits followed by the shorter. Letter case is
    ignored, since the far end may compare without it.
    """
    longer, shorter = sorted((one.casefold(), other.casefold()), key=len, reverse=True)
    if not longer.endswith(shorter):
        return False
    extra = longer[: len(longer) - len(shorter)]
    return not extra or (extra.isdecimal() and len(extra) < CLIENT_ID_DIGITS)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        twice = next(name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1)
        raise _Refused(f'an object names "{twice[:40]}" twice; elements that repeat are given as a list')
    return table


def _is_enabled(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("enabled", True) is True


def _label(index: int, entry: Any) -> str:
    name = entry.get("key_name") if isinstance(entry, dict) else None
    return f"entry {index + 1}" + (f" ({name[:60]!r})" if isinstance(name, str) and name else "")


def _key(entry: Any) -> ApiKey:
    if not isinstance(entry, dict):
        raise _Refused("it is not an object")
    enabled = entry.get("enabled", True)
    if not isinstance(enabled, bool):
        raise _Refused("enabled must be true or false")
    return ApiKey(
        name=_folder_name(entry.get("key_name")),
        port=_port(entry.get("port")),
        sha256=_digest(entry),
        enabled=enabled,
        valid_to=_valid_to(entry.get("valid_to")),
        injection=Injection(_elements(entry.get("xml")), _installer(entry.get("installer"))),
    )


def _folder_name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise _Refused("key_name is missing")
    if name[0] in ". " or name[-1] in ". " or re.search(r"[/\\\x00-\x1f\x7f\ud800-\udfff]", name):
        raise _Refused("key_name must be a plain folder name")
    if len(name.encode()) > 200:
        raise _Refused("key_name is longer than a folder name may be (200 bytes)")
    return name


def _port(port: Any) -> str:
    if not isinstance(port, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", port):
        raise _Refused('port must be a text of 1-32 letters, digits, "_" or "-", such as "BASE11"')
    return port


def _digest(entry: Mapping[str, Any]) -> bytes:
    key, digest = entry.get("key"), entry.get("key_sha256")
    if key is not None and digest is not None:
        raise _Refused("key and key_sha256 exclude each other")
    if digest is not None:
        if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
            raise _Refused("key_sha256 must be 64 hex digits")
        sha256 = bytes.fromhex(digest)
    else:
        if not isinstance(key, str) or not key.strip():
            raise _Refused("key is empty")
        if key != key.strip() or not key.isprintable():
            raise _Refused("key has spaces at its ends or characters that a header cannot carry")
        sha256 = hashlib.sha256(key.encode()).digest()
    if sha256 == hashlib.sha256(b"").digest():
        raise _Refused("key_sha256 is that of an empty key")
    return sha256


def _valid_to(text: Any) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise _Refused('valid_to must be an ISO 8601 instant, such as "2030-01-01T00:00:00Z"') from None


def _installer(installer: Any) -> dict[str, str] | None:
    if installer is None:
        return None
    if not isinstance(installer, dict):
        raise _Refused('installer must be an object: {"User_Name": "…", "Email": "…"}')
    fields = {name: installer[name] for name in ("User_Name", "Email") if installer.get(name) is not None}
    for name, text in fields.items():
        if not isinstance(text, str) or unfit_for_xml(text):
            raise _Refused(f"installer.{name} must be a text that XML can carry")
    if not fields.get("User_Name"):
        raise _Refused("installer.User_Name is missing")
    return fields


def _elements(xml: Any) -> dict[str, Any]:
    if xml is None:
        return {}
    if not isinstance(xml, dict):
        raise _Refused('xml must be an object: {"ElementName": value, …}')
    for name in xml:
        if name in _OUR_ELEMENTS:
            raise _Refused(f"xml.{name} is written by the agent itself and cannot be injected")
    elements: dict[str, Any] = _value(xml, "xml", 0)
    return elements


def _value(value: Any, place: str, depth: int) -> Any:
    """A value as `row` writes it: nested tables, lists of what is no list, texts. Raises `_Refused` with the place."""
    if depth > _MAX_DEPTH:
        raise _Refused(f"{place} is nested too deeply")
    if isinstance(value, dict):
        for name in value:
            # XML reserves names that begin with "xml".
            if not _ELEMENT_NAME.fullmatch(name) or name.lower().startswith("xml"):
                raise _Refused(f"{place}: {name[:40]!r} is no element name")
        return {name: _value(item, f"{place}.{name}", depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        if any(isinstance(item, list) for item in value):
            raise _Refused(f"{place}: a list inside a list has no form in XML")
        return [_value(item, f"{place}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, str) and unfit_for_xml(value):
        raise _Refused(f"{place} holds {unfit_for_xml(value)}, which XML cannot carry")
    return value


def _refuse_collision(key: ApiKey, keys: list[ApiKey]) -> None:
    for other in keys:
        if other.name == key.name:
            raise _Refused("another entry has the same key_name")
        if other.sha256 == key.sha256:
            raise _Refused(f'its key is the key of "{other.name}"')
        if ports_collide(other.port, key.port):
            raise _Refused(f'port "{key.port}" can make the same <__id> as port "{other.port}" of "{other.name}"')


def _warnings(entry: Mapping[str, Any], key: ApiKey) -> list[str]:
    unknown = sorted(set(entry) - set(ENTRY_FIELDS))
    found = [f"{name[:40]!r} is not known here and is ignored" for name in unknown]
    if key.injection.installer is None:
        found.append("no installer, so its rows have no user 199")
    return found
