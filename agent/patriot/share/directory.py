"""A folder as the share: a mounted share, a laboratory, a demonstration."""

import errno
import os
from pathlib import Path

from agent.faults import Fault, FaultClass
from agent.patriot.share.base import BlockingShare, FileInfo, Gone, NameTaken, Progress, Watched

NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
"""what a file system without hard links (FAT, some mounts) answers to link()"""


class DirectoryShare(BlockingShare):
    def __init__(self, path: Path, timeout_s: float = 10.0) -> None:
        super().__init__(f"folder {path}", timeout_s)
        self._path = path

    def _at(self, name: str) -> Path:
        if not self._path.is_dir():
            raise Fault(
                FaultClass.UNREACHABLE,
                f"There is no {self.place}.",
                hint="Create or mount it, and check path in [share].",
            )
        return self._path / name

    def _stat(self, name: str, progress: Progress) -> FileInfo | None:
        try:
            found = self._at(name).stat()
        except FileNotFoundError:
            return None
        return FileInfo(found.st_size, found.st_mtime)

    def _fetch(self, name: str, into: Watched, progress: Progress) -> bool:
        try:
            with self._at(name).open("rb") as file:
                _copy(Watched(file, progress), into)
        except FileNotFoundError:
            return False
        return True

    def _write_new(self, name: str, source: Watched, progress: Progress) -> None:
        try:
            descriptor = os.open(self._at(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        except FileExistsError:
            raise NameTaken(name) from None
        with os.fdopen(descriptor, "wb") as file:
            _copy(source, Watched(file, progress))
            file.flush()
            os.fsync(file.fileno())

    def _rename(self, old: str, new: str, progress: Progress) -> None:
        source, target = self._at(old), self._at(new)
        try:
            # link() is the one way to rename that never replaces: the new name appears at once, whole, or not at all.
            os.link(source, target)
        except FileExistsError:
            raise NameTaken(new) from None
        except FileNotFoundError:
            if not source.exists():
                raise Gone(old) from None
            raise
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            if target.exists():
                raise NameTaken(new) from None
            source.rename(target)
        else:
            source.unlink()
        _sync_folder(target.parent)

    def _delete(self, name: str, progress: Progress) -> None:
        self._at(name).unlink(missing_ok=True)

    def _fault(self, error: BaseException) -> BaseException:
        if not isinstance(error, OSError):
            return error
        reason = os.strerror(error.errno) if error.errno else str(error)
        hint = "Check the folder's owner and permissions."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "Free space there."
        return Fault(FaultClass.REJECTED, f"{self.place}: {reason}.", hint=hint)

    def _sever(self) -> None:
        pass  # nothing to shut: a call that hangs in the kernel is left behind


def _copy(source: Watched, target: Watched) -> None:
    while chunk := source.read():
        target.write(chunk)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
