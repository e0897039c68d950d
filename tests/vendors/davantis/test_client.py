"""The client against the simulator: tokens, endpoints, files, and answers that are none."""

import json
import socket
import time

import pytest
import trio
from pydantic import SecretStr

from agent.faults import Fault, FaultClass, Refused
from agent.vendors.davantis.client import DavantisClient, NotReady
from agent.vendors.davantis.records import AlarmFilter
from agent.vendors.lab import Ill


def logins(simulator) -> int:
    return simulator.laboratory.count("POST /oauth/token")


async def test_every_list(simulator, client):
    simulator.raise_event("intrusion", camera=2)
    assert [camera.alias for camera in await client.cameras()] == [
        "Gate north",
        "Loading bay",
        "Car park",
        "Fence east",
    ]
    assert [camera.thermal for camera in await client.cameras()] == [False, False, False, True]
    assert (await client.installation()).utc_offset == simulator.quirks.utc_offset
    assert [relay.alias for relay in await client.relays()] == ["light", "sound", "other"]
    assert [item.status for item in await client.inputs()] == [True, True]
    assert [row.camera for row in await client.alarms()] == ["2"]
    assert logins(simulator) == 1


async def test_nothing_is_an_empty_list(client):
    assert await client.alarms() == []


async def test_every_filter(simulator, client):
    first = int(simulator.raise_event("person", camera=1))
    second = int(simulator.raise_event("vehicle", camera=2, armed=False))
    third = int(simulator.raise_event("armed"))

    async def ids(**wanted):
        return [row.id for row in await client.alarms(AlarmFilter(**wanted))]

    moment = simulator.device.alarms[0].started
    assert await ids() == [third, second, first]
    assert await ids(armed=True) == [first]
    assert await ids(armed=False) == [second]
    assert await ids(min_id=first) == [third, second]
    assert await ids(cameras=("0", "1")) == [third, first]
    assert await ids(events=(3, 102)) == [third, second]
    assert set(await ids(min_date=moment)) == {first, second, third}
    assert await ids(max_date=moment.replace(year=2000)) == []


@pytest.mark.parametrize("form", ["clean", "question"])
async def test_either_form_of_the_login_is_found_and_remembered(simulator, client, form):
    simulator.quirks.form = form
    await client.cameras()
    assert client.tokens.form_prefix == ("?" if form == "question" else "")
    before = logins(simulator)
    simulator.device.forget_tokens()
    await client.cameras()
    assert logins(simulator) == before + 2  # the refresh that is not taken, and one log-in


@pytest.mark.parametrize("status", [200, 400, 401, 403, 500])
async def test_expiry_is_told_by_the_errorcode_whatever_the_status(simulator, client, status):
    simulator.quirks.token_fault_status = status
    await client.cameras()
    simulator.device.expire_tokens()
    assert len(await client.cameras()) == 4
    assert logins(simulator) == 2


async def test_many_that_expire_together_refresh_once(simulator, client):
    await client.cameras()
    simulator.device.expire_tokens()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(client.cameras)
    assert logins(simulator) == 2


async def test_a_refresh_whose_answer_is_lost_ends_at_the_password(simulator, client):
    await client.cameras()
    simulator.device.expire_tokens()
    simulator.laboratory.inject(Ill.LOST, path="/oauth", times=1)
    with pytest.raises(Fault):
        await client.cameras()
    assert len(await client.cameras()) == 4
    assert logins(simulator) == 3  # the spent refresh token is not tried again


async def test_a_token_that_is_never_taken_is_asked_for_twice_only(simulator, client):
    simulator.quirks.token_life_s = -1
    with pytest.raises(Fault) as caught:
        await client.cameras()
    assert caught.value.fault_class is FaultClass.AUTHENTICATION
    assert logins(simulator) == 2


async def test_the_token_does_not_follow_to_another_host(simulator, client, nursery):
    await client.cameras()
    seen: list[bytes] = []

    async def elsewhere(stream):
        seen.append(await stream.receive_some())

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    nursery.start_soon(trio.serve_listeners, elsewhere, [listener])
    simulator.laboratory.inject(Ill.STATUS, status=302, location=f"http://127.0.0.1:{port}/cameras")
    with pytest.raises(Fault) as caught:
        await client.cameras()
    assert caught.value.fault_class is FaultClass.PROTOCOL
    with pytest.raises(Fault):
        async with client.snapshot("1"):
            pass
    assert seen == []


async def read(stream) -> bytes:
    return b"".join([chunk async for chunk in stream.chunks])


async def test_files(simulator, client):
    simulator.quirks.recording_s = 0
    number = simulator.raise_event("person", camera=3)
    async with client.snapshot(number) as stream:
        assert stream.content_type == "image/jpeg"
        assert (await read(stream))[:3] == b"\xff\xd8\xff"
    async with client.video(number) as stream:
        assert stream.content_type == "video/mp4"
        assert (await read(stream))[4:8] == b"ftyp"


async def test_a_file_with_an_expired_token(simulator, client):
    simulator.quirks.recording_s = 0
    number = simulator.raise_event("person")
    await client.cameras()
    simulator.device.expire_tokens()
    async with client.snapshot(number) as stream:
        assert await read(stream)


async def test_a_file_that_records_is_not_ready(simulator, client):
    number = simulator.raise_event("person")
    with pytest.raises(NotReady):
        async with client.video(number):
            pass


async def test_somebody_elses_page_is_no_file(simulator, client):
    simulator.laboratory.inject(Ill.HTML, path="/alarms", status=200)
    with pytest.raises(Fault) as caught:
        async with client.snapshot("1"):
            pass
    assert caught.value.fault_class is FaultClass.PROTOCOL


async def test_live_pictures_until_enough(client):
    frames = b""
    async with client.live("2") as stream:
        assert stream.content_type.startswith("multipart/x-mixed-replace; boundary=")
        async for chunk in stream.chunks:
            frames += chunk
            if frames.count(b"\xff\xd8\xff") >= 2:
                break
    assert b"Content-Type: image/jpeg" in frames
    assert len(await client.cameras()) == 4


async def test_relays_and_inputs_are_set(simulator, client):
    await client.set_relay("1", True)
    assert (await client.relays())[0].status is True
    await client.set_relay("1", False)
    assert (await client.relays())[0].status is False
    await client.set_input("1", False)
    assert (await client.inputs())[0].status is False
    with pytest.raises(Refused, match="controlled by hardware"):
        await client.set_input("2", False)


async def test_a_relay_goes_off_by_itself(simulator, client):
    await client.set_relay("1", True)
    assert (await client.relays())[0].status is True
    simulator.device.clock = lambda: time.monotonic() + 31
    assert (await client.relays())[0].status is False


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[" * 100_000, b"null", b'{"access_token": 5}', b'{"access_token": "a\\nb"}', b"\xff\xfe", b"NaN"],
)
async def test_rubbish_for_a_token_is_a_protocol_fault(simulator, client, body):
    simulator.laboratory.inject(Ill.WRONG_JSON, path="/oauth", body=body or b" ")
    with pytest.raises(Fault) as caught:
        await client.cameras()
    assert caught.value.fault_class is FaultClass.PROTOCOL


@pytest.mark.parametrize(
    "body", [b"[NaN]", b'[{"id": 1e999}]', b"[" * 5000, b'[{"id": {"id": 1}}]', b"7", b"{}", b'["x"]']
)
async def test_rubbish_for_alarms_is_a_protocol_fault(simulator, client, body):
    await client.cameras()
    simulator.laboratory.inject(Ill.WRONG_JSON, path="/alarms", body=body)
    with pytest.raises(Fault) as caught:
        await client.alarms()
    assert caught.value.fault_class is FaultClass.PROTOCOL


async def test_a_raw_row_can_always_be_stored(simulator, client):
    body = b'[{"id": 1, "description": "half \\ud83d of a pair", "n": 12345678901234567890123}]'
    simulator.laboratory.inject(Ill.WRONG_JSON, path="/alarms", body=body)
    (row,) = await client.alarms()
    json.dumps(row.raw).encode()
    row.description.encode()


async def test_a_refusal_without_words_and_one_in_html(simulator, client):
    await client.cameras()
    simulator.laboratory.inject(Ill.STATUS, path="/inputs/", status=403, times=1)
    with pytest.raises(Refused, match="answers 403 without a reason"):
        await client.set_input("1", True)
    simulator.laboratory.inject(Ill.HTML, path="/inputs/", status=403, times=1)
    with pytest.raises(Refused, match="answers 403 without a reason"):
        await client.set_input("1", True)


async def test_a_device_in_trouble_is_no_refusal(simulator, client):
    await client.cameras()
    simulator.laboratory.inject(Ill.STATUS, path="/relays/", status=503, retry_after_s=9)
    with pytest.raises(Fault) as caught:
        await client.set_relay("1", True)
    assert caught.value.retry_after_s == 9


# --- what an operator is told: four different things -------------------------------------------------------------


async def fault_of(url: str, password: str = "x", timeout_s: float = 10) -> Fault:
    client = DavantisClient(url, "admin", SecretStr(password), timeout_s=timeout_s)
    try:
        with pytest.raises(Fault) as caught:
            await client.cameras()
        return caught.value
    finally:
        await client.aclose()


async def test_a_wrong_password(simulator):
    fault = await fault_of(simulator.url, "not-the-password")
    assert fault.fault_class is FaultClass.AUTHENTICATION
    assert "password" in str(fault)
    assert "not-the-password" not in str(fault)


async def test_a_refused_port(simulator):
    simulator.laboratory.close_port()
    fault = await fault_of(simulator.url)
    assert fault.fault_class is FaultClass.REFUSED
    assert "port" in fault.hint


async def test_an_address_that_swallows_packets():
    # A listening socket whose backlog is full drops further connections, as a firewall does.
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
            fillers.append(filler)
        fault = await fault_of(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout_s=0.5)
        for filler in fillers:
            filler.close()
    assert fault.fault_class is FaultClass.UNREACHABLE
    assert "cable" in fault.hint


@pytest.mark.parametrize(
    ("ill", "details"),
    [
        (Ill.HTML, {"status": 404}),
        (Ill.HTML, {"status": 200}),
        (Ill.HTML, {"status": 401}),
        (Ill.STATUS, {"status": 405}),
        (Ill.STATUS, {"status": 404, "body": b'{"detail": "Not Found"}'}),
        (Ill.GARBAGE, {}),
        (Ill.WRONG_JSON, {}),
    ],
)
async def test_a_wrong_product(simulator, ill, details):
    simulator.laboratory.inject(ill, **details)
    fault = await fault_of(simulator.url)
    assert fault.fault_class is FaultClass.PROTOCOL
    if ill is not Ill.GARBAGE:
        assert "not as a DAVANTIS device" in fault.message
        assert "21000" in fault.hint
