"""Rows out of XML files, one at a time, whoever wrote them.

Nothing is expanded, fetched or kept: a document type is refused before the first element is looked at, and each row
is forgotten once it has been given out. Blocking; call from a thread.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import IO

from lxml import etree

MAX_ID_CHARACTERS = 200


class Unusable(Exception):
    """The file cannot be sent; the text says why, without its contents."""


@dataclass(frozen=True)
class Row:
    """`xml` is the row by itself, UTF-8, as it stands in `clients.xml`."""

    import_id: str
    xml: bytes

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.xml).hexdigest()


def rows_of(file: IO[bytes]) -> Iterator[Row]:
    """Each outermost `<Row>` that has an `<__id>`. Raises `Unusable`, after the rows before the fault."""
    inside: etree._Element | None = None
    try:
        event: str
        element: etree._Element
        for event, element in etree.iterparse(
            file, events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
        ):
            if event == "start":
                if element.getparent() is None and element.getroottree().docinfo.internalDTD is not None:
                    raise Unusable("has a document type, which is not accepted")
                if inside is None and element.tag == "Row":
                    inside = element
            elif element is inside:
                inside = None
                if import_id := _import_id(element):
                    yield Row(import_id, _text_of(element))
                _forget(element)
            elif inside is None:
                _forget(element)
    except etree.XMLSyntaxError as error:
        raise Unusable(f"is not well-formed XML (line {error.lineno})") from None


def _import_id(row: etree._Element) -> str:
    element = row.find("__id")
    text = "" if element is None else "".join(str(part) for part in element.itertext()).strip()
    return text if len(text) <= MAX_ID_CHARACTERS and text.isprintable() else ""


def _text_of(row: etree._Element) -> bytes:
    text = etree.tostring(row, encoding="utf-8", with_tail=False)
    assert isinstance(text, bytes)
    return text


def _forget(element: etree._Element) -> None:
    """Free what has been read: the element's contents, and the elements before it."""
    element.clear()
    parent = element.getparent()
    if parent is not None:
        while element.getprevious() is not None:
            del parent[0]
