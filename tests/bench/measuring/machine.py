"""What the figures were measured on."""

import os
import platform
import shutil
import socket
import sqlite3
import statistics
import subprocess
import threading
import time
from pathlib import Path
from typing import Any


def describe(directory: Path) -> dict[str, Any]:
    """`directory` is where the databases of the run lie. `load` is what else the machine was doing."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "smbd": _first_line("smbd", "--version"),
        "filesystem": _filesystem(directory),
        "flush_ms": round(_flush_ms(directory), 3),
        "loopback_us": round(_loopback_us(), 1),
        "python_loop_ms": round(_loop_ms(), 1),
        "load": round(os.getloadavg()[0], 1),
    }


def sentence(machine: dict[str, Any]) -> str:
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}, "
        f"Python {machine['python']}, SQLite {machine['sqlite']}, {machine['filesystem']} with a flush in "
        f"{machine['flush_ms']} ms, loopback round trip {machine['loopback_us']} µs, 10⁶ turns of an empty loop "
        f"{machine['python_loop_ms']} ms, load {machine['load']} at the start"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _first_line(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return "absent"
    return subprocess.run(command, capture_output=True, text=True).stdout.splitlines()[0]


def _filesystem(directory: Path) -> str:
    found = subprocess.run(["stat", "-f", "-c", "%T", directory], capture_output=True, text=True)
    return found.stdout.strip() or "unknown file system"


def _flush_ms(directory: Path) -> float:
    """4 KiB appended and flushed: what every durable answer costs at the least."""
    path = directory / "flush"
    times = []
    with path.open("wb") as file:
        for _ in range(40):
            begun = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begun)
    path.unlink()
    return statistics.median(times) * 1000


def _loopback_us() -> float:
    here, there = socket.socketpair()

    def echo() -> None:
        while data := there.recv(64):
            there.sendall(data)

    thread = threading.Thread(target=echo)
    thread.start()
    times = []
    for _ in range(500):
        begun = time.perf_counter()
        here.sendall(b"x")
        here.recv(64)
        times.append(time.perf_counter() - begun)
    here.close()
    thread.join()
    there.close()
    return statistics.median(times) * 1e6


def _loop_ms() -> float:
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(1_000_000):
            pass
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000
