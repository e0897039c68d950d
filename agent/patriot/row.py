"""One client → its `<Row>` in Patriot's import format. Pure: no clock, no file, no store.

    <Clients><Row>
      <__id>9998BASE11</__id>
      <Name>…</Name> …                              info, in the document's order
      <Installer>…</Installer> …                    injected by the key file, in its order
      <Zones><Zone>…</Zone></Zones>
      <Users><User>…</User> … user 199</Users>
    </Row></Clients>

Booleans are `True` and `False`; an absent value is an absent element, an empty text an empty one. Nothing is indented:
white space inside a row would be somebody else's text one day.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lxml import etree

INFO_FIELDS = (
    "Name",
    "Alias",
    "Location",
    "area_code",
    "area",
    "BusPhone",
    "Email",
    "OKPassword",
    "SpecRequest",
    "NoSigsMon",
    "SinceDays",
    "SinceHrs",
    "SinceMins",
    "ResetNosigsIgnored",
    "ResetNosigsDays",
    "ResetNosigsHrs",
    "ResetNosigsMins",
    "InstallDateTime",
    "PanelName",
    "PanelSite",
    "KeypadLocation",
    "SPPage",
)
ZONE_FIELDS = ("Zone_No", "Zone_area", "ModuleNo")
USER_FIELDS = ("User_Name", "MobileNo", "MobileNoOrder", "Email", "Type", "UserNo", "Instructions", "CallOrder")
INSTALLER_FIELDS = ("User_Name", "Email", "UserNo", "CallOrder", "Type")
INSTALLER_USER_NO = 199

DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'

# The production Char of XML 1.0: no control characters but tab and line ends, no surrogates, no U+FFFE and U+FFFF.
_UNFIT = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Client:
    """One registered client. `info` holds only what is present; zones and users are keyed by their number."""

    client_id: int
    info: Mapping[str, Any]
    zones: Mapping[int, Mapping[str, Any]]
    users: Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Injection:
    """What a key adds to each row: elements nested as in the key file, and user 199 where one is configured."""

    elements: Mapping[str, Any]
    installer: Mapping[str, str] | None = None


_BEFORE, _AFTER = DECLARATION + b"<Clients>", b"</Clients>\n"


def client_xml(import_id: str, client: Client, injection: Injection) -> bytes:
    """The whole file of one client."""
    return _BEFORE + etree.tostring(row(import_id, client, injection), encoding="utf-8") + _AFTER


def row_within(client_file: bytes) -> bytes:
    """The `<Row>` of what `client_xml` made, without reading it as XML. Raises ValueError where it made it not."""
    if not client_file.startswith(_BEFORE + b"<Row>") or not client_file.endswith(b"</Row>" + _AFTER):
        raise ValueError("not a file of one client")
    return client_file[len(_BEFORE) : -len(_AFTER)]


def row(import_id: str, client: Client, injection: Injection) -> etree._Element:
    element = etree.Element("Row")
    _append(element, "__id", import_id)
    _append_fields(element, INFO_FIELDS, client.info)
    for name, value in injection.elements.items():
        _append(element, name, value)
    zones = etree.SubElement(element, "Zones")
    for number in sorted(client.zones):
        _append_fields(etree.SubElement(zones, "Zone"), ZONE_FIELDS, client.zones[number])
    users = etree.SubElement(element, "Users")
    for number in sorted(client.users):
        _append_fields(etree.SubElement(users, "User"), USER_FIELDS, client.users[number])
    if injection.installer is not None:
        installer = {**injection.installer, "UserNo": INSTALLER_USER_NO, "CallOrder": 0, "Type": "N"}
        _append_fields(etree.SubElement(users, "User"), INSTALLER_FIELDS, installer)
    return element


def unfit_for_xml(text: str) -> str | None:
    """The first character that XML cannot carry, as "U+0000"; None where the whole text fits."""
    found = _UNFIT.search(text)
    return f"U+{ord(found.group()):04X}" if found else None


def _append_fields(parent: etree._Element, order: Sequence[str], values: Mapping[str, Any]) -> None:
    for name in order:
        _append(parent, name, values.get(name))


def _append(parent: etree._Element, name: str, value: Any) -> None:
    """One element a value: none for None, one each for a list, nested ones for a table."""
    if value is None:
        return
    if isinstance(value, list | tuple):
        for item in value:
            _append(parent, name, item)
        return
    element = etree.SubElement(parent, name)
    if isinstance(value, Mapping):
        for inner, item in value.items():
            _append(element, inner, item)
    else:
        element.text = str(value)
