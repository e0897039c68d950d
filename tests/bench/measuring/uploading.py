"""A large clients.xml to a real smbd, beside smbclient's put."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from agent.patriot.share import open_share
from agent.settings.models import Share as ShareSettings
from measuring.children import RowFailed, end_with_parent
from measuring.figure import Figure, Size, Table, in_turn, pick

PASSWORD = "S3cret-pw"
CONFIGURATION = """
[global]
  server role = standalone server
  workgroup = TEST
  netbios name = VARDEBENCH
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
  log level = 0
  passdb backend = tdbsam:{home}/private/passdb.tdb
  map to guest = never
  load printers = no
  printing = bsd
  printcap name = /dev/null
  disable spoolss = yes
  usershare max shares = 0
  server signing = mandatory
  rpc_server:default = disabled
  rpc start on demand helpers = no
[api_import]
  path = {home}/share
  read only = no
  valid users = {user}
  force user = {user}
"""


def upload(size: Size, directory: Path) -> list[Figure]:
    for tool in ("smbd", "smbclient", "pdbedit"):
        if shutil.which(tool) is None:
            raise RowFailed(f"{tool} is missing: apt-get install samba smbclient")
    megabytes = pick(size, 50, 50, 1)
    source = directory / "clients.xml"
    source.write_bytes(os.urandom(1_000_000) * megabytes)
    table = Table("upload")
    with _smbd(directory / "smbd") as port:
        found = in_turn(
            pick(size, 7, 3, 1),
            {
                "smb2": lambda: megabytes / trio.run(_ours, port, "smb2", source),
                "smb3": lambda: megabytes / trio.run(_ours, port, "smb3", source),
                "smbclient": lambda: megabytes / _smbclient(port, source),
            },
        )
    for dialect, sentence in (("smb2", 'dialect = "smb2" (pysmb)'), ("smb3", 'dialect = "smb3" (smbprotocol)')):
        name = f"{megabytes} MB, log-in included, {sentence}"
        table.ratio(name, found[dialect], "MB/s", found["smbclient"], "smbclient put", least=0.8)
    return table.figures


async def _ours(port: int, dialect: str, source: Path) -> float:
    """Seconds to connect, log in and upload."""
    share = open_share(
        ShareSettings.model_validate(
            {
                "kind": "smb", "server": "127.0.0.1", "server_name": "VARDEBENCH", "port": port, "share": "api_import",
                "username": getpass.getuser(), "password": PASSWORD, "domain": "TEST", "dialect": dialect,
                "timeout_s": 60,
            }
        )
    )  # fmt: skip
    begun = time.perf_counter()
    await share.write_new("ours.xml", source)
    took = time.perf_counter() - begun
    await share.delete("ours.xml")
    await share.close()
    return took


def _smbclient(port: int, source: Path) -> float:
    command = [
        "smbclient", "//127.0.0.1/api_import", "-p", str(port), "-U", f"TEST/{getpass.getuser()}%{PASSWORD}",
        "-c", f"put {source} theirs.xml",
    ]  # fmt: skip
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    took = time.perf_counter() - begun
    if done.returncode:
        raise RowFailed(f"smbclient: {done.stdout[-500:]}{done.stderr[-500:]}")
    return took


@contextmanager
def _smbd(home: Path) -> Iterator[int]:
    """The port of an smbd of our own."""
    for folder in ("private", "lock", "pid", "state", "cache", "ncalrpc", "share", "log"):
        (home / folder).mkdir(parents=True)
    (home / "private").chmod(0o700)
    port = _free_port()
    configuration = home / "smb.conf"
    configuration.write_text(CONFIGURATION.format(home=home, port=port, user=getpass.getuser()))
    add = ["pdbedit", "-s", str(configuration), "-a", "-t", "-u", getpass.getuser()]
    subprocess.run(add, input=f"{PASSWORD}\n{PASSWORD}\n", text=True, check=True, capture_output=True)
    # An smbd that ends takes its whole process group along: it has one of its own, and ends with us whatever happens.
    command = ["smbd", "--foreground", "--no-process-group", f"--configfile={configuration}"]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=quiet, stderr=quiet, preexec_fn=end_with_parent, start_new_session=True)
    try:
        _wait_for(port)
        yield port
    finally:
        server.terminate()
        server.wait(10)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RowFailed("smbd did not start")
