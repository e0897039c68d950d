"""Which local user is at the other end of the control socket, for the audit trail."""

import pwd
import socket
import struct

import trio

UNKNOWN = "control socket"


def local_user() -> str:
    """The user name of the process that opened the connection this request came over; "control socket" if unknown.

    Fact: ASGI has no place for a Unix socket's peer and hypercorn passes none on. Decision: the connection's own task
    is an ancestor of the request's, and trio's listener keeps the stream in that task's frame; it is looked for there,
    and where a later trio keeps it elsewhere the trail says "control socket" as it would without this.
    """
    stream = _stream()
    if stream is None:
        return UNKNOWN
    try:
        credentials = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _, user_id, _ = struct.unpack("3i", credentials)
        return pwd.getpwuid(user_id).pw_name
    except (OSError, KeyError, struct.error):
        return UNKNOWN


def _stream() -> trio.SocketStream | None:
    task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
    while task is not None:
        frame = getattr(task.coro, "cr_frame", None)
        stream = frame.f_locals.get("stream") if frame is not None else None
        if isinstance(stream, trio.SocketStream) and stream.socket.family == socket.AF_UNIX:
            return stream
        task = task.parent_nursery.parent_task if task.parent_nursery else None
    return None
