"""The daemon as a box starts it: memory when idle, time to ready, what a source costs; what the package weighs."""

import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import tomlkit
import trio

from agent.vendors import build_simulator
from measuring import device
from measuring.children import RowFailed, child, end_with_parent
from measuring.figure import Figure, Size, Table, pick
from measuring.site import davantis, document

VENDORS = ("davantis", "lockt", "sensaphone", "milestone")
ROOT = Path(__file__).resolve().parents[3]


def idle(size: Size, directory: Path) -> list[Figure]:
    table = Table("idle")
    with child(_simulators) as far, child(device.serve) as lean:
        four = [{**each, "account": "9998"} for each in far.ready]
        starts = []
        for turn in range(pick(size, 5, 3, 1)):
            with daemon(directory / f"four{turn}", four) as (pid, ready_s):
                starts.append(ready_s)
                if turn == 0:
                    time.sleep(pick(size, 15, 5, 0))
                    memory = _memory_mb(pid)
        one = [davantis("yard", lean.ready[0], poll_interval_s=0.25)]
        with daemon(directory / "one", one) as (pid, _):
            time.sleep(pick(size, 5, 2, 0))
            share = _processor_share(pid, pick(size, 30, 10, 0.2))
    table.value("memory, idle with four sources", memory, "MB", most=90)
    table.value("start to ready, four sources", statistics.median(starts), "s", most=1.5)
    table.value("processor, one source × 4 polls/s", share * 100, "% of a core", most=2)
    return table.figures


def _simulators(pipe: Connection) -> None:
    """For a child: the four vendors; sends their `[[sources]]` tables."""

    async def serve() -> None:
        simulators = [build_simulator(vendor) for vendor in VENDORS]
        async with trio.open_nursery() as nursery:
            for simulator in simulators:
                await nursery.start(simulator.serve)
            pipe.send([made.settings(vendor) for made, vendor in zip(simulators, VENDORS, strict=True)])

    trio.run(serve)


@contextmanager
def daemon(directory: Path, sources: Sequence[dict[str, Any]]) -> Iterator[tuple[int, float]]:
    """`varde run` as a command; its process id, and the seconds until it told systemd that it is ready."""
    directory.mkdir(exist_ok=True)
    config = directory / "agent.toml"
    config.write_text(tomlkit.dumps(document(directory, sources=sources)))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(directory / "notify"))
        manager.settimeout(60)
        environment = {**os.environ, "NOTIFY_SOCKET": str(directory / "notify")}
        command = [sys.executable, "-m", "agent", "run", "--config", str(config)]
        begun = time.monotonic()
        with subprocess.Popen(command, env=environment, cwd=ROOT, preexec_fn=end_with_parent) as process:
            try:
                while b"READY=1" not in manager.recv(4096):
                    if process.poll() is not None:
                        raise RowFailed(f"varde run ended with {process.returncode}")
                yield process.pid, time.monotonic() - begun
            finally:
                process.terminate()


def _memory_mb(pid: int) -> float:
    """Resident, shared libraries counted in full: what systemd would show is less."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024 / 1e6


def _processor_share(pid: int, lasting_s: float) -> float:
    before, begun = _processor_s(pid), time.monotonic()
    time.sleep(lasting_s)
    return (_processor_s(pid) - before) / (time.monotonic() - begun)


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def package(size: Size, directory: Path) -> list[Figure]:
    """Sizes of what `scripts/build-deb` has left in dist/; nothing where it has not run."""
    table = Table("package")
    for path in sorted((ROOT / "dist").glob("*.deb")):
        table.value(f"{path.name}", path.stat().st_size / 1e6, "MB")
        fields = subprocess.run(["dpkg-deb", "-f", path, "Installed-Size"], capture_output=True, text=True, check=True)
        table.value(f"{path.name}, installed", int(fields.stdout) * 1024 / 1e6, "MB")
    return table.figures
