"""The delivery loop, against sinks that do as they are told; time is trio's mock clock where it matters."""

import itertools
import os
import sqlite3
from collections import defaultdict
from contextlib import asynccontextmanager

import pytest
import trio

from agent.alarms import acknowledgements, dispatch
from agent.alarms.dispatch import ACCOUNTS_AT_ONCE, BATCH, Dispatcher, retry
from agent.alarms.model import Kind
from agent.faults import Fault, FaultClass, Rejected
from agent.settings.sinks import WebhookSink

LONG = os.environ.get("VARDE_TEST") == "long"


class Sink:
    """Notes what it delivers; `ends` maps a native id to what happens: an exception, or an async function."""

    name = "hook"

    def __init__(self):
        self.delivered = []
        self.tries = []
        self.ends = {}
        self.in_flight = defaultdict(int)
        self.most_in_flight = defaultdict(int)
        self.probe_fault = None

    async def deliver(self, delivery):
        account, native_id = delivery.alarm.account, delivery.alarm.alarm.native_id
        self.tries.append((native_id, trio.current_time()))
        self.in_flight[account] += 1
        self.most_in_flight[account] = max(self.most_in_flight[account], self.in_flight[account])
        self.most_in_flight["all"] = max(self.most_in_flight["all"], sum(self.in_flight.values()))
        try:
            await trio.lowlevel.checkpoint()
            end = self.ends.get(native_id)
            if isinstance(end, BaseException):
                raise end
            if end is not None:
                await end()
        finally:
            self.in_flight[account] -= 1
        self.delivered.append((account, native_id))

    async def run(self):
        await trio.sleep_forever()

    async def probe(self):
        if self.probe_fault:
            raise self.probe_fault
        return "fine"

    def tries_of(self, native_id):
        return [at for tried, at in self.tries if tried == native_id]


class Watched(Sink):
    """A sink that knows by itself whether its far end answers."""

    def watch(self, report):
        self.report = report


class Numbered(Sink):
    def first_memo(self, alarm, state):
        state["last"] = state.get("last", 0) + 1
        return str(state["last"])


@asynccontextmanager
async def dispatching(post, sink):
    settings = WebhookSink(name="hook", kind="webhook", url="http://127.0.0.1/")
    post.sinks = [settings]
    post.metrics.add_sink("hook")
    dispatcher = Dispatcher(settings, sink, post.outbox, post.metrics)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dispatcher.run)
        yield dispatcher
        nursery.cancel_scope.cancel()


async def until(condition, seconds=30, every_s=0.005):
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - conditions of several objects
            await trio.sleep(every_s)


async def until_states(post, wanted, seconds=30):
    with trio.fail_after(seconds):
        while (found := await post.states()) != wanted:  # noqa: ASYNC110
            await trio.sleep(0.01)
    return found


def outcomes(post):
    counts = {}
    for sample in post.metrics.deliveries.collect()[0].samples:
        if sample.name.endswith("_total") and sample.value:
            counts[sample.labels["outcome"]] = sample.value
    return counts


async def test_each_account_is_delivered_in_order_one_at_a_time(post):
    sink = Sink()
    async with dispatching(post, sink) as dispatcher:
        for _ in range(20):
            await post.put(3, account="AAA1")
            await post.put(3, account="BBB2")
            dispatcher.wake()
        await until(lambda: len(sink.delivered) == 120)
        await until_states(post, ["acknowledged"] * 120)
    for account in ("AAA1", "BBB2"):
        ids = [int(native_id) for owner, native_id in sink.delivered if owner == account]
        assert ids == sorted(ids) and len(ids) == 60
        assert sink.most_in_flight[account] == 1


async def test_a_rejected_alarm_is_set_aside_and_blocks_nobody(post):
    sink = Sink()
    sink.ends["2"] = Rejected("the code is unknown")
    async with dispatching(post, sink) as dispatcher:
        await post.put(4)
        dispatcher.wake()
        await until_states(post, ["acknowledged", "rejected", "acknowledged", "acknowledged"])
        rows, _ = await post.outbox.list(state="rejected")
        assert rows[0]["reason"] == "the code is unknown"
        assert dispatcher.status()["rejected"] == 1
        assert outcomes(post) == {"ok": 3, "rejected": 1}

        del sink.ends["2"]
        assert await retry(post.outbox, {"hook": dispatcher}, rows[0]["id"])
        await until_states(post, ["acknowledged"] * 4)
        assert not await retry(post.outbox, {"hook": dispatcher}, rows[0]["id"])


async def test_a_kept_alarm_holds_up_its_own_account_only(post):
    sink = Sink()
    sink.ends["1"] = Fault(FaultClass.PROTOCOL, "NAK.")
    async with dispatching(post, sink) as dispatcher:
        await post.put(2, account="AAA1")
        await post.put(2, account="BBB2")
        dispatcher.wake()
        await until_states(post, ["pending", "pending", "acknowledged", "acknowledged"])
        rows, _ = await post.outbox.list(state="pending")
        assert (rows[0]["attempts"], rows[0]["reason"]) == (1, "NAK.") and rows[0]["next_attempt_at"]
        assert rows[1]["attempts"] == 0
        assert dispatcher.status()["error"] == "NAK."


async def test_an_account_that_waits_is_named_while_the_others_get_through(post):
    sink = Watched()
    sink.on_standby = True
    async with dispatching(post, sink) as dispatcher:
        sink.report(None)
        sink.ends["1"] = Fault(FaultClass.PROTOCOL, "it answers NAK.")
        await post.put(1, account="5555")
        await post.put(1, account="9998")
        dispatcher.wake()
        await until_states(post, ["pending", "acknowledged"])
        status = dispatcher.status()
        assert (status["state"], status["kept"], status["error"]) == ("up", ["5555"], "it answers NAK.")
        assert status["on_standby"]
        sink.ends.clear()
        dispatcher.retry("5555")
        await until_states(post, ["acknowledged"] * 2)
        assert dispatcher.status()["kept"] == []


async def test_one_alarm_that_a_service_cannot_stomach_does_not_take_the_sink_up_and_down(post, caplog):
    caplog.set_level("INFO")
    sink = Sink()
    sink.ends["1"] = Fault(FaultClass.REFUSED, "HTTP 500.")
    async with dispatching(post, sink) as dispatcher:
        await until(lambda: dispatcher.state == "up")
        await post.put(1, account="5555")
        dispatcher.wake()
        await until(lambda: sink.tries_of("1"))
        for number in range(2, 22):
            await post.put(1, account="9998")
            dispatcher.wake()
            await until(lambda number=number: ("9998", str(number)) in sink.delivered)
        await until(lambda: "account=5555 its alarms are kept" in caplog.text)
        assert (dispatcher.state, dispatcher.status()["kept"]) == ("up", ["5555"])
        assert caplog.text.count("is down") == 1 and len(sink.tries_of("1")) <= 4
        sink.ends["22"] = Fault(FaultClass.UNREACHABLE, "the line is cut.")
        await post.put(1, account="9998")
        dispatcher.wake()
        await until(lambda: dispatcher.state == "down")


async def test_tries_come_ever_more_seldom_up_to_a_minute_and_never_end(post, autojump_clock):
    autojump_clock.autojump_threshold = 0.02  # the store works in a thread, which the clock does not see
    sink = Sink()
    sink.ends["1"] = Fault(FaultClass.UNREACHABLE, "no way.")
    async with dispatching(post, sink) as dispatcher:
        await post.put()
        dispatcher.wake()
        await until(lambda: len(sink.tries) >= 12, seconds=3600, every_s=5)
        del sink.ends["1"]
        await until(lambda: sink.delivered, seconds=3600, every_s=5)
    times = sink.tries_of("1")
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert all(0.8 * wanted <= gap <= 1.2 * wanted + 6 for gap, wanted in zip(gaps, [1, 2, 4, 8, 16, 32], strict=False))
    assert all(48 <= gap <= 78 for gap in gaps[6:])


async def test_a_refused_log_in_is_not_tried_again_for_minutes(post, autojump_clock):
    autojump_clock.autojump_threshold = 0.02
    sink = Sink()
    sink.ends["1"] = Fault(FaultClass.AUTHENTICATION, "wrong password.")
    async with dispatching(post, sink) as dispatcher:
        await post.put()
        dispatcher.wake()
        await until(lambda: len(sink.tries) == 2, seconds=1000, every_s=5)
    first, second = sink.tries_of("1")
    assert second - first >= 240


async def test_the_far_ends_own_wish_is_honoured(post, autojump_clock):
    autojump_clock.autojump_threshold = 0.02
    sink = Sink()
    sink.ends["1"] = Fault(FaultClass.REFUSED, "later.", retry_after_s=100)
    async with dispatching(post, sink) as dispatcher:
        await post.put()
        dispatcher.wake()
        await until(lambda: len(sink.tries) == 2, seconds=1000, every_s=5)
    first, second = sink.tries_of("1")
    assert second - first >= 80


async def test_nobody_waits_any_longer_when_the_line_is_back(post):
    sink = Watched()
    sink.ends["1"] = Fault(FaultClass.UNREACHABLE, "down.")
    async with dispatching(post, sink) as dispatcher:
        sink.report(Fault(FaultClass.UNREACHABLE, "down."))
        assert dispatcher.status()["state"] == "down"
        dispatcher._outbox.keep, keep = _with_a_long_wait(dispatcher), dispatcher._outbox.keep
        await post.put()
        dispatcher.wake()
        await until(lambda: any(until > trio.current_time() + 1800 for until, _ in dispatcher._waiting.values()))
        dispatcher._outbox.keep = keep
        del sink.ends["1"]
        sink.report(None)
        await until_states(post, ["acknowledged"])
        assert dispatcher.status()["state"] == "up"


def _with_a_long_wait(dispatcher):
    """Keeps as always, and moves the account's next try an hour away."""
    keep = dispatcher._outbox.keep

    async def keep_long(*values):
        await keep(*values)
        account, (until, fault) = next(iter(dispatcher._waiting.items()))
        dispatcher._waiting[account] = (until + 3600, fault)

    return keep_long


async def test_a_retry_by_hand_does_not_wait(post):
    sink = Sink()
    sink.ends["1"] = Fault(FaultClass.AUTHENTICATION, "wrong password.")
    async with dispatching(post, sink) as dispatcher:
        await post.put()
        dispatcher.wake()
        await until(lambda: dispatcher._waiting)
        del sink.ends["1"]
        rows, _ = await post.outbox.list()
        assert await retry(post.outbox, {"hook": dispatcher}, rows[0]["id"])
        await until_states(post, ["acknowledged"], seconds=20)


async def test_a_defect_of_ours_keeps_the_alarm_and_is_seen(post, caplog):
    sink = Sink()
    sink.ends["1"] = ZeroDivisionError()
    async with dispatching(post, sink) as dispatcher:
        await post.put()
        dispatcher.wake()
        with trio.fail_after(30):
            while not (row := (await post.outbox.list())[0][0])["reason"]:  # noqa: ASYNC110
                await trio.sleep(0.005)
        assert row["state"] == "pending" and "ZeroDivisionError" in row["reason"]
    assert "own code" in caplog.text


@pytest.mark.parametrize("call", ["acknowledge", "allot", "reject", "keep"])
async def test_a_disk_that_refuses_is_waited_for_and_nothing_is_sent_twice(post, caplog, monkeypatch, call):
    monkeypatch.setattr(acknowledgements, "DISK_RETRY_S", 0.05)
    monkeypatch.setattr(dispatch, "DISK_PAUSE_S", 0.05)
    sink = Numbered()
    sink.ends |= {"2": Rejected("no.")} if call == "reject" else {}
    sink.ends |= {"1": Fault(FaultClass.SLOW, "slow.")} if call == "keep" else {}
    real, refusals = getattr(post.outbox, call), []

    async def refuse(*values):
        if len(refusals) < 3:
            refusals.append(call)
            sink.ends.pop("1", None)
            raise sqlite3.OperationalError("database or disk is full")
        return await real(*values)

    monkeypatch.setattr(post.outbox, call, refuse)
    async with dispatching(post, sink) as dispatcher:
        await post.put(2)
        dispatcher.wake()
        await until_states(post, ["acknowledged", "rejected" if call == "reject" else "acknowledged"])
    assert refusals
    assert [native_id for _, native_id in sink.delivered] == (["1"] if call == "reject" else ["1", "2"])
    assert not [record for record in caplog.records if record.exc_info]
    assert len([record for record in caplog.records if "disk is full" in record.message]) <= 1


async def test_at_most_sixteen_accounts_at_once_and_none_is_forgotten(post):
    sink = Sink()
    gate = trio.Event()
    for number in range(1, 41):
        sink.ends[str(number)] = gate.wait
    async with dispatching(post, sink) as dispatcher:
        for number in range(40):
            await post.put(account=f"A{number:03d}")
        dispatcher.wake()
        await until(lambda: sum(sink.in_flight.values()) == ACCOUNTS_AT_ONCE)
        gate.set()
        await until_states(post, ["acknowledged"] * 40)
    assert sink.most_in_flight["all"] == ACCOUNTS_AT_ONCE


async def test_a_memo_is_on_disk_before_the_first_try_and_the_same_ever_after(post):
    sink = Numbered()
    seen = []

    async def look():
        rows = await post.rows("SELECT memo FROM outbox ORDER BY id")
        seen.append([row[0] for row in rows])
        if len(seen) == 1:
            raise Fault(FaultClass.SLOW, "no answer.")

    sink.ends["1"] = look
    async with dispatching(post, sink) as dispatcher:
        await post.put(3)
        dispatcher.wake()
        await until_states(post, ["acknowledged"] * 3)
    assert seen == [["1", "2", "3"]] * 2


async def test_what_was_acknowledged_is_written_when_the_dispatcher_stops(post, monkeypatch):
    monkeypatch.setattr(acknowledgements, "GATHER_S", 3600)
    sink = Sink()
    sink.ends["11"] = trio.sleep_forever
    async with dispatching(post, sink) as dispatcher:
        await post.put(12)
        dispatcher.wake()
        await until(lambda: len(sink.tries) == 11)
        assert await post.states() == ["pending"] * 12
    assert await post.states() == ["acknowledged"] * 10 + ["pending"] * 2


async def test_state_and_gauges(post):
    sink = Sink()
    sink.probe_fault = Fault(FaultClass.REFUSED, "nothing listens.")
    async with dispatching(post, sink) as dispatcher:
        await until(lambda: dispatcher.status()["state"] == "down")
        assert dispatcher.status()["error"] == "nothing listens."
        assert dispatcher.status()["oldest_s"] == 0 and dispatcher.status()["progress"] == 1.0
        await post.put(2)
        dispatcher.wake()
        await until_states(post, ["acknowledged"] * 2)
        status = dispatcher.status()
        assert status["state"] == "up" and status["error"] is None and status["last_acknowledged_at"].endswith("Z")
        assert status["acknowledged_after_p50_s"] is not None
        assert post.metrics.registry.get_sample_value("varde_sink_up", {"sink": "hook"}) == 1


async def test_a_queue_drains_in_order_and_shows_how_far_it_is(post):
    """10,000 with VARDE_TEST=long; enough for several batches otherwise."""
    count = 10_000 if LONG else 3 * BATCH + 7
    sink = Sink()
    progress = []
    sink.ends[str(count // 2)] = lambda: _note(progress, dispatcher)
    async with dispatching(post, sink) as dispatcher:
        await post.put(count // 2, account="AAA1")
        await post.put(count - count // 2, account="BBB2", kind=Kind.VEHICLE)
        dispatcher.wake()
        await until(lambda: len(sink.delivered) == count, seconds=100)
        await until(lambda: dispatcher.status()["pending"] == 0)
    for account in ("AAA1", "BBB2"):
        ids = [int(native_id) for owner, native_id in sink.delivered if owner == account]
        assert ids == sorted(set(ids))
    assert progress and 0 < progress[0]["progress"] < 1 and progress[0]["peak"] == count


async def _note(progress, dispatcher):
    progress.append(dispatcher.status())


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level("INFO", logger="varde.dispatch")
