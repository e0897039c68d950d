"""Delivery to a receiver with every trouble that receivers have."""

from datetime import UTC, datetime, timedelta

import pytest
import trio

from agent.faults import Fault, FaultClass, Rejected
from agent.sinks.dc09.receiver import Receiver
from agent.sinks.dc09.troubles import Trouble

KEY = b"0123456789ABCDEF"
MANY = frozenset({"9998"})


@pytest.fixture
def fast(autojump_clock):
    """Time passes as soon as nothing happens; sockets of this machine are given 50 ms."""
    autojump_clock.autojump_threshold = 0.05
    return autojump_clock


async def test_an_alarm_is_acknowledged(centre):
    async with centre.sink(site="fredrikstad-01", zone_name=lambda account, zone: "Port øst") as sink:
        await sink.deliver(centre.delivery())
    [event] = centre.receiver.events
    assert (event.account, event.code, event.number, event.text) == ("9998", "BA", 3, "Port ost")
    assert event.extended == {"I": "Person detected", "L": "Gate", "S": "fredrikstad-01"}
    assert event.frame.startswith(b"\n") and b'"SIA-DCS"0001R0L0#9998[' in event.frame
    assert centre.notes == [(1, "0001")]
    assert centre.reports == [None]


async def test_line_fields_are_as_set(centre):
    async with centre.sink(receiver="1A", line_prefix="7", format="adm-cid") as sink:
        await sink.deliver(centre.delivery())
    assert b'"ADM-CID"0001R1AL7#9998[#9998|1130 00 003]' in centre.receiver.events[0].frame


async def test_one_connection_serves_one_account_for_ever(centre):
    async with centre.sink() as sink:
        for _ in range(20):
            await sink.deliver(centre.delivery())
    assert centre.receiver.connections == 1
    assert [event.sequence for event in centre.receiver.events] == list(range(1, 21))


async def test_the_next_frame_is_ready_and_right(centre):
    """What is prepared during one delivery is what the next one sends, and nobody else's."""
    async with centre.sink() as sink:
        third = centre.delivery(memo="0003", description="third")
        second = centre.delivery(memo="0002", description="second", following=third)
        await sink.deliver(centre.delivery(memo="0001", description="first", following=second))
        assert set(sink._ready) == {"9998"}
        await sink.deliver(second)
        await sink.deliver(centre.delivery(memo="0009", description="another"))
        await sink.deliver(third)
    events = [(event.sequence, event.extended["I"]) for event in centre.receiver.events]
    assert events == [(1, "first"), (2, "second"), (9, "another"), (3, "third")]


async def test_accounts_do_not_wait_for_each_other(centre):
    centre.receiver.misbehave(Trouble.SILENT, accounts=frozenset({"AAA1"}))
    async with centre.sink() as sink, trio.open_nursery() as nursery:
        nursery.start_soon(sink.deliver, centre.delivery(account="AAA1"))
        with trio.fail_after(8):
            await centre.until(lambda: centre.receiver.seen)
            for _ in range(3):
                await sink.deliver(centre.delivery(account="BBB2"))
        nursery.cancel_scope.cancel()
    assert [event.account for event in centre.receiver.events] == ["BBB2"] * 3


ACKNOWLEDGED_AT_ONCE = [
    Trouble.SPLIT,
    Trouble.JOINED,
    Trouble.WRONG_LENGTH,
    Trouble.LOWER_CASE,
    Trouble.BINARY_CRC,
    Trouble.NONE_L0,
    Trouble.NO_BAR,
    Trouble.PKCS7,
    Trouble.WITH_KEY,
    Trouble.NO_CR,
    Trouble.ACK_AND_CLOSE,
]


@pytest.mark.parametrize("keyed", [False, True], ids=["plain", "keyed"])
@pytest.mark.parametrize("trouble", ACKNOWLEDGED_AT_ONCE)
async def test_an_odd_acknowledgement_is_one(centre, trouble, keyed):
    centre.receiver.keys = {"": KEY} if keyed else {}
    centre.receiver.misbehave(trouble)
    key = {"encryption_key": "text:" + KEY.decode()} if keyed else {}
    async with centre.sink(**key) as sink:
        await sink.deliver(centre.delivery())
        await sink.deliver(centre.delivery())
    assert [event.sequence for event in centre.receiver.events] == [1, 2]
    assert centre.receiver.frames == 2


@pytest.mark.parametrize(
    "trouble",
    [Trouble.SILENT, Trouble.GARBAGE, Trouble.EMPTY, Trouble.WRONG_CRC, Trouble.WRONG_SEQUENCE, Trouble.CLOSE],
)
async def test_no_reply_is_repeated_with_the_same_number(centre, fast, trouble):
    centre.receiver.misbehave(trouble, times=2)
    async with centre.sink() as sink:
        await sink.deliver(centre.delivery())
    assert [frame.sequence for frame in centre.receiver.seen] == [1, 1, 1]
    assert len(centre.receiver.events) == 1


@pytest.mark.parametrize(
    "trouble",
    [Trouble.SILENT, Trouble.GARBAGE, Trouble.EMPTY, Trouble.WRONG_CRC, Trouble.WRONG_SEQUENCE, Trouble.CLOSE],
)
async def test_after_three_tries_the_alarm_is_kept(centre, fast, trouble):
    centre.receiver.misbehave(trouble)
    async with centre.sink() as sink:
        begun = trio.current_time()
        with pytest.raises(Fault) as raised:
            await sink.deliver(centre.delivery())
        lasted = trio.current_time() - begun
    assert len(centre.receiver.seen) == 3
    closes = trouble is Trouble.CLOSE
    assert raised.value.fault_class is (FaultClass.REFUSED if closes else FaultClass.SLOW)
    assert lasted < 5 if closes else 30 <= lasted < 35
    assert [report and report.fault_class for report in centre.reports] == [raised.value.fault_class]


async def test_a_slow_receiver_is_heard_at_the_second_try(centre, fast):
    centre.receiver.delay_s = 12
    centre.receiver.misbehave(Trouble.SLOW)
    async with centre.sink() as sink:
        await sink.deliver(centre.delivery())
    assert {event.sequence for event in centre.receiver.events} == {1}
    assert centre.receiver.connections == 1


async def test_a_receiver_silent_for_an_hour_gets_everything_then(centre, fast, post):
    """The real loop with the real outbox, the clock moved."""
    from agent.alarms.dispatch import Dispatcher

    fast.autojump_threshold = 0.01
    centre.receiver.misbehave(Trouble.SILENT)
    centre.receiver.window = None  # an hour of mock time is none for the stamps
    async with centre.sink(running=False, supervision_interval_s=60, account="9998") as sink:
        post.sinks = [sink.settings]
        dispatcher = Dispatcher(sink.settings, sink, post.outbox, post.metrics)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dispatcher.run)
            await post.put(3)
            dispatcher.wake()
            await trio.sleep(3600)
            assert dispatcher.state == "down" and not centre.receiver.events
            silent = len(centre.receiver.seen)
            centre.receiver.misbehave(Trouble.NONE)
            await centre.until(lambda: len(centre.receiver.events) == 3, seconds=60, every_s=5)
            assert dispatcher.state == "up"
            nursery.cancel_scope.cancel()
    assert [event.sequence for event in centre.receiver.events] == [1, 2, 3]
    assert {frame.sequence for frame in centre.receiver.seen if frame.is_event} == {1, 2, 3}
    assert silent < 700


# --- NAK ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset_s", [-7200, -120, 90, 3600])
async def test_a_nak_sets_the_stamps_to_the_receivers_clock(centre, offset_s):
    centre.receiver.now = lambda: datetime.now(UTC) + timedelta(seconds=offset_s)
    async with centre.sink() as sink:
        await sink.deliver(centre.delivery())
        await sink.deliver(centre.delivery())
    assert [event.sequence for event in centre.receiver.events] == [1, 2]
    # One NAK in all: what it taught holds for the frames that follow.
    assert [frame.sequence for frame in centre.receiver.seen] == [1, 1, 2]


@pytest.mark.parametrize("trouble", [Trouble.NAK_SWAPPED, Trouble.NAK_TWICE, Trouble.NAK_AND_CLOSE, Trouble.BARE_NAK])
async def test_an_odd_nak_is_one(centre, fast, trouble):
    centre.receiver.misbehave(trouble, times=1)
    async with centre.sink() as sink:
        await sink.deliver(centre.delivery())
    assert [frame.sequence for frame in centre.receiver.seen] == [1, 1]


@pytest.mark.parametrize(
    "trouble", [Trouble.NAK, Trouble.NAK_SWAPPED, Trouble.NAK_TWICE, Trouble.NAK_AND_CLOSE, Trouble.BARE_NAK]
)
async def test_a_storm_of_naks_is_answered_once_and_keeps_the_alarm(centre, fast, trouble):
    centre.receiver.misbehave(trouble, accounts=MANY)
    async with centre.sink() as sink:
        with pytest.raises(Fault) as raised:
            await sink.deliver(centre.delivery())
        assert raised.value.fault_class is FaultClass.PROTOCOL
        await sink.deliver(centre.delivery(account="AAA1"))
    assert [frame.account for frame in centre.receiver.seen] == ["9998", "9998", "AAA1"]
    assert centre.reports == [None], "a receiver that answers NAK answers"


async def test_a_clock_that_cannot_be_believed_is_not_followed(centre, caplog):
    centre.receiver.now = lambda: datetime(2031, 1, 1, tzinfo=UTC)
    async with centre.sink() as sink:
        with pytest.raises(Fault):
            await sink.deliver(centre.delivery())
    assert all(abs(frame.stamped_at - datetime.now(UTC)) < timedelta(minutes=5) for frame in centre.receiver.seen)
    assert len(centre.receiver.seen) == 2 and "too far" in caplog.text


async def test_one_receivers_clock_is_not_anothers(centre):
    standby = Receiver()
    centre.receiver.now = lambda: datetime.now(UTC) + timedelta(hours=2)
    async with centre.sink(standby={"host": "127.0.0.1", "port": await centre.serve(standby)}) as sink:
        await sink.deliver(centre.delivery())
        centre.receiver.misbehave(Trouble.CLOSE)
        await sink.deliver(centre.delivery())
    assert len(standby.events) == 1 and len([frame for frame in standby.seen if frame.is_event]) == 1


# --- DUH ----------------------------------------------------------------------------------------------------------


async def test_duh_gets_the_bare_event_and_then_the_alarm_is_set_aside(centre):
    centre.receiver.misbehave(Trouble.DUH, times=2)
    async with centre.sink() as sink:
        with pytest.raises(Rejected, match="DUH"):
            await sink.deliver(centre.delivery())
        await sink.deliver(centre.delivery())
    assert [(frame.sequence, frame.data) for frame in centre.receiver.seen] == [
        (1, "NBA003^Gate^"),
        (1, "NBA003"),
        (2, "NBA003^Gate^"),
    ]


async def test_a_receiver_that_only_dislikes_the_texts_gets_the_event(centre):
    centre.receiver.misbehave(Trouble.DUH, times=1)
    async with centre.sink() as sink:
        await sink.deliver(centre.delivery())
    assert [event.data for event in centre.receiver.events] == ["NBA003"]


async def test_duh_of_the_main_receiver_goes_to_the_standby_and_three_tries_are_the_most(centre):
    standby = Receiver()
    centre.receiver.misbehave(Trouble.DUH)
    standby.misbehave(Trouble.DUH)
    address = {"host": "127.0.0.1", "port": await centre.serve(standby), "supervision_interval_s": 0}
    async with centre.sink(standby=address) as sink:
        with pytest.raises(Rejected):
            await sink.deliver(centre.delivery())
        assert len(centre.receiver.seen) + len(standby.seen) == 3
        standby.misbehave(Trouble.NONE)
        await sink.deliver(centre.delivery())
    assert len(standby.events) == 1


# --- standby ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [Trouble.SILENT, Trouble.CLOSE])
async def test_the_standby_takes_over_and_the_main_receiver_comes_back(centre, fast, trouble):
    standby = Receiver(window=None)
    centre.receiver.window = None
    centre.receiver.misbehave(trouble)
    address = {"host": "127.0.0.1", "port": await centre.serve(standby), "supervision_interval_s": 0}
    async with centre.sink(standby=address, account="9998") as sink:
        await sink.deliver(centre.delivery())
        assert len([frame for frame in centre.receiver.seen if frame.is_event]) == 3
        assert len(standby.events) == 1
        begun = trio.current_time()
        await sink.deliver(centre.delivery())
        assert trio.current_time() - begun < 5, "while the main receiver is down, the standby is the first"
        assert centre.reports[-1] is None, "a receiver answers"
        assert sink.on_standby
        centre.receiver.misbehave(Trouble.NONE)
        await centre.until(lambda: sink.main.answers, seconds=30, every_s=1)
        assert not sink.on_standby
        await sink.deliver(centre.delivery())
    assert [event.sequence for event in standby.events] == [1, 2]
    assert [event.sequence for event in centre.receiver.events] == [3]


async def test_a_refused_connection_leads_to_the_standby_at_once(centre, fast):
    standby = Receiver()
    address = {"host": "127.0.0.1", "port": await centre.serve(standby)}
    closed = trio.socket.socket()
    await closed.bind(("127.0.0.1", 0))
    with closed:
        async with centre.sink(port=closed.getsockname()[1], standby=address) as sink:
            begun = trio.current_time()
            await sink.deliver(centre.delivery())
            assert trio.current_time() - begun < 5
    assert len(standby.events) == 1


async def test_one_account_without_an_answer_goes_to_the_standby_and_takes_nobody_with_it(centre, fast):
    standby = Receiver(window=None)
    centre.receiver.window = None
    centre.receiver.misbehave(Trouble.SILENT, accounts=frozenset({"AAA1"}))
    address = {"host": "127.0.0.1", "port": await centre.serve(standby), "supervision_interval_s": 0}
    async with centre.sink(standby=address) as sink, trio.open_nursery() as nursery:

        async def others():
            for _ in range(8):
                await sink.deliver(centre.delivery(account="BBB2"))
                await trio.sleep(5)

        nursery.start_soon(others)
        await trio.sleep(1)
        await sink.deliver(centre.delivery(account="AAA1"))
        assert sink.main.answers
    assert [event.account for event in standby.events] == ["AAA1"]
    assert {event.account for event in centre.receiver.events} == {"BBB2"}


async def test_both_receivers_down_is_said_of_the_sink(centre, fast):
    standby = Receiver()
    centre.receiver.misbehave(Trouble.CLOSE)
    standby.misbehave(Trouble.CLOSE)
    address = {"host": "127.0.0.1", "port": await centre.serve(standby)}
    async with centre.sink(standby=address) as sink:
        with pytest.raises(Fault) as raised:
            await sink.deliver(centre.delivery())
    assert raised.value.fault_class is FaultClass.REFUSED
    assert centre.reports and centre.reports[-1] is not None


# --- numbers, times, accounts -------------------------------------------------------------------------------------


async def test_numbers_go_round_after_9999(centre):
    state = {"sequence": 9998}
    async with centre.sink() as sink:
        numbers = [sink.first_memo(centre.delivery().alarm, state) for _ in range(3)]
    assert numbers == ["9999", "0001", "0002"] and state == {"sequence": 2}


async def test_a_late_alarm_says_when_it_was(centre):
    occurred_at = datetime.now(UTC) - timedelta(minutes=5)
    async with centre.sink() as sink:
        await sink.deliver(centre.delivery(occurred_at=occurred_at))
        await sink.deliver(centre.delivery())
    first, second = centre.receiver.events
    assert first.extended["H"] == occurred_at.strftime("%H:%M:%S,%m-%d-%Y")
    assert "H" not in second.extended


async def test_an_alarm_becomes_late_between_two_tries(centre, fast):
    """Wall time and mock time go together here: a try that times out is ten seconds later for the stamp as well."""
    begun, wall = trio.current_time(), datetime.now(UTC)

    def clock():
        return wall + timedelta(seconds=trio.current_time() - begun)

    centre.receiver.now = clock
    centre.receiver.misbehave(Trouble.SILENT, times=2)
    async with centre.sink(clock=clock) as sink:
        await sink.deliver(centre.delivery(occurred_at=wall))
    assert ["H" in frame.extended for frame in centre.receiver.seen] == [False, False, True]


async def test_an_alarm_without_account_says_which_setting_to_fill(centre):
    async with centre.sink() as sink:
        with pytest.raises(Rejected, match=r"account in \[\[sources\]\] yard"):
            await sink.deliver(centre.delivery(account=""))
    assert centre.notes == [], "no number is spent"
    async with centre.sink(account="9998") as sink:
        await sink.deliver(centre.delivery(account=""))
    assert centre.receiver.events[0].account == "9998"


async def test_nothing_readable_leaves_a_keyed_sink(centre):
    centre.receiver.keys = {"": KEY}
    async with centre.sink(encryption_key="hex:" + KEY.hex(), account="9998", supervision_interval_s=60) as sink:
        await sink.deliver(centre.delivery())
        await centre.until(lambda: len(centre.receiver.seen) == 2)
    assert all(frame.encrypted and b"Gate" not in frame.frame for frame in centre.receiver.seen)
    assert centre.receiver.events[0].extended["L"] == "Gate"


# --- supervision --------------------------------------------------------------------------------------------------


async def test_supervision_at_its_interval_put_off_by_any_event(centre, fast):
    async with centre.sink(account="9998", supervision_interval_s=60) as sink:
        await trio.sleep(1)
        assert [frame.identifier for frame in centre.receiver.seen] == ["NULL"]
        await trio.sleep(40)
        await sink.deliver(centre.delivery())
        await trio.sleep(50)
        assert [frame.identifier for frame in centre.receiver.seen] == ["NULL", "SIA-DCS"]
        await trio.sleep(11)
    assert [frame.identifier for frame in centre.receiver.seen] == ["NULL", "SIA-DCS", "NULL"]
    assert [frame.sequence for frame in centre.receiver.seen] == [0, 1, 0]


async def test_the_standby_has_an_interval_of_its_own_and_zero_is_none(centre, fast):
    standby = Receiver(window=None)
    centre.receiver.window = None
    port = await centre.serve(standby)
    address = {"host": "127.0.0.1", "port": port, "supervision_interval_s": 100}
    async with centre.sink(account="9998", supervision_interval_s=0, standby=address):
        await trio.sleep(301)
    assert len(centre.receiver.seen) == 0
    assert len(standby.seen) == 4


async def test_supervision_tells_when_the_receiver_goes_and_comes(centre, fast):
    centre.receiver.window = None
    async with centre.sink(account="9998", supervision_interval_s=60):
        await trio.sleep(1)
        assert centre.reports == [None]
        centre.receiver.misbehave(Trouble.SILENT)
        await trio.sleep(100)
        assert centre.reports[1].fault_class is FaultClass.SLOW
        centre.receiver.misbehave(Trouble.NONE)
        await trio.sleep(30)
    assert centre.reports[2:] == [None]


async def test_a_receiver_that_takes_no_supervision_still_answers(centre, fast, caplog):
    centre.receiver.misbehave(Trouble.NAK)
    async with centre.sink(account="9998", supervision_interval_s=60):
        await trio.sleep(200)
    assert centre.reports == [None]
    assert caplog.text.count("does not take them") == 1


async def test_the_periodic_test_has_a_number_of_the_same_counter(centre, fast):
    centre.receiver.window = None
    async with centre.sink(account="9998", periodic_test_s=3600) as sink:
        await sink.deliver(centre.delivery())
        await trio.sleep(7300)
    assert [(event.sequence, event.code) for event in centre.receiver.events] == [(1, "BA"), (2, "RP"), (3, "RP")]


async def test_probe_says_what_it_found(centre):
    async with centre.sink(running=False) as sink:
        assert "account" in await sink.probe()
    async with centre.sink(running=False, account="9998", supervision_interval_s=60) as sink:
        assert "acknowledges" in await sink.probe()
        for trouble in (Trouble.NAK, Trouble.DUH):
            centre.receiver.misbehave(trouble)
            with pytest.raises(
                Fault, match=f"answers {trouble.name} to a supervision message of account 9998"
            ) as raised:
                await sink.probe()
            assert "knows the account" in raised.value.hint
        centre.receiver.misbehave(Trouble.CLOSE)
        with pytest.raises(Fault):
            await sink.probe()


async def test_a_receiver_that_is_to_get_no_supervision_may_turn_it_down(centre):
    centre.receiver.misbehave(Trouble.NAK)
    async with centre.sink(running=False, account="9998", supervision_interval_s=0) as sink:
        assert "answers NAK" in await sink.probe()


# --- UDP ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, KEY, KEY + KEY[:8], KEY * 2], ids=["plain", "AES-128", "AES-192", "AES-256"])
async def test_udp(centre, key):
    receiver = Receiver(keys={"": key} if key else {})
    port = await centre.serve(receiver, "udp")
    fields = {"encryption_key": "hex:" + key.hex()} if key else {}
    async with centre.sink(port=port, protocol="udp", **fields) as sink:
        await sink.deliver(centre.delivery())
        await sink.deliver(centre.delivery(account="AAA1"))
    assert [(event.account, event.sequence) for event in receiver.events] == [("9998", 1), ("AAA1", 2)]


async def test_udp_loses_datagrams_and_nothing_else(centre, fast):
    receiver = Receiver(window=None)
    port = await centre.serve(receiver, "udp")
    receiver.misbehave(Trouble.SILENT, times=1)
    async with centre.sink(port=port, protocol="udp") as sink:
        await sink.deliver(centre.delivery())
    assert [frame.sequence for frame in receiver.seen] == [1, 1]


async def test_udp_to_a_closed_port_is_kept(centre, fast):
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as closed:
        await closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    async with centre.sink(port=port, protocol="udp") as sink:
        with pytest.raises(Fault):
            await sink.deliver(centre.delivery())
