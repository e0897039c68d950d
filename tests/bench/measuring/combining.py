"""Clients' files combined into one, beside lxml that parses and writes the same bytes and does nothing else."""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio
from lxml import etree

from measuring.children import RowFailed, in_process
from measuring.client_api import seed_registry
from measuring.figure import Figure, Size, Table, pick


def combine(size: Size, directory: Path) -> list[Figure]:
    table = Table("combine")
    memory: dict[int, float] = {}
    for clients in pick(size, (300, 10_000, 100_000), (300, 2000, 10_000), (5, 20, 40)):
        rounds = pick(size, 3 if clients <= 10_000 else 1, 1, 1)
        run = _in_fork if size == "tiny" else _in_fresh_process
        turns = [_turn(directory, clients, run) for _ in range(rounds)]
        found = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
        memory[clients] = found["memory_mb"]
        what, floor, peer = f"{clients:,} clients", found["lxml_s"], "lxml alone, the same files"
        table.ratio(f"{what}: files → clients.xml", found["combine_s"], "s", floor, peer, most=2.0)
        table.ratio(f"{what}: whole batch, share, journal and clean-up", found["batch_s"], "s", floor, peer)
    middle, large = sorted(memory)[1:]
    table.ratio(f"memory with {large:,}", memory[large], "MB", memory[middle], f"with {middle:,}", most=1.3)
    return table.figures


def _turn(directory: Path, clients: int, run: Callable[[str, Path, int], dict[str, float]]) -> dict[str, float]:
    """One turn of all three on the same files; the batch, which uses them up, comes last."""
    home = directory / "turn"
    (home / "share").mkdir(parents=True)
    seed_registry(home / "state", clients, waiting=True)
    found: dict[str, float] = {}
    for part in PARTS:
        found |= run(part, home, clients)
    shutil.rmtree(home)
    return found


def _in_fork(part: str, home: Path, clients: int) -> dict[str, float]:
    found: dict[str, float] = in_process(PARTS[part], home, clients)
    return found


def _in_fresh_process(part: str, home: Path, clients: int) -> dict[str, float]:
    command = [sys.executable, "-m", "measuring.combining", part, str(home), str(clients)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RowFailed(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _lxml(home: Path, clients: int) -> dict[str, Any]:
    files = sorted((home / "state" / "out" / "clients" / "Bench").iterdir())
    begun = time.perf_counter()
    with (home / "lxml.xml").open("wb") as out:
        out.write(b'<?xml version="1.0" encoding="UTF-8"?>\n<Clients>\n')
        for path in files:
            for row in etree.fromstring(path.read_bytes()):
                out.write(etree.tostring(row, encoding="utf-8", with_tail=False) + b"\n")
        out.write(b"</Clients>\n")
        out.flush()
        os.fsync(out.fileno())
    took = time.perf_counter() - begun
    assert len(files) == clients
    return {"lxml_s": took}


def _combine(home: Path, clients: int) -> dict[str, Any]:
    """The files into one, as a batch does it, the registry asked whose each is."""
    from agent.patriot import ledger
    from agent.patriot.gather import Gatherer, Spool
    from agent.store import Store

    store = Store.open(home / "state" / "varde.db")
    folder = home / "state" / "out" / "clients"
    gatherer = Gatherer(folder, lambda places: store.read_now(lambda c: ledger.owners_of(c, places)))
    begun = time.perf_counter()
    spool = Spool(home / "ready")
    taken = gatherer.take(spool, clients, {})
    spool.write_to(home / "ready" / "clients.xml")
    took = time.perf_counter() - begun
    assert taken.clients == clients
    spool.close()
    store.close()
    return {"combine_s": took}


def _batch(home: Path, clients: int) -> dict[str, Any]:
    from agent.metrics import Metrics
    from agent.patriot.combine import Batches
    from agent.patriot.share import open_share
    from agent.settings import Settings
    from agent.store import Store

    settings = Settings.model_validate(
        {
            "paths": {"state_dir": str(home / "state")},
            "share": {"kind": "directory", "path": str(home / "share"), "timeout_s": 600},
            "combine": {"max_clients_per_run": clients},
        }
    )
    assert settings.share is not None
    store = Store.open(settings.paths.database)
    batches = Batches(store, settings, open_share(settings.share), Metrics())
    begun = time.perf_counter()
    batch = trio.run(batches.run_once, "bench")
    took = time.perf_counter() - begun
    assert (batch.outcome, batch.clients) == ("ok", clients), batch
    store.close()
    return {"batch_s": took, "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000}


PARTS = {"lxml": _lxml, "combine": _combine, "batch": _batch}

if __name__ == "__main__":
    print(json.dumps(PARTS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))))
