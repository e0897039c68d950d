"""Power cut at any moment: writes that were not flushed are there or not, in any order, torn.

Never lost: what was answered or acknowledged before the cut. Never there: half a file, a damaged database.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from hostile import LONG, SEED
from lxml import etree
from powerloss import Disk, Step, read

from agent.patriot.keys import Keys
from agent.patriot.registry import Registry
from agent.store import Store

STEPS, CUTS = (2000, 3000) if LONG else (150, 60)
WRITER = Path(__file__).with_name("power_writer.py")
KEY_FILE = [{"key_name": "Alarm24", "key": "secret-alarm24", "enabled": True, "port": "BASE11"}]


@pytest.fixture
def recording(tmp_path: Path, fuse: str) -> tuple[Path, list[Step]]:
    """The folder that was written to, and how."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "keys.json").write_text(json.dumps(KEY_FILE))
    trace = tmp_path / "trace"
    environment = {**os.environ, "LD_PRELOAD": fuse, "FUSE_DIR": str(home), "FUSE_TRACE": str(trace)}
    subprocess.run([sys.executable, WRITER, home, str(SEED), str(STEPS)], check=True, env=environment, timeout=600)
    return home, read(trace)


class Promises:
    """What stands in `answered` at the moment of a cut."""

    def __init__(self) -> None:
        self.alarms: set[str] = set()
        self.sent: set[str] = set()
        self.clients: dict[str, str | None] = {}
        self.open: tuple[str, str | None] | None = None  # begun and not answered

    def take(self, line: str) -> None:
        words = line.split()
        began = words[0] == "began"
        what, *rest = words[1:] if began else words
        if what == "alarm":
            self.alarms.add(rest[0])
        elif what == "sent":
            self.sent.add(rest[0])
        else:
            client, name = rest[0], rest[1] if what == "client" else None
            self.open = (client, name) if began else None
            if not began:
                self.clients[client] = name

    def may_be(self, client: str) -> set[str | None]:
        allowed = {self.clients.get(client)}
        return allowed | {self.open[1]} if self.open and self.open[0] == client else allowed


def moments(steps: list[Step], chance: random.Random, home: Path) -> Iterator[tuple[Disk, Promises]]:
    """The disk and the promises at moments between two calls."""
    disk, promises = Disk(home), Promises()
    cuts = sorted(chance.sample(range(len(steps)), min(CUTS, len(steps))))
    for number, step in enumerate(steps):
        if step.path.endswith("/answered"):
            for line in step.data.decode().splitlines():
                promises.take(line)
        else:
            disk.take(step)
        if cuts and number == cuts[0]:
            cuts.pop(0)
            yield disk, promises


@pytest.mark.timeout(3600 if LONG else 120)
def test_what_was_promised_is_there_after_any_power_cut(recording, tmp_path: Path, chance: random.Random) -> None:
    home, steps = recording
    assert any(step.what == "s" for step in steps)
    seen = 0
    for number, (disk, promises) in enumerate(moments(steps, chance, home)):
        state = tmp_path / f"cut{number}"
        state.mkdir()
        (state / "keys.json").write_text(json.dumps(KEY_FILE))
        disk.crash(state, chance)
        trio.run(judge, state, promises)
        seen += len(promises.alarms)
    assert seen


async def judge(state: Path, promises: Promises) -> None:
    """Open what is left as the daemon does at its start."""
    store = Store.open(state / "varde.db")
    try:
        assert store.set_aside is None, "the database is whole"
        keys = Keys(state / "keys.json")
        keys.reload()
        registry = Registry(store, state / "out" / "clients", keys)
        await registry.reconcile(at_start=True)
        alarms = dict(
            await store.read(
                lambda c: c.execute(
                    "SELECT native_id, outbox.state FROM alarms LEFT JOIN outbox ON alarm_id = alarms.id"
                ).fetchall()
            )
        )
        position = await store.read(lambda c: c.execute("SELECT position_json FROM positions").fetchone())
        clients = dict(
            await store.read(
                lambda c: c.execute("SELECT client_id, json_extract(info_json, '$.Name') FROM clients").fetchall()
            )
        )
    finally:
        store.close()
    assert promises.alarms <= set(alarms)
    assert None not in alarms.values(), "no alarm without its delivery"
    assert all(alarms[number] == "acknowledged" for number in promises.sent)
    assert (json.loads(position[0])["next"] if position else 0) == len(alarms), "position and alarms are of one moment"
    folder = state / "out" / "clients" / "Alarm24"
    for client in range(1, 13):
        file = folder / f"{client}.xml"
        assert clients.get(client) in promises.may_be(str(client)), client
        assert (etree.parse(file).findtext("Row/Name") if file.exists() else None) == clients.get(client), client
    assert [path for path in folder.glob("*") if path.suffix != ".xml"] == []
