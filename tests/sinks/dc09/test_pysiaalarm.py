"""Against a receiver that is not ours: pysiaalarm 3.2.2, TCP and UDP, plain and with all three key lengths."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio

from agent.alarms.model import Kind
from agent.faults import Fault, FaultClass

KEYS = {
    "plain": None,
    "AES-128": "0123456789ABCDEF",
    "AES-192": "0123456789ABCDEF01234567",
    "AES-256": "0123456789ABCDEF" * 2,
}
SCRIPT = Path(__file__).parent / "pysiaalarm_receiver.py"


class Peer:
    def __init__(self, process, lines, port):
        self._process = process
        self._lines = lines
        self.port = port

    async def event(self):
        with trio.fail_after(30):
            return json.loads(await self._lines.line())


class Lines:
    def __init__(self, stream):
        self._stream = stream
        self._received = b""

    async def line(self):
        while b"\n" not in self._received:
            data = await self._stream.receive_some(4096)
            assert data, "the receiver ended"
            self._received += data
        line, self._received = self._received.split(b"\n", 1)
        return line


@pytest.fixture
async def peer():
    """Starts receivers; they end with the test."""
    started = []

    async def start(protocol="tcp", key=None, window="-", accounts=("9998", "AAA1")):
        command = [sys.executable, str(SCRIPT), protocol, key or "-", window, *accounts]
        process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        lines = Lines(process.stdout)
        with trio.fail_after(60):
            return Peer(process, lines, int(await lines.line()))

    yield start
    for process in started:
        process.kill()
        await process.wait()
        await process.stdin.aclose()
        await process.stdout.aclose()


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
async def test_events_arrive_whole(centre, peer, protocol, key):
    receiver = await peer(protocol, KEYS[key], "window")
    fields = {"encryption_key": "text:" + KEYS[key]} if KEYS[key] else {}
    async with centre.sink(
        port=receiver.port,
        protocol=protocol,
        site="fredrikstad-01",
        link=lambda entry: "https://10.0.0.5/m/7f3a.jpg",
        account="9998",
        supervision_interval_s=60,
        **fields,
    ) as sink:
        supervision = await receiver.event()
        assert supervision["type"] == "NULL" and supervision["code"] == "RP"
        await sink.deliver(centre.delivery(device_name="Østgård"))
        event = await receiver.event()
        assert (event["account"], event["sequence"], event["code"]) == ("9998", 1, "BA")
        assert event["message"] == "003^Ostgard^"
        assert event["encrypted"] is (KEYS[key] is not None)
        await sink.deliver(centre.delivery(Kind.TAMPER, restoral=True, account="AAA1"))
        event = await receiver.event()
        assert (event["account"], event["sequence"], event["code"]) == ("AAA1", 2, "TR")
    assert centre.reports == [None]


async def test_many_accounts_at_once(centre, peer):
    accounts = [f"A{number:03d}" for number in range(16)]
    receiver = await peer(accounts=accounts)
    async with centre.sink(port=receiver.port) as sink, trio.open_nursery() as nursery:

        async def deliver_some(account):
            for _ in range(5):
                await sink.deliver(centre.delivery(account=account))

        for account in accounts:
            nursery.start_soon(deliver_some, account)
    events = [await receiver.event() for _ in range(80)]
    assert {event["account"] for event in events} == set(accounts)
    for account in accounts:
        numbers = [event["sequence"] for event in events if event["account"] == account]
        assert numbers == sorted(set(numbers)) and len(numbers) == 5


@pytest.mark.parametrize("format", ["sia-dcs", "adm-cid"])
async def test_every_kind_is_known(centre, peer, format):
    """An unknown code would be answered DUH and the event set aside, or turned into "invalid report" (YN)."""
    receiver = await peer()
    # 422 has no entry in this receiver's table; it is not sent unless somebody asks for it.
    kinds = [kind for kind in Kind if (kind, format) != (Kind.ACCESS_GRANTED, "adm-cid")]
    late = datetime.now(UTC) - timedelta(hours=1)
    async with centre.sink(port=receiver.port, format=format, site="fredrikstad-01") as sink:
        for kind in kinds:
            for restoral in (False, True):
                await sink.deliver(centre.delivery(kind, restoral=restoral, occurred_at=late))
                event = await receiver.event()
                assert event["code"] not in ("YN", None), kind
                assert "H" in event["extended"]


async def test_an_unknown_account_is_kept_and_says_what_to_check(centre, peer):
    receiver = await peer()
    async with centre.sink(port=receiver.port) as sink:
        with pytest.raises(Fault, match="knows the account") as raised:
            await sink.deliver(centre.delivery(account="BBBB"))
        assert raised.value.fault_class is FaultClass.PROTOCOL
        await sink.deliver(centre.delivery())
    assert (await receiver.event())["account"] == "9998"


async def test_a_wrong_key_is_no_acknowledgement(centre, peer):
    receiver = await peer(key=KEYS["AES-128"])
    async with centre.sink(port=receiver.port, encryption_key="text:FEDCBA9876543210", reply_timeout_s=2) as sink:
        with pytest.raises(Fault):
            await sink.deliver(centre.delivery())
