"""SMB 3 through smbprotocol: encryption required, signatures verified.

smbprotocol waits without limit on a server that has stopped answering, so the watchdog of `base.py` is what ends such
a call. Its pool of connections is global; this share has its own.
"""

import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import smbclient
from smbprotocol.connection import Connection
from smbprotocol.exceptions import (
    SMBAuthenticationError,
    SMBConnectionClosed,
    SMBException,
    SMBOSError,
    SMBResponseException,
)
from spnego.exceptions import SpnegoError

from agent.faults import Fault, FaultClass
from agent.patriot.share import ntstatus
from agent.patriot.share.base import (
    CHUNK_BYTES,
    LARGEST_CHUNK_BYTES,
    BlockingShare,
    FileInfo,
    Gone,
    NameTaken,
    Progress,
    Watched,
)
from agent.settings.models import Share as ShareSettings

FAST_S = 0.1


class Smb3Share(BlockingShare):
    def __init__(self, settings: ShareSettings) -> None:
        super().__init__(f"//{settings.server}/{settings.share}", settings.timeout_s)
        self._settings = settings
        self._connection: Connection | None = None
        self._cache: dict[str, Connection] = {}

    def _connected(self, progress: Progress) -> dict[str, Any]:
        """Log in where that is to be done; the arguments by which smbclient finds the session."""
        settings = self._settings
        cache = self._cache
        user = f"{settings.domain}\\{settings.username}" if settings.domain else settings.username
        login: dict[str, Any] = {
            "username": user,
            "password": settings.password.get_secret_value(),
            "port": settings.port,
            "connection_cache": cache,
            "auth_protocol": "ntlm",
            "encrypt": True,
        }
        if self._connection is None:
            # Made here and not by smbclient, so that the watchdog has it while it still connects.
            connection = Connection(uuid.uuid4(), settings.server, settings.port, require_signing=True)
            self._connection = connection
            connection.connect(timeout=self._timeout_s)
            cache[f"{str(settings.server).lower()}:{settings.port}"] = connection
            smbclient.register_session(settings.server, **login)
            progress.moved()
        return login

    def _at(self, name: str) -> str:
        return rf"\\{self._settings.server}\{self._settings.share}" + "\\" + name.replace("/", "\\")

    def _stat(self, name: str, progress: Progress) -> FileInfo | None:
        login = self._connected(progress)
        try:
            found = smbclient.stat(self._at(name), **login)
        except SMBOSError as error:
            if error.ntstatus in ntstatus.NOT_FOUND:
                return None
            raise
        return FileInfo(found.st_size, found.st_mtime_ns / 1e9)

    def _fetch(self, name: str, into: Watched, progress: Progress) -> bool:
        login = self._connected(progress)
        try:
            with _open(self._at(name), "rb", share_access="rwd", **login) as file:
                while chunk := file.read(CHUNK_BYTES):
                    into.write(chunk)
        except SMBOSError as error:
            if error.ntstatus in ntstatus.NOT_FOUND:
                return False
            raise
        return True

    def _write_new(self, name: str, source: Watched, progress: Progress) -> None:
        login = self._connected(progress)
        try:
            with _open(self._at(name), "xb", **login) as file:
                size = CHUNK_BYTES
                while chunk := source.read(size):
                    begun = time.monotonic()
                    while chunk:
                        chunk = chunk[file.write(chunk) :]
                        progress.moved()
                    # Each message costs the library half a millisecond, whatever it holds: larger ones on a fast line.
                    size = min(2 * size, LARGEST_CHUNK_BYTES) if time.monotonic() - begun < FAST_S else CHUNK_BYTES
        except SMBOSError as error:
            if error.ntstatus == ntstatus.COLLISION:
                raise NameTaken(name) from None
            raise

    def _rename(self, old: str, new: str, progress: Progress) -> None:
        login = self._connected(progress)
        try:
            smbclient.rename(self._at(old), self._at(new), **login)
        except SMBOSError as error:
            if error.ntstatus == ntstatus.COLLISION:
                raise NameTaken(new) from None
            if error.ntstatus == ntstatus.NO_SUCH_FILE:
                raise Gone(old) from None
            raise

    def _delete(self, name: str, progress: Progress) -> None:
        login = self._connected(progress)
        try:
            smbclient.remove(self._at(name), **login)
        except SMBOSError as error:
            if error.ntstatus not in ntstatus.NOT_FOUND:
                raise

    def _fault(self, error: BaseException) -> BaseException:
        if isinstance(error, SMBOSError):
            return ntstatus.meaning(error.ntstatus, self.place)
        if isinstance(error, SMBResponseException):
            return ntstatus.meaning(int(error.status), self.place)
        if isinstance(error, SMBAuthenticationError | SpnegoError):
            return ntstatus.meaning(0xC000006D, self.place)
        for known, judge in _JUDGES:
            if isinstance(error, known):
                return judge(self, error)
        return error

    def _unconnected(self, error: BaseException) -> Fault:
        cause = error.__cause__
        if isinstance(cause, ConnectionRefusedError):
            return Fault(
                FaultClass.REFUSED,
                f"{self.place}: port {self._settings.port} is closed.",
                hint="Is file sharing on there? Check server and port in [share].",
            )
        reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else "no connection"
        return Fault(
            FaultClass.UNREACHABLE,
            f"{self.place} cannot be reached: {reason}.",
            hint="Check server in [share] and the network.",
        )

    def _closed(self, error: BaseException) -> Fault:
        return Fault(FaultClass.REFUSED, f"{self.place} closed the connection.", hint="It is tried again.")

    def _refused(self, error: BaseException) -> Fault:
        """smbprotocol has one class for the rest; the words tell a server without SMB 3 from one that is silent."""
        words = str(error).lower()
        if "timeout" in words or "timed out" in words:
            return Fault(
                FaultClass.SLOW, f"{self.place} did not answer in time.", hint="Check the server and the line."
            )
        return Fault(
            FaultClass.PROTOCOL,
            f"{self.place} does not offer SMB 3 with encryption.",
            hint='Turn it on there; for a server that cannot, set dialect = "smb2" in [share].',
        )

    def _sever(self) -> None:
        connection, self._connection = self._connection, None
        self._cache = {}
        sock = connection.transport._sock if connection is not None and connection.transport is not None else None
        if sock is None:
            return
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it was never connected, or is shut already
        # Not closed here: smbprotocol's receiving thread still selects on it, and closes it when it sees the end.


_JUDGES: list[tuple[type[BaseException], Callable[[Smb3Share, BaseException], Fault]]] = [
    (SMBConnectionClosed, Smb3Share._closed),
    (SMBException, Smb3Share._refused),
    (ConnectionError, Smb3Share._closed),
    (ValueError, Smb3Share._unconnected),
    (OSError, Smb3Share._closed),
]


@contextmanager
def _open(path: str, mode: str, **options: Any) -> Iterator[Any]:
    """A raw file. smbclient takes the file of a dead connection for open and warns of it for ever; it is not."""
    file = smbclient.open_file(path, mode=mode, buffering=0, **options)
    try:
        yield file
        file.close()
    finally:
        if not file.closed:
            try:
                file.close()
            except Exception:
                file.fd._connected = False
