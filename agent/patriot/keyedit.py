"""keys.json edited by command: whole or not at all, with the mode and owner it had, and never into a refused entry.

Two commands at once wait for each other. A key made here is stored as its digest only.
"""

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.patriot.keyfile import BrokenKeyFile, parse, read_entries

NEW_FILE_MODE = 0o640

Entries = list[Any]


class CannotEdit(Exception):
    """Why the file stays as it was."""


def entries(path: Path) -> Entries:
    """What stands in the file; nothing where there is none."""
    try:
        return read_entries(path.read_bytes())
    except FileNotFoundError:
        return []
    except BrokenKeyFile as error:
        raise CannotEdit(f"{path} {error}. Mend it first.") from None
    except OSError as error:
        raise CannotEdit(f"{path} cannot be read: {error.strerror}") from None


def add(path: Path, name: str, port: str, options: dict[str, Any]) -> str:
    """A new entry; the key, which is shown once. `options`: valid_to, installer, xml."""

    def change(found: Entries) -> str:
        if any(_named(entry, name) for entry in found):
            raise CannotEdit(f"there is a key {name!r} already; varde keys rotate gives it a new secret")
        key = secrets.token_urlsafe(32)
        found.append({"key_name": name, "key_sha256": _digest(key), "enabled": True, "port": port, **options})
        return key

    return _edit(path, name, change)


def take_over(path: Path, others: Entries) -> list[str]:
    """Add the entries of another key file whose names are not taken; the names that were added."""
    added: list[str] = []

    def change(found: Entries) -> str:
        for entry in others:
            name = entry.get("key_name") if isinstance(entry, dict) else None
            if isinstance(name, str) and not any(_named(known, name) for known in found):
                found.append(entry)
                added.append(name)
        return ""

    _edit(path, "", change)
    return added


def rotate(path: Path, name: str) -> str:
    """A new secret in place of the old one, which ends at once; shown once."""

    def change(found: Entries) -> str:
        key = secrets.token_urlsafe(32)
        entry = _entry(found, name)
        entry.pop("key", None)
        entry["key_sha256"] = _digest(key)
        return key

    return _edit(path, name, change)


def disable(path: Path, name: str) -> None:
    def change(found: Entries) -> str:
        _entry(found, name)["enabled"] = False
        return ""

    _edit(path, name, change)


def _edit(path: Path, name: str, change: Callable[[Entries], str]) -> str:
    path = path.resolve()
    try:
        with _alone(path.parent):
            found = entries(path)
            refused_before = _refused(found)
            result = change(found)
            new = _refused(found) - refused_before
            if new:
                raise CannotEdit(" ".join(sorted(new)))
            _replace(path, json.dumps(found, ensure_ascii=False, indent=2).encode() + b"\n")
    except OSError as error:
        raise CannotEdit(f"{path} cannot be written: {error.strerror}") from None
    return result


def _refused(found: Entries) -> set[str]:
    return set(parse(json.dumps(found).encode()).refused)


def _entry(found: Entries, name: str) -> dict[str, Any]:
    for entry in found:
        if _named(entry, name):
            assert isinstance(entry, dict)
            return entry
    known = ", ".join(repr(entry["key_name"]) for entry in found if isinstance(entry, dict) and "key_name" in entry)
    raise CannotEdit(f"there is no key {name!r}; there are: {known or 'none'}")


def _named(entry: Any, name: str) -> bool:
    return isinstance(entry, dict) and entry.get("key_name") == name


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The folder is locked, not the file: the file is replaced."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _like(path, descriptor)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _like(path: Path, descriptor: int) -> None:
    """Owner first: giving a file away clears nothing then that was just set."""
    try:
        old = path.stat()
    except FileNotFoundError:
        # A new file belongs to the folder's group, so that the daemon may read what root makes.
        folder = path.parent.stat()
        if os.geteuid() == 0:
            os.fchown(descriptor, -1, folder.st_gid)
        os.fchmod(descriptor, NEW_FILE_MODE)
        return
    if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, old.st_mode & 0o7777)
