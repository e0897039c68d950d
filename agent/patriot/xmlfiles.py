"""The files `<clients_dir>/<key_name>/<client_id>.xml`: written whole or not at all. Blocking; call from a thread."""

import hashlib
import os
from pathlib import Path

FILE_MODE = 0o640
FOLDER_MODE = 0o750


def path_of(clients_dir: Path, key_name: str, client_id: int) -> Path:
    return clients_dir / key_name / f"{client_id}.xml"


def make_folder(folder: Path) -> None:
    """`folder` and what lacks above it, each 0750 whatever the umask says."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    folder.chmod(FOLDER_MODE)


def write(path: Path, data: bytes) -> None:
    """Put `data` at `path` atomically. The temporary name does not end in .xml, so no batch ever takes it."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        _write_through(temporary, data)
        temporary.replace(path)
    except FileNotFoundError:
        make_folder(path.parent)
        _write_through(temporary, data)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def remove(path: Path) -> None:
    """Remove `path` for good: the folder is flushed too, or a power cut would bring the file back."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def sha256_of(path: Path) -> str | None:
    """The digest of the file's bytes, None where there is no file that can be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def remove_temporaries(clients_dir: Path) -> None:
    """Remove what a killed process left half written. Only while nobody writes."""
    for temporary in clients_dir.glob("*/.*.xml.tmp"):
        temporary.unlink(missing_ok=True)


def _write_through(path: Path, data: bytes) -> None:
    # O_NOFOLLOW: a link planted in the folder must not lead the agent's writes elsewhere.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, FILE_MODE)
        file.write(data)
        file.flush()
        os.fsync(descriptor)
