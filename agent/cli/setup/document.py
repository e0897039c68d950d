"""agent.toml as a document that people wrote: values are exchanged, everything else stays as it was."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import ParseError
from tomlkit.items import AoT, Table

from agent.settings import load

NEW_FILE_MODE = 0o640


class CannotSave(Exception):
    """Why the file stays as it is."""


class Document:
    """The file at `path`, or an empty one. `save` checks the whole before it replaces the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._document = tomlkit.parse(path.read_text("utf-8"))
        except FileNotFoundError:
            self._document = tomlkit.document()
        except (ParseError, UnicodeDecodeError) as error:
            raise CannotSave(f"{path} is not TOML: {error}. Mend it first.") from None
        except OSError as error:
            raise CannotSave(f"{path} cannot be read: {error.strerror}.") from None

    def get(self, table: str) -> dict[str, Any]:
        found = self._document.get(table)
        return dict(found.unwrap()) if isinstance(found, Table) else {}

    def entries(self, table: str) -> list[dict[str, Any]]:
        found = self._document.get(table)
        return [dict(entry) for entry in found.unwrap()] if isinstance(found, AoT) else []

    def set_table(self, table: str, values: Mapping[str, Any]) -> None:
        """Give `[table]` these values; its other keys stay."""
        if table not in self._document:
            self._document.add(table, tomlkit.table())
        _fill(self._document[table], values)

    def set_entry(self, table: str, values: Mapping[str, Any]) -> None:
        """Replace the `[[table]]` entry of this name, or append one; an entry's own comments stay."""
        found = self._document.get(table)
        if not isinstance(found, AoT):
            found = tomlkit.aot()
            self._document[table] = found
        for entry in found:
            if entry.get("name") == values["name"]:
                for key in [key for key in entry if key not in values and entry.get("kind") != values["kind"]]:
                    entry.remove(key)
                _fill(entry, values)
                return
        entry = tomlkit.table()
        _fill(entry, values)
        found.append(entry)

    def text(self) -> str:
        return tomlkit.dumps(self._document)

    def save(self) -> None:
        """Check and replace, keeping mode and owner. Raises `ConfigurationError` or `CannotSave`; the file is whole."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=".agent.toml.")
        except OSError as error:
            raise CannotSave(f"{self.path.parent} cannot be written: {error.strerror}. Use sudo.") from None
        part = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(self.text())
                file.flush()
                os.fsync(file.fileno())
                self._like_before(file.fileno())
            load(part)
            part.replace(self.path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def _like_before(self, descriptor: int) -> None:
        if self.path.exists():
            before = self.path.stat()
            os.fchmod(descriptor, before.st_mode & 0o777)
            if os.geteuid() == 0:
                os.fchown(descriptor, before.st_uid, before.st_gid)
        else:
            os.fchmod(descriptor, NEW_FILE_MODE)


def _fill(table: Any, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping):
            inline = tomlkit.inline_table()
            inline.update(value)
            table[key] = inline
        else:
            table[key] = value
