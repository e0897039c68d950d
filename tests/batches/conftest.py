"""A real smbd, started and troubled by the tests, as root or as an ordinary user."""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.settings.models import Share as ShareSettings

PASSWORD = "S3cret-pw"

CONFIGURATION = """
[global]
  server role = standalone server
  workgroup = TEST
  netbios name = VARDETEST
  interfaces = lo
  bind interfaces only = yes
  smb ports = {port}
  disable netbios = yes
  private dir = {home}/private
  lock directory = {home}/lock
  pid directory = {home}/pid
  state directory = {home}/state
  cache directory = {home}/cache
  ncalrpc dir = {home}/ncalrpc
  log file = {home}/log/smbd.log
  log level = 1 auth:3
  passdb backend = tdbsam:{home}/private/passdb.tdb
  map to guest = never
  restrict anonymous = 2
  load printers = no
  printing = bsd
  printcap name = /dev/null
  disable spoolss = yes
  usershare max shares = 0
  security = user
  rpc_server:default = disabled
  rpc start on demand helpers = no
{extra}
[api_import]
  path = {home}/share
  read only = no
  valid users = {user}
  force user = {user}
[readonly]
  path = {home}/share
  read only = yes
"""


class Smbd:
    """One smbd with its own folder. `freeze`, `thaw`, `kill` reach every process of it."""

    def __init__(self, home: Path, *extra: str) -> None:
        self.home = home
        self.share = home / "share"
        self.port = _free_port()
        self.user = getpass.getuser()
        for folder in ("private", "lock", "pid", "state", "cache", "ncalrpc", "share", "log"):
            (home / folder).mkdir(parents=True)
        (home / "private").chmod(0o700)
        self.configuration = home / "smb.conf"
        lines = "\n".join(f"  {line}" for line in extra)
        self.configuration.write_text(CONFIGURATION.format(home=home, port=self.port, user=self.user, extra=lines))
        subprocess.run(
            ["pdbedit", "-s", self.configuration, "-a", "-t", "-u", self.user],
            input=f"{PASSWORD}\n{PASSWORD}\n",
            text=True,
            check=True,
            capture_output=True,
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["smbd", "--foreground", "--no-process-group", f"--configfile={self.configuration}"],
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5):
                return
            assert time.monotonic() < deadline, "smbd did not start"
            time.sleep(0.05)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(timeout=20)
            self._process = None

    def _signal(self, number: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def settings(self, **changes: object) -> ShareSettings:
        values: dict[str, object] = {
            "kind": "smb",
            "server": "127.0.0.1",
            "server_name": "VARDETEST",
            "port": self.port,
            "share": "api_import",
            "username": self.user,
            "password": PASSWORD,
            "domain": "TEST",
            "timeout_s": 20,
        }
        return ShareSettings.model_validate(values | changes)

    def logins(self) -> int:
        """How many log-ins smbd has judged."""
        text = "".join(log.read_text(errors="replace") for log in (self.home / "log").glob("smbd.log*"))
        return text.count("Checking password for unmapped user")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def make_smbd(tmp_path: Path) -> Iterator[Callable[..., Smbd]]:
    for tool in ("smbd", "pdbedit"):
        if shutil.which(tool) is None:
            pytest.fail(f"{tool} is missing: apt-get install samba smbclient")
    started: list[Smbd] = []

    def make(*extra: str) -> Smbd:
        started.append(Smbd(tmp_path / f"smbd{len(started)}", *extra))
        return started[-1]

    yield make
    for smbd in started:
        smbd.kill()


@pytest.fixture
def smbd(make_smbd: Callable[..., Smbd]) -> Smbd:
    return make_smbd("server signing = mandatory")
