"""Killed with SIGKILL under load, again and again: nothing is lost, and a repeat is the same message."""

import os
import random
import sqlite3
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import trio

from agent.sinks.dc09.receiver import Receiver
from agent.sinks.dc09.troubles import Trouble

KILLS = 50 if os.environ.get("VARDE_TEST") == "long" else 10
SENDER = Path(__file__).parent / "killed_sender.py"
KEY = b"0123456789ABCDEF"
ACCOUNTS = 3


async def run_until(receiver, command, events):
    """Start the sender, and kill it once `events` more have been received; None: let it end by itself."""
    wanted = len(receiver.events) + (events or 0)
    async with trio.open_nursery() as nursery:
        process = await nursery.start(trio.run_process, [sys.executable, *command])
        if events is None:
            return
        with trio.fail_after(60):
            while len(receiver.events) < wanted and process.poll() is None:  # noqa: ASYNC110 - another process
                await trio.sleep(0.001)
        # A trouble or two, so that the moment of the kill is not always the same one.
        receiver.misbehave(random.choice((Trouble.NONE, Trouble.SWALLOW, Trouble.SPLIT)), times=2)
        process.kill()
        nursery.cancel_scope.cancel()


@pytest.mark.timeout(600)
async def test_nothing_is_lost_and_a_repeat_carries_the_first_number(nursery, tmp_path):
    receiver = Receiver(keys={"": KEY})
    port = await nursery.start(receiver.serve)
    database = tmp_path / "varde.db"
    alarms = KILLS * 60
    command = [str(SENDER), str(database), str(port), "hex:" + KEY.hex(), str(ACCOUNTS), str(alarms)]
    for _ in range(KILLS):
        await run_until(receiver, command, random.randint(1, 50))
    receiver.misbehave(Trouble.NONE)
    await run_until(receiver, command, None)

    numbers = defaultdict(set)
    order = defaultdict(list)
    for event in receiver.events:
        alarm = int(event.extended["I"].removeprefix("alarm "))
        numbers[alarm].add(event.sequence)
        if alarm not in order[event.account]:
            order[event.account].append(alarm)
    assert set(numbers) == set(range(1, alarms + 1)), "every alarm was acknowledged at least once"
    assert all(len(found) == 1 for found in numbers.values()), "a repeat carries the number of the first try"
    assert len({number for found in numbers.values() for number in found}) == alarms, "and no other alarm's"
    assert all(found == sorted(found) for found in order.values()), "in order per account"
    repeats = len(receiver.events) - alarms
    assert repeats <= KILLS * (64 + ACCOUNTS + 1), "as many repeats as may be unwritten at a kill, no more"
    with sqlite3.connect(database) as connection:
        states = dict(connection.execute("SELECT state, count(*) FROM outbox GROUP BY state"))
    connection.close()
    assert states == {"acknowledged": alarms}
