"""A real smbd, started and troubled by the tests, as root or as an ordinary user."""

import contextlib
import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from agent.metrics import Metrics
from agent.patriot.combine import Batch, Batches
from agent.patriot.keys import Keys
from agent.patriot.registry import Registry
from agent.patriot.share import Share, open_share
from agent.settings import Settings
from agent.settings.models import Combine, Paths
from agent.settings.models import Share as ShareSettings
from agent.store import Store

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


RESULTS = "clients_Import_Results.txt"
KEY_FILE = [{"key_name": "Alarm24", "key": "secret-alarm24", "enabled": True, "port": "BASE11"}]


@dataclass
class Box:
    """An agent without a process: store, registry and batches, against a folder as the share."""

    home: Path
    folder: Path
    combine: Combine = field(default_factory=Combine)
    clock: datetime = datetime(2025, 1, 1, 11, 0, tzinfo=UTC)
    share_settings: ShareSettings | None = None

    def __post_init__(self) -> None:
        self.share_settings = self.share_settings or ShareSettings(kind="directory", path=self.folder, timeout_s=20)
        self.settings = Settings(paths=Paths(state_dir=self.home), share=self.share_settings, combine=self.combine)
        self.home.mkdir(exist_ok=True)
        (self.home / "keys.json").write_text(json.dumps(KEY_FILE))
        self.store = Store.open(self.settings.paths.database)
        self.keys = Keys(self.home / "keys.json")
        self.keys.reload()
        self.registry = Registry(self.store, self.settings.paths.clients, self.keys)
        self.metrics = Metrics()
        self.restart()

    def restart(self, share: Share | None = None, store: Any = None) -> None:
        """As a new process would find it."""
        assert self.share_settings is not None
        self.batches = Batches(
            store or self.store,
            self.settings,
            share or open_share(self.share_settings),
            self.metrics,
            now=lambda: self.clock,
        )

    async def put(self, client_id: int, name: str = "Ola") -> None:
        key = self.keys.by_name("Alarm24")
        assert key is not None
        await self.registry.put_client(key, client_id, {"Name": name})

    async def delete(self, client_id: int) -> None:
        key = self.keys.by_name("Alarm24")
        assert key is not None
        await self.registry.delete_client(key, client_id)

    async def run(self, *, after_s: float = 60) -> Batch:
        """One batch, a minute later, which succeeds."""
        self.clock += timedelta(seconds=after_s)
        batch = await self.batches.run_once("test")
        assert batch.outcome == "ok", batch
        return batch

    async def look(self) -> None:
        """Read the results, as happens between batches."""
        await self.batches._look()

    async def state(self, client_id: int) -> str:
        return (await self.row(client_id))["state"]

    async def row(self, client_id: int) -> dict[str, Any]:
        def work(connection: Any) -> dict[str, Any]:
            return dict(connection.execute("SELECT * FROM clients WHERE client_id = ?", (client_id,)).fetchone())

        return await self.store.read(work)

    def results(self, *lines: str, append: bool = False, encoding: str = "utf-8") -> None:
        """What Patriot writes. Its time on the share is later than whatever lies there, as it really is."""
        data = "".join(f"{line}\r\n" for line in lines).encode(encoding)
        with (self.folder / RESULTS).open("ab" if append else "wb") as file:
            file.write(data)
        newest = max(path.stat().st_mtime_ns for path in self.folder.iterdir())
        os.utime(self.folder / RESULTS, ns=(newest + 10**9, newest + 10**9))

    def success(self, *import_ids: str, append: bool = False) -> None:
        self.results(*(f"{import_id} Completed processing client" for import_id in import_ids), append=append)

    def lies_there(self) -> dict[str, str]:
        """Name by id of the `clients.xml` on the share."""
        return _names_in(self.folder / "clients.xml")

    def rotated(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("clients_2*.xml"))

    def waiting(self) -> list[str]:
        return sorted(path.name for path in self.settings.paths.clients.rglob("*.xml"))


def _names_in(path: Path) -> dict[str, str]:
    """Name by id; fails where the file is not whole."""
    root = etree.fromstring(path.read_bytes())
    assert root.tag == "Clients"
    ids = [row.findtext("__id") for row in root]
    assert len(set(ids)) == len(ids)
    return {row.findtext("__id"): row.findtext("Name") for row in root}


@pytest.fixture
def make_box(tmp_path: Path) -> Iterator[Callable[..., Box]]:
    folder = tmp_path / "share"
    folder.mkdir()
    made: list[Box] = []

    def make(
        name: str = "box", folder: Path = folder, share_settings: ShareSettings | None = None, **combine: Any
    ) -> Box:
        made.append(Box(tmp_path / name, folder, Combine(**combine), share_settings=share_settings))
        return made[-1]

    yield make
    for box in made:
        box.store.close()


@pytest.fixture
def box(make_box: Callable[..., Box]) -> Box:
    return make_box()


@pytest.fixture
def names_in() -> Callable[[Path], dict[str, str]]:
    return _names_in
