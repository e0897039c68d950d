"""SMB 2 through pysmb: dialect 2.0.2, signed.

pysmb speaks no later dialect, so a server that demands SMB 3 or encryption refuses it: then `dialect = "smb3"`. It
signs what it sends and does not verify what it receives.
"""

import re
import socket

from smb.base import NotConnectedError, NotReadyError, SMBTimeout
from smb.smb_structs import OperationFailure, ProtocolError
from smb.SMBConnection import SMBConnection

from agent.faults import Fault, FaultClass
from agent.patriot.share import ntstatus
from agent.patriot.share.base import BlockingShare, FileInfo, Gone, NameTaken, Progress, Watched
from agent.settings.models import Share as ShareSettings

NETBIOS_PORT = 139
MORE_TO_COME = {0, 0x103, 0xC0000016}  # success, pending, and the middle of a log-in


class Smb2Share(BlockingShare):
    def __init__(self, settings: ShareSettings) -> None:
        super().__init__(f"//{settings.server}/{settings.share}", settings.timeout_s)
        self._settings = settings
        self._service = settings.share or ""
        self._connection: SMBConnection | None = None

    def _connected(self, progress: Progress) -> SMBConnection:
        if self._connection is not None:
            return self._connection
        settings = self._settings
        connection = SMBConnection(
            settings.username,
            settings.password.get_secret_value(),
            "VARDE",
            settings.server_name or settings.server,
            domain=settings.domain,
            use_ntlm_v2=True,
            sign_options=SMBConnection.SIGN_WHEN_SUPPORTED,
            is_direct_tcp=settings.port != NETBIOS_PORT,
        )
        self._connection = connection
        try:
            let_in = connection.connect(settings.server, settings.port, timeout=self._timeout_s)
        except ProtocolError as error:
            raise self._refused_dialect(error) from None
        if not let_in:
            raise ntstatus.meaning(0xC000006D, self.place)
        progress.moved()
        return connection

    def _refused_dialect(self, error: ProtocolError) -> Fault:
        status = re.search(r"0x([0-9A-Fa-f]{8})", error.message)
        if status and int(status[1], 16) != ntstatus.ACCESS_DENIED:
            return ntstatus.meaning(int(status[1], 16), self.place)
        return Fault(
            FaultClass.PROTOCOL,
            f"{self.place} does not accept SMB 2.0.2 without encryption.",
            hint='In [share] set dialect = "smb3".',
        )

    def _stat(self, name: str, progress: Progress) -> FileInfo | None:
        try:
            found = self._connected(progress).getAttributes(self._service, name, timeout=self._timeout_s)
        except OperationFailure as error:
            if _status(error) in ntstatus.NOT_FOUND:
                return None
            raise
        return FileInfo(found.file_size, found.last_write_time)

    def _fetch(self, name: str, into: Watched, progress: Progress) -> bool:
        try:
            self._connected(progress).retrieveFile(self._service, name, into, timeout=self._timeout_s)
        except OperationFailure as error:
            if _status(error) in ntstatus.NOT_FOUND:
                return False
            raise
        return True

    def _write_new(self, name: str, source: Watched, progress: Progress) -> None:
        # pysmb has no exclusive creation; the names written here are random, so looking first is enough.
        if self._stat(name, progress) is not None:
            raise NameTaken(name)
        self._connected(progress).storeFile(self._service, name, source, timeout=self._timeout_s)

    def _rename(self, old: str, new: str, progress: Progress) -> None:
        try:
            self._connected(progress).rename(self._service, old, new, timeout=self._timeout_s)
        except OperationFailure as error:
            if _status(error) == ntstatus.COLLISION:
                raise NameTaken(new) from None
            if _status(error) == ntstatus.NO_SUCH_FILE:
                raise Gone(old) from None
            raise

    def _delete(self, name: str, progress: Progress) -> None:
        self._connected(progress).deleteFiles(self._service, name, timeout=self._timeout_s)

    def _fault(self, error: BaseException) -> BaseException:
        """The text of an `OperationFailure` holds whole packets, file contents included: only its status is used."""
        if isinstance(error, OperationFailure):
            fault = ntstatus.meaning(_status(error), self.place)
            if _status(error) == ntstatus.ACCESS_DENIED:
                fault.hint += ' If the share demands encryption: set dialect = "smb3".'
            return fault
        if isinstance(error, SMBTimeout | TimeoutError):
            return Fault(
                FaultClass.SLOW, f"{self.place} did not answer in time.", hint="Check the server and the line."
            )
        if isinstance(error, ConnectionRefusedError):
            return Fault(
                FaultClass.REFUSED,
                f"{self.place}: port {self._settings.port} is closed.",
                hint="Is file sharing on there? Check server and port in [share].",
            )
        if isinstance(error, NotConnectedError | NotReadyError | ConnectionError):
            return Fault(FaultClass.REFUSED, f"{self.place} closed the connection.", hint="It is tried again.")
        if isinstance(error, OSError):
            return Fault(
                FaultClass.UNREACHABLE,
                f"{self.place} cannot be reached: {error.strerror or error}.",
                hint="Check server in [share] and the network.",
            )
        if isinstance(error, ProtocolError):
            return Fault(
                FaultClass.PROTOCOL, f"{self.place} sent something that is not SMB 2.", hint="Look at the server."
            )
        return error

    def _sever(self) -> None:
        connection, self._connection = self._connection, None
        sock = connection.sock if connection is not None else None
        if sock is None:
            return
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it was never connected, or is shut already
        sock.close()


def _status(error: OperationFailure) -> int:
    """The NTSTATUS that made it fail: the last message is often the successful close after it."""
    statuses = [int(message.status) for message in error.smb_messages]
    return next((status for status in statuses if status not in MORE_TO_COME), 0xC0000001)
