"""Both paths' writing, in a process whose disk is recorded: `power_writer.py STATE_DIR SEED STEPS`.

Each line of `answered` is written once what it names is promised to be kept: "alarm N", "sent N", "client ID NAME",
"gone ID", "picture N"; a line "began …" stands before what it names.
"""

import random
import sys
from datetime import UTC, datetime
from pathlib import Path

import trio

from agent.alarms.journal import Journal
from agent.alarms.model import Alarm, Kind
from agent.alarms.outbox import Outbox, enqueue
from agent.metrics import Metrics
from agent.patriot.keys import Keys
from agent.patriot.records import NotFound
from agent.patriot.registry import Registry
from agent.settings.sinks import Dc09Sink
from agent.store import Store

SINK = Dc09Sink(name="receiver", kind="sia-dc09", host="127.0.0.1", port=1)


class Writer:
    def __init__(self, home: Path, chance: random.Random) -> None:
        self.chance = chance
        self.store = Store.open(home / "varde.db")
        self.keys = Keys(home / "keys.json")
        self.keys.reload()
        self.registry = Registry(self.store, home / "out" / "clients", self.keys)
        self.outbox = Outbox(self.store)
        self.journal = Journal(self.store, Metrics(), lambda c, alarm: enqueue(c, alarm, [SINK], datetime.now(UTC)))
        self.answered = (home / "answered").open("a", buffering=1)
        self.number = 0

    def say(self, line: str) -> None:
        self.answered.write(f"{line}\n")

    async def alarms(self) -> None:
        numbers = range(self.number, self.number + self.chance.randint(1, 4))
        self.number = numbers.stop
        fresh = [Alarm(str(n), Kind.PERSON, datetime.now(UTC), f"alarm {n}", raw={"fill": "x" * 700}) for n in numbers]
        recorded = await self.journal.record("yard", fresh, {"next": numbers.stop}, lambda device: ("9998", 1))
        for entry in recorded:
            self.say(f"alarm {entry.alarm.native_id}")

    async def delivery(self) -> None:
        rows = await self.outbox.due("receiver", "9998", 3)
        await self.outbox.acknowledge([(row.id, datetime.now(UTC)) for row in rows])
        for row in rows:
            self.say(f"sent {row.alarm.alarm.native_id}")

    async def client(self) -> None:
        key = self.keys.by_name("Alarm24")
        assert key is not None
        number, name = self.chance.randint(1, 12), f"name-{self.chance.randrange(10**9)}"
        if self.chance.random() < 0.25:
            self.say(f"began gone {number}")
            try:
                await self.registry.delete_client(key, number)
            except NotFound:
                pass
            self.say(f"gone {number}")
            return
        self.say(f"began client {number} {name}")
        await self.registry.put_client(key, number, {"Name": name})
        self.say(f"client {number} {name}")


async def main(home: Path, seed: int, steps: int) -> None:
    writer = Writer(home, random.Random(seed))
    await writer.registry.reconcile(at_start=True)
    for _ in range(steps):
        await writer.chance.choice((writer.alarms, writer.alarms, writer.delivery, writer.client, writer.client))()


trio.run(main, Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
