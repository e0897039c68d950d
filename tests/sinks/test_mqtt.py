"""MQTT 5 against a real mosquitto, started here on a free port."""

import getpass
import json
import queue
import shutil
import socket
import subprocess
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import paho.mqtt.client as paho
import pytest
import trio
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from agent.alarms.dispatch import Dispatcher
from agent.alarms.model import Alarm, Delivery, JournalledAlarm, Kind
from agent.faults import Fault, FaultClass, Rejected
from agent.settings.sinks import MqttSink as Settings
from agent.sinks.mqtt import MqttSink, _backoff_s

MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
STATUS = "varde/fredrikstad-01/status"

pytestmark = pytest.mark.skipif(not shutil.which(MOSQUITTO), reason="mosquitto is not installed")


class Broker:
    """A mosquitto that can be stopped and started again at the same port, with what it had to keep."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = folder
        self.lines = ["allow_anonymous true"]
        self.user = getpass.getuser()  # it would go over to a user that may not read the test's folder
        self.process = None

    async def start(self):
        settings = [
            f"listener {self.port} 127.0.0.1",
            f"user {self.user}",
            "persistence true",
            f"persistence_location {self.folder}/",
        ]
        (self.folder / "m.conf").write_text("\n".join([*settings, *self.lines]) + "\n")
        self.process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            [MOSQUITTO, "-c", str(self.folder / "m.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        with trio.fail_after(20):
            while True:
                try:
                    (await trio.open_tcp_stream("127.0.0.1", self.port)).socket.close()
                    return
                except OSError:
                    await trio.sleep(0.05)

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None


class Subscriber:
    """Somebody at the other side: what arrives on `varde/#`."""

    def __init__(self, port):
        self._messages = queue.SimpleQueue()
        self._ready = queue.SimpleQueue()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_message = lambda client, userdata, message: self._messages.put(message)
        self._client.on_subscribe = lambda *_: self._ready.put(None)
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("varde/#", qos=1)
        self._client.loop_start()
        self._ready.get(timeout=20)

    async def message(self):
        return await trio.to_thread.run_sync(lambda: self._messages.get(timeout=20))

    async def next_on(self, topic):
        while True:
            message = await self.message()
            if message.topic == topic:
                return message

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
async def broker(tmp_path):
    made = Broker(tmp_path)
    await made.start()
    yield made
    made.stop()


@pytest.fixture
def subscriber(broker):
    made = Subscriber(broker.port)
    yield made
    made.close()


@asynccontextmanager
async def connected(broker, **fields):
    settings = Settings(name="cloud", kind="mqtt", url=f"mqtt://127.0.0.1:{broker.port}", **fields)
    sink = MqttSink(settings, site="fredrikstad-01")
    reports = []
    sink.watch(reports.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sink.run)
        with trio.fail_after(20):
            while not reports:  # noqa: ASYNC110
                await trio.sleep(0.01)
        sink.reports = reports
        yield sink
        nursery.cancel_scope.cancel()


def delivery(memo=None):
    async def note(text):
        pass

    alarm = Alarm("77", Kind.PERSON, NOW, "Person detected", device="3", device_name="Østgård", armed=True)
    return Delivery(1, JournalledAlarm(5, "yard", NOW, "9998", 3, alarm), 0, memo, note)


async def test_an_alarm_arrives_as_the_alarm_object(broker, subscriber):
    async with connected(broker) as sink:
        await sink.deliver(delivery())
        message = await subscriber.next_on("varde/fredrikstad-01/yard/alarms")
    assert json.loads(message.payload) == delivery().alarm.as_json()
    assert (message.qos, message.retain) == (1, False)
    assert message.properties.ContentType == "application/json"
    [(name, key)] = message.properties.UserProperty
    assert name == "idempotency-key" and key.startswith("fredrikstad-01-5-")
    assert not hasattr(message.properties, "MessageExpiryInterval")


async def test_the_topic_is_filled_in_and_the_first_body_is_repeated(broker, subscriber):
    async with connected(broker, topic="varde/{site}/{kind}/of/{source}") as sink:
        await sink.deliver(delivery(memo='{"as":"at the first try"}'))
        message = await subscriber.next_on("varde/fredrikstad-01/person/of/yard")
    assert message.payload == b'{"as":"at the first try"}'


async def test_the_status_topic_is_retained_and_says_offline_after_a_clean_stop(broker, subscriber):
    async with connected(broker):
        assert (await subscriber.next_on(STATUS)).payload == b"online"
    assert (await subscriber.next_on(STATUS)).payload == b"offline"
    late = Subscriber(broker.port)
    message = await late.next_on(STATUS)
    late.close()
    assert (message.payload, message.retain) == (b"offline", True)


async def test_the_broker_says_offline_for_a_box_that_dies(broker, subscriber):
    async with connected(broker) as sink:
        assert (await subscriber.next_on(STATUS)).payload == b"online"
        sink._session._client.socket().shutdown(socket.SHUT_RDWR)
        assert (await subscriber.next_on(STATUS)).payload == b"offline"
        assert (await subscriber.next_on(STATUS)).payload == b"online", "and the box comes back"


async def test_a_restart_of_the_broker_loses_nothing(broker, post):
    """The real loop: what could not be sent waits in the outbox, and goes out once the broker is back."""
    settings = Settings(name="cloud", kind="mqtt", url=f"mqtt://127.0.0.1:{broker.port}", timeout_s=5)
    sink = MqttSink(settings, site="fredrikstad-01")
    post.sinks = [settings]
    dispatcher = Dispatcher(settings, sink, post.outbox, post.metrics)
    first = Subscriber(broker.port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dispatcher.run)
        await until(lambda: dispatcher.state == "up")
        await post.put(3)
        dispatcher.wake()
        before = [json.loads((await first.next_on("varde/fredrikstad-01/yard/alarms")).payload) for _ in range(3)]
        first.close()
        broker.stop()
        await until(lambda: dispatcher.state == "down")
        await post.put(3)
        dispatcher.wake()
        await broker.start()
        second = Subscriber(broker.port)
        after = [json.loads((await second.next_on("varde/fredrikstad-01/yard/alarms")).payload) for _ in range(3)]
        second.close()
        with trio.fail_after(20):
            while (await post.states()) != ["acknowledged"] * 6:  # noqa: ASYNC110
                await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
    assert [alarm["id"] for alarm in before + after] == [1, 2, 3, 4, 5, 6]


async def until(condition):
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.02)


async def test_a_broker_that_is_down_keeps_the_alarm(broker):
    broker.stop()
    async with connected(broker) as sink:
        assert sink.reports[0].fault_class is FaultClass.REFUSED
        with pytest.raises(Fault) as raised:
            await sink.deliver(delivery())
    assert raised.value.fault_class is FaultClass.REFUSED


async def test_a_wrong_password_is_an_authentication_fault(broker):
    broker.stop()
    (broker.folder / "passwords").write_text("")
    broker.lines = ["allow_anonymous false", f"password_file {broker.folder}/passwords"]
    await broker.start()
    async with connected(broker, password="not-this") as sink:
        assert sink.reports[0].fault_class is FaultClass.AUTHENTICATION
        assert "not-this" not in str(sink.reports[0])


async def test_a_topic_that_is_not_allowed_is_kept_as_an_authentication_fault(broker):
    broker.stop()
    (broker.folder / "acl").write_text("topic write varde/fredrikstad-01/status\n")
    broker.lines = ["allow_anonymous true", f"acl_file {broker.folder}/acl"]
    await broker.start()
    async with connected(broker) as sink:
        with pytest.raises(Fault) as raised:
            await sink.deliver(delivery())
    assert raised.value.fault_class is FaultClass.AUTHENTICATION


async def test_an_alarm_too_large_for_the_broker_is_set_aside_and_blocks_nobody(broker, subscriber):
    broker.stop()
    broker.lines = ["allow_anonymous true", "max_packet_size 3000"]
    await broker.start()
    async with connected(broker) as sink:
        with pytest.raises(Rejected, match="3000"):
            await sink.deliver(delivery(memo="x" * 4000))
        await sink.deliver(delivery())


async def test_two_boxes_with_one_client_id_are_told(broker):
    async with connected(broker) as first, connected(broker):
        await until(lambda: len(first.reports) > 1)
        assert "varde-fredrikstad-01-cloud" in str(first.reports[1])


async def test_probe_leaves_a_running_box_alone(broker, subscriber):
    async with connected(broker) as sink:
        assert (await subscriber.next_on(STATUS)).payload == b"online"
        assert "accepts the log-in" in await sink.probe()
        await sink.deliver(delivery())
        assert sink.reports == [None]
        assert (await subscriber.message()).topic == "varde/fredrikstad-01/yard/alarms"


async def test_boxes_have_ids_of_their_own_and_come_back_at_different_times():
    settings = Settings(name="cloud", kind="mqtt", url="mqtts://user@broker")
    ids = {MqttSink(settings, site=f"site-{number}")._broker.client_id for number in range(100)}
    assert len(ids) == 100
    fault = Fault(FaultClass.UNREACHABLE, "gone")
    waits = {round(_backoff_s(6, fault), 1) for _ in range(200)}
    assert len(waits) > 50 and max(waits) <= 60 and min(waits) >= 12
