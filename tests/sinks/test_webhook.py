"""The webhook against a real HTTP server."""

import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest
import trio

from agent.alarms.model import Alarm, Delivery, JournalledAlarm, Kind
from agent.faults import Fault, FaultClass, Rejected
from agent.settings.sinks import WebhookSink as Settings
from agent.sinks.webhook import WebhookSink, retry_after_s

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


class Server:
    """Answers each request with `answer` (status, headers), notes it, or stays silent."""

    def __init__(self):
        self.requests = []
        self.answer = (200, {})
        self.silent = False
        self.port = 0

    async def serve(self, task_status=trio.TASK_STATUS_IGNORED):
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._handle, listeners)

    async def _handle(self, stream):
        received = b""
        async with stream:
            while True:
                while b"\r\n\r\n" not in received:
                    data = await stream.receive_some(65536)
                    if not data:
                        return
                    received += data
                head, received = received.split(b"\r\n\r\n", 1)
                lines = head.decode().split("\r\n")
                headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:])}
                length = int(headers.get("content-length", 0))
                while len(received) < length:
                    received += await stream.receive_some(65536)
                body, received = received[:length], received[length:]
                self.requests.append((lines[0], headers, body))
                if self.silent:
                    await trio.sleep_forever()
                status, more = self.answer
                text = "".join(f"{key}: {value}\r\n" for key, value in more.items())
                await stream.send_all(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{text}\r\n".encode())


@pytest.fixture
async def server(nursery):
    made = Server()
    await nursery.start(made.serve)
    return made


@pytest.fixture
async def hook(server, nursery):
    settings = Settings(
        name="hook",
        kind="webhook",
        url=f"http://127.0.0.1:{server.port}/hooks/api/v1?token=abc",
        secret="s3cret",
        timeout_s=10,
    )
    sink = WebhookSink(settings, site="fredrikstad-01")
    nursery.start_soon(sink.run)
    return sink


class Note:
    def __init__(self):
        self.memo = None

    async def __call__(self, memo):
        self.memo = memo


def delivery(memo=None, description="Person detected", note=None):
    alarm = Alarm("77", Kind.PERSON, NOW, description, device="3", device_name="Østgård", armed=True, raw={"id": 77})
    return Delivery(1, JournalledAlarm(5, "yard", NOW, "9998", 3, alarm), 0, memo, note or Note())


async def test_the_body_is_the_alarm_object_signed(server, hook):
    note = Note()
    await hook.deliver(delivery(note=note))
    [(line, headers, body)] = server.requests
    assert line == "POST /hooks/api/v1?token=abc HTTP/1.1"
    assert json.loads(body) == delivery().alarm.as_json()
    assert headers["content-type"] == "application/json"
    wanted = hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert headers["varde-signature"] == f"sha256={wanted}"
    assert note.memo.encode() == body, "durable before it was sent"


async def test_a_retry_is_the_first_try_byte_for_byte(server, hook):
    note = Note()
    await hook.deliver(delivery(note=note))
    await hook.deliver(delivery(memo=note.memo, description="edited since"))
    (_, first, body), (_, second, again) = server.requests
    assert body == again
    assert first["idempotency-key"] == second["idempotency-key"]
    assert first["varde-signature"] == second["varde-signature"]


async def test_another_alarm_has_another_key(server, hook):
    await hook.deliver(delivery())
    await hook.deliver(delivery(description="another"))
    keys = {headers["idempotency-key"] for _, headers, _ in server.requests}
    assert len(keys) == 2 and all(key.startswith("fredrikstad-01-5-") for key in keys)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_acknowledged(server, hook, status):
    server.answer = (status, {})
    await hook.deliver(delivery())


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 422])
async def test_set_aside(server, hook, status):
    server.answer = (status, {})
    with pytest.raises(Rejected, match=str(status)) as raised:
        await hook.deliver(delivery())
    assert "abc" not in str(raised.value), "the path may hold a token"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_kept(server, hook, status):
    server.answer = (status, {"Retry-After": "120"})
    with pytest.raises(Fault) as raised:
        await hook.deliver(delivery())
    assert raised.value.retry_after_s == 120


async def test_silence_is_kept(server, hook, autojump_clock):
    autojump_clock.autojump_threshold = 0.2
    server.silent = True
    with pytest.raises(Fault) as raised:
        await hook.deliver(delivery())
    assert raised.value.fault_class is FaultClass.SLOW


async def test_a_closed_port_is_kept(server):
    with trio.socket.socket() as closed:
        await closed.bind(("127.0.0.1", 0))
        settings = Settings(name="hook", kind="webhook", url=f"http://127.0.0.1:{closed.getsockname()[1]}/")
        with pytest.raises(Fault) as raised:
            await WebhookSink(settings).deliver(delivery())
    assert raised.value.fault_class is FaultClass.REFUSED


async def test_probe_makes_no_alarm(server, hook):
    server.answer = (405, {})
    assert "405" in await hook.probe()
    assert [line.split()[0] for line, _, _ in server.requests] == ["HEAD"]
    server.answer = (503, {})
    with pytest.raises(Fault):
        await hook.probe()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("30", 30),
        (" 7 ", 7),
        ("Sun, 01 Mar 2026 12:01:00 GMT", 60),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("9" * 400, 999999999),
        ("²", None),
    ],
)
def test_retry_after(header, seconds):
    assert retry_after_s(header, NOW) == seconds


@pytest.mark.parametrize("url", ["ftp://x/", "http://user:pw@x/", "https://", "http://x/#a", "http://x/ y"])
def test_an_address_that_is_none(url):
    with pytest.raises(ValueError, match="url"):
        Settings(name="hook", kind="webhook", url=url)
