"""A spreadsheet of users as rows with line numbers. Pure but for reading the file.

Facts. A spreadsheet program of the Norwegian kind writes semicolons, and Windows-1252 unless told otherwise; others
write commas and UTF-8 with or without a mark. Headings are typed by people. Decisions: the delimiter is the one that
the heading has most of, the encoding UTF-8 or else Windows-1252, headings are read without case, spaces and hyphens;
a heading that is not known is a fault of the file, since a misspelt column would be lost in silence.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

COLUMNS = (
    "id_num",
    "first_name",
    "last_name",
    "email",
    "phone",
    "card_num",
    "pin",
    "access_effective",
    "access_expires",
    "enabled",
    "accesslevels",
    "custom1",
    "custom2",
    "custom3",
    "custom4",
)
_ALIASES = {
    "card": "card_num",
    "card_number": "card_num",
    "access_levels": "accesslevels",
    "access_level": "accesslevels",
}
MAX_FILE_BYTES = 20 * 1024 * 1024


class UnusableFile(Exception):
    """A file that is no spreadsheet of users; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Line:
    """One user as the spreadsheet has it; `number` is the line where the row begins, as an editor counts."""

    number: int
    values: Mapping[str, str]

    @property
    def who(self) -> str:
        """Words for a report: the id number, or whatever names there are."""
        names = " ".join(self.values.get(key, "") for key in ("first_name", "last_name")).strip()
        return self.values.get("id_num", "") or names


def read(file: Path) -> list[Line]:
    """The rows that hold anything. Raises `UnusableFile`."""
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise UnusableFile(f"{file} is larger than {MAX_FILE_BYTES} bytes.")
        content = file.read_bytes()
    except OSError as error:
        raise UnusableFile(f"{file} cannot be read: {error.strerror}.") from None
    return parse(_decoded(content))


def parse(text: str) -> list[Line]:
    """Raises `UnusableFile`."""
    heading = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=heading.count)
    rows = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    lines: list[Line] = []
    columns: list[str] = []
    begins = 1
    try:
        for cells in rows:
            begun, begins = begins, rows.line_num + 1
            if not columns:
                columns = _columns(cells)
            elif any(cell.strip() for cell in cells):
                lines.append(Line(begun, _values(columns, cells, begun)))
    except csv.Error as error:
        raise UnusableFile(f"Line {rows.line_num} is no CSV: {error}.") from None
    if not columns:
        raise UnusableFile("The file is empty.")
    return lines


def _columns(cells: list[str]) -> list[str]:
    names = [re.sub(r"[\s-]+", "_", cell.strip().lower()) for cell in cells]
    names = [_ALIASES.get(name, name) for name in names]
    unknown = [cell for cell, name in zip(cells, names, strict=True) if name not in COLUMNS]
    twice = sorted({name for name in names if names.count(name) > 1})
    if unknown or twice:
        fault = f"Unknown column: {', '.join(unknown)}." if unknown else f"Column given twice: {', '.join(twice)}."
        raise UnusableFile(f"{fault} The first line names columns among {', '.join(COLUMNS)}.")
    return names


def _values(columns: list[str], cells: list[str], line: int) -> dict[str, str]:
    if len(cells) > len(columns) and any(cell.strip() for cell in cells[len(columns) :]):
        raise UnusableFile(
            f"Line {line} has {len(cells)} cells for {len(columns)} columns: quote cells with delimiters."
        )
    return {column: cell.strip() for column, cell in zip(columns, cells, strict=False)}


def _decoded(content: bytes) -> str:
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise UnusableFile("The file is neither UTF-8 nor Windows-1252 text.")
