"""The client path on a real smbd, with everything dying at random moments.

VARDE_TEST=long runs the long form: 1,000 clients, 300 a run, at least 30 batches.
"""

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from lxml import etree

from agent.patriot.simulator import PatriotSimulator

LONG = os.environ.get("VARDE_TEST") == "long"
CLIENTS, PER_RUN, TROUBLES, BATCHES = (1000, 300, 60, 30) if LONG else (60, 15, 9, 5)
SEED = int(os.environ.get("VARDE_SEED", "20250101"))
PROCESS = Path(__file__).with_name("agent_process.py")


class Agent:
    """The agent's process, killed and started again."""

    def __init__(self, home: Path, settings: dict) -> None:
        self.home = home
        self.settings = home / "settings.json"
        self.settings.write_text(json.dumps(settings))
        self.starts = 0
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        self.starts += 1
        with (self.home / "stderr.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, PROCESS, self.settings, str(SEED + self.starts), str(CLIENTS)], stderr=log
            )

    def kill(self) -> None:
        assert self.process is not None
        assert self.process.poll() is None, (self.home / "stderr.log").read_text()
        self.process.kill()
        self.process.wait(30)

    def end(self) -> None:
        """Whatever became of the test."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)

    def acknowledged(self) -> dict[str, list[str]]:
        """The answered changes of each client, the newest last."""
        found: dict[str, list[str]] = {}
        for line in (self.home / "acknowledged").read_text("utf-8").splitlines():
            client, name = line.split(" ", 1)
            found.setdefault(f"{client}BASE11", []).append(name)
        return found

    def batches(self) -> int:
        with sqlite3.connect(f"file:{self.home / 'varde.db'}?mode=ro", uri=True) as connection:
            found = connection.execute("SELECT count(*) FROM batches WHERE outcome = 'ok'").fetchone()[0]
        connection.close()
        return found


def look_at(folder: Path, names_in, seen: set[tuple[str, str]], read: set[tuple[int, int]]) -> None:
    """Every clients.xml, present or rotated, is whole; what stands in it has been on the share."""
    for path in folder.glob("clients*.xml"):
        try:
            found = path.stat()
            if (found.st_ino, found.st_mtime_ns) not in read:
                seen |= set(names_in(path).items())
                read.add((found.st_ino, found.st_mtime_ns))
        except FileNotFoundError:
            continue  # rotated this moment


@pytest.fixture
def agents() -> Iterator[list[Agent]]:
    started: list[Agent] = []
    yield started
    for agent in started:
        agent.end()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("dialect", ["smb2", "smb3"] if LONG else ["smb3"])
def test_nothing_is_lost_and_nothing_is_half(make_smbd, make_box, names_in, agents, tmp_path, dialect):
    chance = random.Random(SEED)
    smbd = make_smbd("server signing = mandatory")
    home = tmp_path / "box"
    home.mkdir()
    share = {**smbd.settings(dialect=dialect, timeout_s=1, results_interval_s=0.3).model_dump(mode="json")}
    share["password"] = smbd.settings().password.get_secret_value()
    settings = {
        "paths": {"state_dir": str(home), "log_dir": str(home), "run_dir": str(home)},
        "combine": {"every_s": 0.3, "max_clients_per_run": PER_RUN},
        "share": share,
    }
    make_box("box", folder=smbd.share).store.close()  # writes the key file
    patriot = PatriotSimulator(smbd.share, appends=True, encoding="utf-16")
    agent = Agent(home, settings)
    agents.append(agent)
    agent.start()
    seen: set[tuple[str, str]] = set()
    read: set[tuple[int, int]] = set()

    def meanwhile(seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            look_at(smbd.share, names_in, seen, read)
            if chance.random() < 0.1:
                patriot.import_now()
            time.sleep(0.02)

    deadline = time.monotonic() + (1500 if LONG else 90)
    while not (home / "acknowledged").exists():
        assert time.monotonic() < deadline
        meanwhile(0.1)
    troubles = 0
    while troubles < TROUBLES or len(agent.acknowledged()) < CLIENTS or agent.batches() < BATCHES:
        assert time.monotonic() < deadline, (troubles, len(agent.acknowledged()), agent.batches())
        trouble = ("kill the agent", "kill smbd", "freeze smbd")[troubles % 3]
        meanwhile(chance.uniform(0.2, 1.2))
        if trouble == "kill the agent":
            agent.kill()
            agent.start()
            meanwhile(1.0)
        elif trouble == "kill smbd":
            smbd.kill()
            meanwhile(chance.uniform(0, 0.5))
            smbd.start()
        else:
            smbd.freeze()
            meanwhile(chance.uniform(0.2, 2.5))
            smbd.thaw()
        troubles += 1
    agent.kill()

    box = make_box("box", folder=smbd.share, share_settings=smbd.settings(dialect=dialect))
    kept = names_kept(box)
    for import_id, names in agent.acknowledged().items():
        # A change that was kept and not answered before the process died is newer than the last answered one.
        assert kept[import_id] == names[-1] or kept[import_id] not in names, import_id
    trio.run(settle, box, patriot)
    look_at(smbd.share, names_in, seen, read)
    assert not {item for item in kept.items() if item not in seen}
    assert {import_id: etree.fromstring(xml).findtext("Name") for import_id, xml in patriot.imported.items()} == kept
    assert not list(smbd.share.glob("*.tmp"))


def names_kept(box) -> dict[str, str]:
    """The newest name of each client, as the store has it."""
    rows = box.store.read_now(lambda c: c.execute("SELECT import_id, info_json FROM clients").fetchall())
    return {import_id: json.loads(info)["Name"] for import_id, info in rows}


async def settle(box, patriot: PatriotSimulator) -> None:
    """Patriot is well again and the share stands: everything that waits is imported."""
    await box.registry.reconcile(at_start=True)
    for _ in range(CLIENTS // PER_RUN + 20):
        await box.run()
        await trio.to_thread.run_sync(patriot.import_now)
        await box.look()
        states = await box.store.read(lambda c: dict(c.execute("SELECT state, count(*) FROM clients GROUP BY state")))
        if set(states) == {"imported"}:
            return
    raise AssertionError(states)
