"""The outbox: filters, order, ends, flapping protection."""

from datetime import UTC, datetime, timedelta

import pytest
import trio

from agent.alarms.model import Kind
from agent.settings.sinks import Dc09Sink, WebhookSink


def hook(name="hook", **fields):
    return WebhookSink(name=name, kind="webhook", url="http://127.0.0.1/", **fields)


def receiver(name="receiver", **fields):
    return Dc09Sink(name=name, kind="sia-dc09", host="127.0.0.1", port=6500, **fields)


async def kinds_of(post, sink):
    sql = "SELECT alarms.kind FROM outbox JOIN alarms ON alarms.id = alarm_id WHERE sink = ? ORDER BY outbox.id"
    return [row[0] for row in await post.rows(sql, (sink,))]


async def test_each_sink_gets_what_it_wants(post):
    post.sinks = [
        hook("all"),
        hook("doors", kinds=["access_granted", "access_denied"]),
        hook("other-source", sources=["hall"]),
        hook("armed-only", armed="armed"),
    ]
    await post.put(kind=Kind.PERSON)
    await post.put(kind=Kind.ACCESS_GRANTED, armed=None)
    await post.put(kind=Kind.PERSON, armed=False)
    assert await kinds_of(post, "all") == ["person", "person"]
    assert await kinds_of(post, "doors") == ["access_granted"]
    assert await kinds_of(post, "other-source") == []
    assert await kinds_of(post, "armed-only") == ["person"]


async def test_a_receiver_gets_sabotage_but_no_detections_of_a_disarmed_site(post):
    post.sinks = [receiver(), receiver("day-too", armed="any")]
    await post.put(kind=Kind.PERSON, armed=False)
    await post.put(kind=Kind.TAMPER, armed=False)
    await post.put(kind=Kind.INTRUSION, armed=None)
    assert await kinds_of(post, "receiver") == ["tamper", "intrusion"]
    assert await kinds_of(post, "day-too") == ["person", "tamper", "intrusion"]


async def test_an_alarm_without_account_waits_in_the_line_of_the_sinks_own_account(post):
    post.sinks = [receiver(account="9998"), hook()]
    await post.put(account="")
    assert await post.outbox.accounts("receiver") == ["9998"]
    assert await post.outbox.accounts("hook") == [""]


async def test_due_is_oldest_first_per_account_and_pages(post):
    post.sinks = [hook()]
    await post.put(3, account="AAA1")
    await post.put(2, account="BBB2")
    await post.put(2, account="AAA1")
    assert await post.outbox.accounts("hook") == ["AAA1", "BBB2"]
    rows = await post.outbox.due("hook", "AAA1", 10)
    assert [row.alarm.alarm.native_id for row in rows] == ["1", "2", "3", "6", "7"]
    assert [row.id for row in await post.outbox.due("hook", "AAA1", 2, after=rows[1].id)] == [rows[2].id, rows[3].id]


async def test_the_ends_of_a_delivery(post):
    post.sinks = [hook()]
    await post.put(3)
    first, second, third = await post.outbox.due("hook", "9998", 10)
    later = datetime.now(UTC) + timedelta(hours=1)
    await post.outbox.acknowledge([(first.id, later)])
    await post.outbox.reject(second.id, "never")
    await post.outbox.keep(third.id, "not now", later)
    rows, following = await post.outbox.list()
    assert [(row["state"], row["attempts"], row["reason"]) for row in rows] == [
        ("acknowledged", 1, None),
        ("rejected", 1, "never"),
        ("pending", 1, "not now"),
    ]
    assert rows[0]["acknowledged_at"].endswith("Z") and rows[2]["next_attempt_at"].endswith("Z")
    assert following == third.id
    # A kept row is due whenever its account's turn comes: waiting is the dispatcher's.
    assert [row.id for row in await post.outbox.due("hook", "9998", 10)] == [third.id]
    depth = await post.outbox.depth("hook")
    assert (depth.pending, depth.rejected) == (1, 1) and depth.oldest_at is not None


async def test_a_rejected_delivery_is_retried_by_hand_and_an_acknowledged_one_is_not(post):
    post.sinks = [hook()]
    await post.put(2)
    first, second = await post.outbox.due("hook", "9998", 10)
    await post.outbox.reject(first.id, "never")
    await post.outbox.acknowledge([(second.id, datetime.now(UTC))])
    assert await post.outbox.retry(first.id) == ("hook", "9998")
    assert await post.outbox.retry(second.id) is None
    assert await post.outbox.retry(999) is None
    assert await post.states() == ["pending", "acknowledged"]


async def test_a_page_is_filtered_and_bounded(post):
    post.sinks = [hook("one"), hook("two")]
    await post.put(5)
    rows, following = await post.outbox.list(sink="two", state="pending", limit=2)
    assert [row["sink"] for row in rows] == ["two", "two"]
    rows, last = await post.outbox.list(sink="two", after=following, limit=100)
    assert len(rows) == 3
    assert await post.outbox.list(sink="two", after=last) == ([], last)


async def test_memos_and_the_counter_they_come_from_stand_or_fall_together(post):
    post.sinks = [hook()]
    await post.put(3)
    rows = await post.outbox.due("hook", "9998", 10)

    def count(alarm, state):
        state["last"] = state.get("last", 0) + 1
        return str(state["last"])

    def fail(alarm, state):
        if state["last"] == 3:
            raise RuntimeError("in the middle")
        return count(alarm, state)

    await post.outbox.note(rows[1].id, "own")
    rows = await post.outbox.due("hook", "9998", 10)
    memos = await post.outbox.allot("hook", rows, count)
    assert memos == {rows[0].id: "1", rows[2].id: "2"}
    assert [row.memo for row in await post.outbox.due("hook", "9998", 10)] == ["1", "own", "2"]
    await post.put(3)
    fresh = (await post.outbox.due("hook", "9998", 10))[3:]
    with pytest.raises(RuntimeError):
        await post.outbox.allot("hook", fresh, fail)
    assert await post.outbox.change_state("hook", lambda state: state["last"]) == 2
    assert [row.memo for row in await post.outbox.due("hook", "9998", 10)][3:] == [None, None, None]


class Camera:
    """A camera that comes and goes, at times that the test sets."""

    def __init__(self, post, hold_s=60):
        self.post = post
        self.at = datetime(2026, 3, 1, 12, tzinfo=UTC)
        post.now = lambda: self.at
        post.journal._now = post.outbox._now = post.now
        post.sinks = [hook(hold_repeats_s=hold_s)]

    async def says(self, kind, after_s=1, device="3"):
        self.at += timedelta(seconds=after_s)
        await self.post.put(kind=kind, device=device)

    async def due(self):
        return [row.alarm.alarm.kind for row in await self.post.outbox.due("hook", "9998", 100)]


async def test_flapping_is_held_and_counted_but_never_a_first_alarm(post):
    camera = Camera(post)
    for _ in range(5):
        await camera.says(Kind.CAMERA_LOST)
        await camera.says(Kind.CAMERA_RESTORED)
    await camera.says(Kind.CAMERA_LOST, device="4")
    assert await camera.due() == [Kind.CAMERA_LOST, Kind.CAMERA_RESTORED, Kind.CAMERA_LOST]
    assert post.held == ["hook"] * 8


async def test_a_condition_that_stays_is_told_when_the_time_is_over(post):
    camera = Camera(post)
    await camera.says(Kind.CAMERA_LOST)
    await camera.says(Kind.CAMERA_RESTORED)
    await camera.says(Kind.CAMERA_LOST)  # and stays lost: the far end must not go on believing "restored"
    assert await camera.due() == [Kind.CAMERA_LOST, Kind.CAMERA_RESTORED]
    assert await post.outbox.accounts("hook") == ["9998"]
    camera.at += timedelta(seconds=61)
    assert await camera.due() == [Kind.CAMERA_LOST, Kind.CAMERA_RESTORED, Kind.CAMERA_LOST]


async def test_a_held_alarm_alone_makes_no_account_due(post):
    camera = Camera(post)
    await camera.says(Kind.CAMERA_LOST)
    await camera.says(Kind.CAMERA_RESTORED)
    await camera.says(Kind.CAMERA_LOST)
    rows = await post.outbox.due("hook", "9998", 10)
    await post.outbox.acknowledge([(row.id, camera.at) for row in rows])
    assert await post.outbox.accounts("hook") == []
    camera.at += timedelta(seconds=61)
    assert await post.outbox.accounts("hook") == ["9998"]


async def test_the_same_again_after_its_time_is_sent(post):
    camera = Camera(post)
    await camera.says(Kind.PERSON)
    await camera.says(Kind.PERSON, after_s=59)
    await camera.says(Kind.PERSON, after_s=2)
    assert len(await camera.due()) == 2
    assert post.held == ["hook"]


async def test_a_clock_set_back_by_a_day_holds_nothing_for_a_day(post):
    camera = Camera(post)
    await camera.says(Kind.CAMERA_LOST)
    await camera.says(Kind.CAMERA_RESTORED)
    await camera.says(Kind.CAMERA_LOST)  # held
    camera.at -= timedelta(days=1)
    assert await camera.due() == [Kind.CAMERA_LOST, Kind.CAMERA_RESTORED, Kind.CAMERA_LOST]
    await camera.says(Kind.CAMERA_RESTORED)
    assert (await camera.due())[-1] == Kind.CAMERA_RESTORED


async def test_enqueueing_many_is_quick_however_long_the_history(post):
    """A look into the past stops at the time it is about: 2,000 rows of it are not read for each alarm."""
    camera = Camera(post)
    await post.put(2000, kind=Kind.PERSON)
    camera.at += timedelta(seconds=120)
    with trio.fail_after(60):
        for _ in range(20):
            await camera.says(Kind.VEHICLE, after_s=61)
    assert await post.outbox.last_acknowledged_at("hook") is None
    assert (await post.outbox.depth("hook")).pending == 21
