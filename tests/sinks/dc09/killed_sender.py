"""The alarm path from journal to receiver, in a process that is there to be killed.

    python killed_sender.py DATABASE PORT KEY|- ACCOUNTS ALARMS

Journals alarms until there are ALARMS of them, delivers all, and ends when none is pending.
"""

import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import trio

from agent.alarms.dispatch import Dispatcher
from agent.alarms.journal import Journal
from agent.alarms.model import Alarm, Kind
from agent.alarms.outbox import Outbox, enqueue
from agent.metrics import Metrics
from agent.settings.sinks import Dc09Sink as Settings
from agent.sinks.dc09.sink import Dc09Sink
from agent.store import Store

database, port, key, accounts, alarms = sys.argv[1:]


def place(device):
    return f"A{int(device) % int(accounts):03d}", 1


async def produce(journal, dispatcher):
    number = await journal.last_id()
    while number < int(alarms):
        fresh = [
            Alarm(str(each), Kind.PERSON, datetime.now(UTC), f"alarm {each}", device=str(each), armed=True)
            for each in range(number + 1, min(number + 6, int(alarms) + 1))
        ]
        await journal.record("yard", fresh, {"number": number}, place)
        dispatcher.wake()
        number += len(fresh)


async def main():
    store = Store.open(Path(database))
    encryption = {} if key == "-" else {"encryption_key": key}
    settings = Settings(
        name="receiver", kind="sia-dc09", host="127.0.0.1", port=int(port), supervision_interval_s=0, **encryption
    )
    outbox, metrics = Outbox(store), Metrics()
    sink = Dc09Sink(settings, change_state=partial(outbox.change_state, "receiver"))
    dispatcher = Dispatcher(settings, sink, outbox, metrics)
    journal = Journal(
        store, metrics, lambda connection, alarm: enqueue(connection, alarm, [settings], datetime.now(UTC))
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dispatcher.run)
        await produce(journal, dispatcher)
        while (await outbox.depth("receiver")).pending:  # noqa: ASYNC110
            await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
    store.close()


trio.run(main)
