"""Packages built once a session, and fresh Debian systems to install them into.

A box is a minimal bookworm on a tmpfs, with namespaces of its own for processes, mounts and network: its ports meet
nobody's, nothing can be fetched from the network, and all it runs ends with it.
"""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "varde"
BOX_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
DEADLINE_S = 90.0


def need(*tools: str) -> None:
    """Skip where a tool is missing; scripts/setup installs them all."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


def run(command: Sequence[str | Path], **options: Any) -> str:
    """Standard output and error together; a failure shows both."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    assert done.returncode == 0, f"{shlex.join(map(str, command))[:300]}\n{done.stdout[-4000:]}"
    return done.stdout


def eventually(ready: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """The first true answer of `ready`."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if answer := ready():
            return answer
        time.sleep(0.2)
    pytest.fail(f"not within {deadline_s:.0f} s: {what}")


# Packages ---------------------------------------------------------------------------------------------------------


@dataclass
class Builds:
    """Every package the tests need, two at a time, in the order in which they are needed."""

    futures: dict[str, Future[Path]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Path:
        return self.futures[name].result()


def build(checkout: Path, output: Path, work: Path, *options: str, **environment: str) -> Path:
    command = [checkout / "scripts/build-deb", "--output", output, "--work", work, *options]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, cwd=work.parent)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builds]:
    """Two lines of work: the packages that share their libraries, and one from nothing to compare with."""
    need("dpkg-deb")
    folder = tmp_path_factory.mktemp("packages")
    # From a copy, so that an edit made meanwhile is in all of them or in none.
    tree = folder / "checkout"
    for part in ("agent", "debian", "etc", "scripts"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / ".venv").symlink_to(ROOT / ".venv")
    shared = folder / "work"
    started = Builds()
    with ThreadPoolExecutor(1) as line, ThreadPoolExecutor(1) as other_line:
        started.futures["amd64"] = line.submit(build, tree, folder, shared)
        started.futures["arm64"] = line.submit(build, tree, folder, shared, "--arch=arm64", "--compression=none")
        started.futures["trixie"] = line.submit(build, tree, folder, shared, "--suite=trixie", "--compression=none")
        odd = {"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7", "LC_ALL": "C", "COLUMNS": "200"}
        started.futures["again"] = other_line.submit(build, tree, folder / "again", folder / "other-work", **odd)
        yield started
        for pool in (line, other_line):
            pool.shutdown(wait=False, cancel_futures=True)


@pytest.fixture(scope="session")
def package(builds: Builds) -> Path:
    return builds["amd64"]


@pytest.fixture(scope="session")
def unpacked(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's tree, its control files under DEBIAN/."""
    return unpack(package, tmp_path_factory.mktemp("unpacked") / "tree")


def unpack(package: Path, folder: Path) -> Path:
    run(["dpkg-deb", "--raw-extract", package, folder])
    return folder


@pytest.fixture(scope="session")
def newer(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same package as version 999, with another agent.toml: what an upgrade brings."""
    tree = unpack(package, tmp_path_factory.mktemp("newer") / "tree")
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*", "Version: 999", control.read_text("utf-8"), flags=re.MULTILINE), "utf-8")
    version = tree / "usr/lib/varde-agent/agent/__init__.py"
    version.write_text(re.sub(r'__version__ = ".*"', '__version__ = "999"', version.read_text("utf-8")), "utf-8")
    toml = tree / "etc/varde/agent.toml"
    toml.write_text("## Newer.\n" + toml.read_text("utf-8"), "utf-8")
    file = tree.parent / "varde-agent_999_amd64.deb"
    run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, file])
    return file


# Boxes ------------------------------------------------------------------------------------------------------------


def base_system(*more: str) -> Path:
    """A tarball of minimal bookworm whose apt has everything the package depends on at hand; made when missing.

    `more` are packages installed in it.
    """
    control = (ROOT / "debian/control.in").read_text("utf-8")
    depends = re.search(r"^Depends: (.*)$", control, re.MULTILINE)
    assert depends
    names = sorted({re.split(r"[ (]", part.strip())[0] for part in depends[1].split(",")})
    key = hashlib.sha256(" ".join([*names, *more]).encode()).hexdigest()[:12]
    tarball = CACHE / f"bookworm-{key}.tar"
    if not tarball.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = CACHE / f".{tarball.name}.{os.getpid()}.tar"
        fetch = f'chroot "$1" apt-get install -y -o APT::Install-Recommends=true --download-only {" ".join(names)}'
        options = ["--quiet", "--variant=minbase", "--skip=cleanup/apt", f"--customize-hook={fetch}"]
        run(["mmdebstrap", *options, f"--include={','.join(more)}", "bookworm", fresh])
        fresh.rename(tarball)
    return tarball


def lay(root: Path, tarball: Path) -> None:
    """The system of `tarball` in memory, mounted at `root`."""
    run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", root])
    run(["tar", "--numeric-owner", "--extract", "--file", tarball, "--directory", root])
    # It lives for a minute: dpkg need not wait for the disk after each file.
    (root / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")


def child_of(process: "subprocess.Popen[str]") -> str:
    """The process that `process` has started in other namespaces."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    found: list[str] = eventually(lambda: children.read_text().split(), f"a child of {process.args}")
    return found[0]


# Runs in the new namespaces: loopback up, /proc of these processes, then there until the tests end.
_HOLD = """
import fcntl, socket, struct, subprocess, sys
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: UP, RUNNING
subprocess.run(["mount", "-t", "proc", "proc", sys.argv[1] + "/proc"], check=True)
print("ready", flush=True)
sys.stdin.read()
"""


class Box:
    """A running minimal system. Commands run as root unless a user is named."""

    def __init__(self, root: Path, leader: str, enter: Sequence[str]) -> None:
        """`enter` leads from this machine into the namespaces of the process `leader`."""
        self.root = root
        self._leader = leader
        self._enter = enter

    def command(self, *command: str, user: str | None = None, env: dict[str, str] | None = None) -> list[str]:
        variables = [f"{name}={value}" for name, value in (BOX_ENVIRONMENT | (env or {})).items()]
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--no-new-privs"] if user else []
        return [*self._enter, "env", "-i", *variables, *become, *command]

    def run(self, *command: str, user: str | None = None, **options: Any) -> str:
        return run(self.command(*command, user=user), **options)

    def start(self, log: str, *command: str, user: str = "varde", env: dict[str, str] | None = None) -> "Process":
        """Run in the background, its output to the file `log` of the box."""
        output = (self.root / log.lstrip("/")).open("w")
        with output:
            return Process(
                subprocess.Popen(
                    self.command(*command, user=user, env=env), stdout=output, stderr=subprocess.STDOUT, text=True
                ),
                self.root / log.lstrip("/"),
            )

    def outside(self, *command: str) -> list[str]:
        """A command of this machine that sees the box's network."""
        return ["nsenter", "--target", self._leader, "--net", *command]

    def apt(self, *arguments: str) -> str:
        options = ["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"]
        command = self.command("apt-get", "--yes", *options, *arguments, env={"DEBIAN_FRONTEND": "noninteractive"})
        return run(command, stdin=subprocess.DEVNULL)

    def install(self, package: Path) -> str:
        # Not /tmp: systemd mounts another one over it.
        shutil.copy(package, self.root / "mnt" / package.name)
        return self.apt("install", f"/mnt/{package.name}")

    def eventually(self, ready: Callable[[], Any], what: str) -> Any:
        return eventually(ready, what)

    def file(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def modes(self, *paths: str) -> dict[str, str]:
        """path → "0750 root:varde"."""
        lines = self.run("stat", "--format=%n 0%a %U:%G", *paths).splitlines()
        return {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in lines}

    def http(self, method: str, url: str, body: Any = None, token: str | None = None) -> "Answer":
        """A request from inside. A server that is not there is status 0."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = json.dumps({"method": method, "url": url, "body": body, "headers": headers})
        return Answer(**json.loads(run(self.outside(sys.executable, "-c", _REQUEST), input=request)))


@dataclass(frozen=True)
class Answer:
    status: int
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


_REQUEST = """
import json, sys, urllib.error, urllib.request
asked = json.load(sys.stdin)
data = None if asked["body"] is None else json.dumps(asked["body"]).encode()
headers = {"Content-Type": "application/json", **asked["headers"]}
request = urllib.request.Request(asked["url"], data, headers, method=asked["method"])
try:
    with urllib.request.urlopen(request, timeout=20) as response:
        status, body = response.status, response.read()
except urllib.error.HTTPError as error:
    status, body = error.code, error.read()
except OSError as error:
    status, body = 0, str(error).encode()
json.dump({"status": status, "body": body.decode()}, sys.stdout)
"""


@dataclass
class Process:
    """A process of a box."""

    popen: "subprocess.Popen[str]"
    log: Path

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        # nsenter waits for the command it has started in the other process namespace: that one is meant.
        os.kill(int(child_of(self.popen)), 15)
        return self.popen.wait(DEADLINE_S)

    def said(self, words: str) -> bool:
        return words in self.log.read_text("utf-8", "replace")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a box is laid; unmounted at the end."""
    if os.geteuid() != 0:
        pytest.skip("a fresh system to install into needs root")
    need("mmdebstrap", "nsenter")
    root = tmp_path_factory.mktemp("box")
    yield root
    run(["umount", "--lazy", root])


@pytest.fixture(scope="module")
def box(place: Path) -> Iterator[Box]:
    """A minimal system without an init."""
    lay(place, base_system())
    spaces = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child"]
    holder = subprocess.Popen(
        [*spaces, sys.executable, "-c", _HOLD, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "ready\n"
    leader = child_of(holder)
    yield Box(place, leader, ["nsenter", "--target", leader, "--mount", "--pid", "--net", "chroot", str(place)])
    holder.communicate()


@pytest.fixture(scope="module")
def booted(place: Path) -> Iterator[Box]:
    """A minimal system that systemd has booted."""
    need("systemd-nspawn")
    lay(place, base_system("systemd", "systemd-sysv", "dbus"))
    options = ["--quiet", "--boot", "--register=no", "--keep-unit", "--private-network", "--console=pipe"]
    nspawn = subprocess.Popen(
        ["systemd-nspawn", *options, f"--directory={place}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    leader = child_of(nspawn)
    system = Box(place, leader, ["nsenter", "--target", leader, "--mount", "--uts", "--ipc", "--net", "--pid"])

    def up() -> bool:
        command = system.command("systemctl", "is-system-running")
        return subprocess.run(command, capture_output=True, text=True).stdout.strip() in ("running", "degraded")

    eventually(up, "a booted system")
    yield system
    subprocess.run(system.command("systemctl", "poweroff"), capture_output=True)
    nspawn.wait(DEADLINE_S)


# Steps ------------------------------------------------------------------------------------------------------------

_failed_files: set[str] = set()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.failed:  # type: ignore[attr-defined]
        _failed_files.add(str(item.path))
    return report


@pytest.fixture
def in_order(request: pytest.FixtureRequest) -> None:
    """For files whose tests are the steps of one story: after a failure the rest means nothing."""
    if str(request.node.path) in _failed_files:
        pytest.skip("an earlier step has failed")
