"""The client path as a process that the endurance test kills: `agent_process.py SETTINGS.json SEED CLIENTS`.

Registers clients and changes them, and sends batches one after the other, until it is killed. Each change that was
answered is a line `client name` in `acknowledged` before the next is made.
"""

# ruff: noqa: ASYNC240 - a few short lines in a local file

import json
import random
import sys
from pathlib import Path

import trio

from agent.metrics import Metrics
from agent.patriot.combine import Batches
from agent.patriot.keys import Keys
from agent.patriot.registry import Registry
from agent.patriot.share import open_share
from agent.settings import Settings
from agent.store import Store


async def main(settings: Settings, seed: int, clients: int) -> None:
    home = settings.paths.state_dir
    store = await trio.to_thread.run_sync(Store.open, settings.paths.database)
    keys = Keys(home / "keys.json")
    keys.reload()
    registry = Registry(store, settings.paths.clients, keys)
    await registry.reconcile(at_start=True)
    assert settings.share is not None
    batches = Batches(store, settings, open_share(settings.share), Metrics())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(register, registry, keys, home / "acknowledged", seed, clients)
        nursery.start_soon(batches.run)


async def register(registry: Registry, keys: Keys, acknowledged: Path, seed: int, clients: int) -> None:
    chance = random.Random(seed)
    key = keys.by_name("Alarm24")
    assert key is not None
    lines = acknowledged.read_text().splitlines() if acknowledged.exists() else []
    known = {int(line.split()[0]) for line in lines}
    with acknowledged.open("a", buffering=1) as file:
        for number in range(len(lines), 10**9):
            missing = clients - len(known)
            client = len(known) + 1 if missing and chance.random() < 0.8 else chance.randint(1, max(1, len(known)))
            name = f"Ærlig {number} {seed}"
            await registry.put_client(key, client, {"Name": name})
            file.write(f"{client} {name}\n")
            known.add(client)
            await trio.sleep(0 if missing else 0.02)


if __name__ == "__main__":
    document = json.loads(Path(sys.argv[1]).read_text())
    trio.run(main, Settings.model_validate(document), int(sys.argv[2]), int(sys.argv[3]))
