"""Tell systemd how the process is. A few lines of our own: the libraries for it are unmaintained.

Source: sd_notify(3), sd_watchdog_enabled(3). Outside systemd (`NOTIFY_SOCKET` unset) nothing happens.
"""

import os
import socket


def notify(**fields: str) -> None:
    """Send `FIELD=value` lines, for instance `notify(STATUS="…", READY="1")`. Never raises, never blocks."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # "@" stands for the NUL byte of an abstract socket's name.
    address = "\0" + address[1:] if address.startswith("@") else address
    lines = "\n".join(f"{name}={' '.join(value.split())}" for name, value in fields.items())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        try:
            sender.sendto(lines.encode(), address)
        except OSError:
            pass  # a manager that is gone or busy must not stop the agent


def watchdog_s() -> float | None:
    """How often systemd wants to hear from this process at the least, None where it does not watch."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    meant = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / 1e6 if meant and microseconds.isdecimal() and int(microseconds) > 0 else None
