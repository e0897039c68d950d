"""What systemd hears, over a real datagram socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.notify import notify, watchdog_s


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield bound


def test_fields_are_lines(manager: socket.socket) -> None:
    notify(READY="1", STATUS="Everything works.")
    assert manager.recv(4096) == b"READY=1\nSTATUS=Everything works."


def test_a_status_cannot_carry_another_field(manager: socket.socket) -> None:
    notify(STATUS="a\nWATCHDOG=trigger")
    assert manager.recv(4096) == b"STATUS=a WATCHDOG=trigger"


def test_an_abstract_socket_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"varde-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        notify(READY="1")
        assert bound.recv(4096) == b"READY=1"


def test_a_manager_that_is_gone_or_full_stops_nothing(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5000):
        notify(STATUS="x" * 100)
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    notify(READY="1")


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [("30000000", None, 30.0), ("30000000", "1", None), ("", None, None), ("soon", None, None), ("0", None, None)],
)
def test_the_watchdogs_time(
    usec: str, pid: str | None, expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid or str(os.getpid()))
    assert watchdog_s() == expected
