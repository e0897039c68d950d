"""A receiver, a sink that sends to it, and alarms to send."""

import itertools
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import trio

from agent.alarms.model import Alarm, Delivery, JournalledAlarm, Kind
from agent.settings.sinks import Dc09Sink as Dc09Settings
from agent.sinks.dc09.receiver import Receiver
from agent.sinks.dc09.sink import Dc09Sink


class Centre:
    """A monitoring centre under test: `receiver` serves at `port`; `sink` makes a sink for it."""

    def __init__(self, nursery):
        self._nursery = nursery
        self._ids = itertools.count(1)
        self.receiver = Receiver()
        self.port = 0
        self.reports = []
        self.notes = []

    async def serve(self, receiver=None, protocol="tcp", port=0):
        """Serve `receiver` (the centre's own by default); its port."""
        return await self._nursery.start((receiver or self.receiver).serve, "127.0.0.1", port, protocol)

    @asynccontextmanager
    async def sink(self, *, running=True, clock=None, **fields):
        own = {key: fields.pop(key) for key in ("site", "supervision_account", "link", "zone_name") if key in fields}
        own |= {"now": clock} if clock else {}
        defaults = {"supervision_interval_s": 0, "reply_timeout_s": 10, "port": self.port}
        settings = Dc09Settings(name="receiver", kind="sia-dc09", host="127.0.0.1", **(defaults | fields))
        sink = Dc09Sink(settings, **own)
        sink.watch(self.reports.append)
        async with trio.open_nursery() as nursery:
            if running:
                nursery.start_soon(sink.run)
            yield sink
            nursery.cancel_scope.cancel()
        sink.close()

    @staticmethod
    async def until(condition, seconds=20, every_s=0.01):
        with trio.fail_after(seconds):
            while not condition():  # noqa: ASYNC110 - conditions of several objects
                await trio.sleep(every_s)

    def delivery(self, kind=Kind.PERSON, *, account="9998", zone=3, memo=None, following=None, **fields):
        number = next(self._ids)
        fields = {"description": "Person detected", "device": "3", "device_name": "Gate"} | fields
        fields = {"occurred_at": datetime.now(UTC)} | fields
        alarm = Alarm(native_id=str(number), kind=kind, **fields)
        entry = JournalledAlarm(number, "yard", datetime.now(UTC), account, zone, alarm)

        async def note(text):
            self.notes.append((number, text))

        return Delivery(number, entry, 0, memo, note, following)


@pytest.fixture
async def centre(nursery):
    made = Centre(nursery)
    made.port = await made.serve()
    return made
