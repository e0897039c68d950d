"""What a disk may hold after a power cut, from a recording of `fuse.c`.

The model is a journalling file system at its least obliging: what was written to a file since its last fsync is there
or not, write by write, torn at sectors, in any order; what happened to names (created, renamed, removed) since the
folder's last fsync is there up to some point, in order; an fsync of a file makes its own name durable too, and what
happened to names before.
"""

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512


@dataclass(frozen=True, slots=True)
class Step:
    """One recorded call: w write, s fsync, r rename to `other`, u unlink, t truncate to `at`."""

    what: str
    path: str
    other: str
    at: int
    data: bytes


def read(recording: Path) -> list[Step]:
    return list(_steps(recording.read_bytes()))


def _steps(raw: bytes) -> Iterator[Step]:
    head = struct.Struct("<cHHqI")
    place = 0
    while place + head.size <= len(raw):
        what, first, second, at, size = head.unpack_from(raw, place)
        place += head.size
        path, other = raw[place : place + first], raw[place + first : place + first + second]
        place += first + second
        yield Step(what.decode(), path.decode(), other.decode(), at, raw[place : place + size])
        place += size


@dataclass
class _File:
    durable: bytes = b""
    pending: list[Step] = field(default_factory=list)

    def crashed(self, chance: random.Random) -> bytes:
        content = bytearray(self.durable)
        for step in self.pending:
            if chance.random() < 0.5:
                apply(content, _torn(step, chance))
        return bytes(content)

    def sync(self) -> None:
        content = bytearray(self.durable)
        for step in self.pending:
            apply(content, step)
        self.durable, self.pending = bytes(content), []


def apply(content: bytearray, step: Step) -> None:
    if step.what == "t":
        del content[step.at :]
        content.extend(bytes(step.at - len(content)))
    else:
        content.extend(bytes(max(0, step.at - len(content))))
        content[step.at : step.at + len(step.data)] = step.data


def _torn(step: Step, chance: random.Random) -> Step:
    if step.what != "w" or len(step.data) <= SECTOR or chance.random() < 0.5:
        return step
    kept = chance.randrange(0, len(step.data), SECTOR)
    return Step("w", step.path, "", step.at, step.data[:kept])


_Change = tuple[str, str, _File | None]
"""(folder, path, what the path names from then on)"""


class Disk:
    """The files under `home` as the recording leaves them, step by step."""

    def __init__(self, home: Path) -> None:
        self._home = str(home)
        self._names: dict[str, _File] = {}  # as the process sees them
        self._durable: dict[str, _File] = {}
        self._changes: list[_Change] = []

    def take(self, step: Step) -> None:
        if step.what == "r":
            file = self._names.pop(step.path, None) or _File()
            self._names[step.other] = file
            self._changes += [(_folder(step.other), step.other, file), (_folder(step.path), step.path, None)]
        elif step.what == "u":
            self._names.pop(step.path, None)
            self._changes.append((_folder(step.path), step.path, None))
        elif step.what == "s" and self._is_folder(step.path):
            self._settle(lambda change: change[0] == step.path)
        else:
            self._touch(step)

    def _touch(self, step: Step) -> None:
        file = self._names.get(step.path)
        if file is None:
            file = self._names[step.path] = _File()
            self._changes.append((_folder(step.path), step.path, file))
        if step.what == "s":
            file.sync()
            self._settle(lambda change: change[2] is file)
        else:
            file.pending.append(step)

    def _is_folder(self, path: str) -> bool:
        return path == self._home or any(name.startswith(path + "/") for name in [*self._names, *self._durable])

    def _settle(self, is_meant: Callable[[_Change], bool]) -> None:
        """The changes that are meant are durable, and with them what was before: a journal keeps its order."""
        last = max((place for place, change in enumerate(self._changes) if is_meant(change)), default=-1)
        for change in self._changes[: last + 1]:
            self._name(self._durable, change)
        del self._changes[: last + 1]

    @staticmethod
    def _name(names: dict[str, _File], change: _Change) -> None:
        _, path, file = change
        if file is None:
            names.pop(path, None)
        else:
            names[path] = file

    def crash(self, into: Path, chance: random.Random) -> None:
        """Write one of the states that a power cut now may leave."""
        names = dict(self._durable)
        for change in self._changes[: chance.randint(0, len(self._changes))]:
            self._name(names, change)
        contents: dict[int, bytes] = {}
        for path, file in names.items():
            target = into / Path(path).relative_to(self._home)
            target.parent.mkdir(parents=True, exist_ok=True)
            if id(file) not in contents:
                contents[id(file)] = file.crashed(chance)
            target.write_bytes(contents[id(file)])


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
