"""One connection to an MQTT 5 broker, from CONNECT to its end. paho in its own thread, seen from trio.

Facts (paho 2). It reconnects by itself at fixed intervals and then publishes again what was not acknowledged; its
callbacks come in its thread. Decisions: one client object a connection, so that the outbox is the only queue and
nothing is sent twice by two minds; we reconnect, with jitter, since ten thousand boxes lose a broker in one second.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as paho
import trio
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from agent.faults import Fault, FaultClass, Rejected

KEEPALIVE_S = 60
OVERHEAD_BYTES = 512  # of a packet beside topic and body, properties included
_NOT_ALLOWED = frozenset({0x84, 0x86, 0x87, 0x8A, 0x8C})
_NEVER = frozenset({0x90, 0x95, 0x99})  # topic name invalid, packet too large, payload format invalid
TAKEN_OVER = 0x8E
NO_SUBSCRIBERS = 0x10


@dataclass(frozen=True, slots=True)
class Broker:
    """Where and as whom. `status_topic` gets the last will; None: a connection that leaves no trace."""

    url: str
    client_id: str
    password: str | None
    ca_file: Path | None
    timeout_s: float
    status_topic: str | None

    @property
    def where(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}:{self.port}"

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or (8883 if parts.scheme == "mqtts" else 1883)


class Session:
    """`open` returns it connected. `ended` is set when the connection is no more, and `fault` says why."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._token = trio.lowlevel.current_trio_token()
        self._connected = trio.Event()
        self._refusal: Fault | None = None
        self._limits: dict[str, int] = {}
        self._awaited: dict[int, _Receipt] = {}
        self.ended = trio.Event()
        self.fault: Fault | None = None
        self._client = self._make_client()

    @classmethod
    async def open(cls, broker: Broker) -> "Session":
        """Raises `Fault`."""
        session = cls(broker)
        try:
            await session._connect()
        except BaseException:
            with trio.CancelScope(shield=True):
                await session.close()
            raise
        return session

    async def publish(self, topic: str, body: bytes, *, retain: bool = False, key: str | None = None) -> int:
        """QoS 1; the reason code of the acknowledgement (0, or 0x10 where nobody is subscribed).

        Raises `Rejected` where the broker never takes it, `Fault` where it may later.
        """
        largest = self._limits.get("MaximumPacketSize", 0)
        if largest and len(body) + len(topic.encode()) + OVERHEAD_BYTES > largest:
            raise Rejected(f"The alarm is larger than {self._broker.where} takes ({largest} bytes).")
        if self.ended.is_set():
            raise self._gone()
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.PayloadFormatIndicator = 1
        if key is not None:
            properties.ContentType = "application/json"
            properties.UserProperty = [("idempotency-key", key)]
        receipt = _Receipt()
        info = self._client.publish(topic, body, qos=1, retain=retain, properties=properties)
        # The acknowledgement comes through run_sync_soon, so not before this task waits.
        self._awaited[info.mid] = receipt
        try:
            with trio.fail_after(self._broker.timeout_s):
                await receipt.done.wait()
        except trio.TooSlowError:
            self._end(Fault(FaultClass.SLOW, f"{self._broker.where} does not acknowledge within the time set."))
            raise self._gone() from None
        finally:
            self._awaited.pop(info.mid, None)
        if receipt.code is None:
            raise self._gone()
        return self._judged(receipt.code)

    async def close(self) -> None:
        """Say good-bye, so that the last will stays unsaid, and end paho's thread."""
        self._end(None)
        await trio.to_thread.run_sync(self._stop)

    # --- connecting ---------------------------------------------------------------------------------------------

    def _make_client(self) -> paho.Client:
        broker = self._broker
        parts = urlsplit(broker.url)
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=broker.client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = broker.timeout_s
        if parts.username:
            client.username_pw_set(parts.username, broker.password)
        if parts.scheme == "mqtts":
            client.tls_set_context(_tls(broker.ca_file))
        if broker.status_topic is not None:
            client.will_set(broker.status_topic, "offline", qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        return client

    async def _connect(self) -> None:
        broker = self._broker
        try:
            with trio.fail_after(2 * broker.timeout_s):
                await trio.to_thread.run_sync(self._start, abandon_on_cancel=True)
                await self._connected.wait()
        except trio.TooSlowError:
            raise Fault(FaultClass.SLOW, f"{broker.where} does not answer the connection in time.") from None
        except ssl.SSLCertVerificationError as error:
            raise Fault(
                FaultClass.PROTOCOL,
                f"{broker.where} shows a certificate that is not trusted ({error.verify_message}).",
                hint="Set ca_file to the certificate of its authority.",
            ) from None
        except ssl.SSLError:
            raise Fault(
                FaultClass.PROTOCOL, f"{broker.where} does not speak TLS there.", hint="Check mqtt or mqtts, and port."
            ) from None
        except ConnectionRefusedError:
            raise Fault(
                FaultClass.REFUSED,
                f"{broker.where} refuses the connection: nothing listens on that port.",
                hint="Check the port, and that the broker runs.",
            ) from None
        except (OSError, ValueError):
            raise Fault(
                FaultClass.UNREACHABLE, f"{broker.where} cannot be reached.", hint="Check its name, line and firewalls."
            ) from None
        if self._refusal is not None:
            raise self._refusal

    def _start(self) -> None:
        self._client.connect(
            urlsplit(self._broker.url).hostname or "", self._broker.port, keepalive=KEEPALIVE_S, clean_start=True
        )
        self._client.loop_start()

    def _stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    # --- paho's thread ------------------------------------------------------------------------------------------

    def _on_connect(
        self, client: paho.Client, userdata: Any, flags: Any, code: ReasonCode, properties: Properties | None
    ) -> None:
        limits = {
            name: int(getattr(properties, name))
            for name in ("MaximumPacketSize", "MaximumQoS", "RetainAvailable")
            if hasattr(properties, name)
        }
        self._soon(self._connack, code, limits)

    def _on_disconnect(
        self, client: paho.Client, userdata: Any, flags: Any, code: ReasonCode, properties: Properties | None
    ) -> None:
        self._soon(self._disconnected, code)

    def _on_publish(
        self, client: paho.Client, userdata: Any, mid: int, code: ReasonCode, properties: Properties | None
    ) -> None:
        self._soon(self._puback, mid, code.value)

    def _soon(self, call: Callable[..., None], *values: Any) -> None:
        try:
            self._token.run_sync_soon(call, *values)
        except trio.RunFinishedError:
            pass  # the process ends

    # --- trio's thread again ------------------------------------------------------------------------------------

    def _connack(self, code: ReasonCode, limits: dict[str, int]) -> None:
        self._limits = limits
        where = self._broker.where
        if code.value in _NOT_ALLOWED:
            self._refusal = Fault(
                FaultClass.AUTHENTICATION,
                f"{where} refuses the log-in ({code.getName()}).",
                hint="Check user, password and the rights of the client id.",
            )
        elif code.is_failure:
            self._refusal = Fault(FaultClass.REFUSED, f"{where} refuses the connection ({code.getName()}).")
        elif limits.get("MaximumQoS", 1) < 1:
            self._refusal = Fault(FaultClass.PROTOCOL, f"{where} offers no QoS 1, so nothing would be acknowledged.")
        self._connected.set()

    @property
    def may_retain(self) -> bool:
        return bool(self._limits.get("RetainAvailable", 1))

    def _disconnected(self, code: ReasonCode) -> None:
        if code.value == TAKEN_OVER:
            fault = Fault(
                FaultClass.REFUSED,
                f"{self._broker.where} gave our place to another client with the id {self._broker.client_id}.",
                hint="Give every box its own site.id.",
            )
        else:
            # Not every broker says that another client took the place.
            fault = Fault(
                FaultClass.UNREACHABLE,
                f"The connection to {self._broker.where} ends ({code.getName()}).",
                hint=f"If it does so again and again, another box may have the client id {self._broker.client_id}.",
            )
        self._end(fault)

    def _puback(self, mid: int, code: int) -> None:
        receipt = self._awaited.get(mid)
        if receipt is not None:
            receipt.code = code
            receipt.done.set()

    def _end(self, fault: Fault | None) -> None:
        if self.ended.is_set():
            return
        self.fault = fault
        self._refusal = self._refusal or fault
        self.ended.set()
        self._connected.set()
        for receipt in self._awaited.values():
            receipt.done.set()

    def _gone(self) -> Fault:
        return self.fault or Fault(FaultClass.UNREACHABLE, f"The connection to {self._broker.where} is closed.")

    def _judged(self, code: int) -> int:
        if code < 0x80:
            return code
        name = ReasonCode(PacketTypes.PUBACK, identifier=code).getName()
        if code in _NEVER:
            raise Rejected(f"{self._broker.where} turns the alarm down ({name}).")
        if code in _NOT_ALLOWED:
            raise Fault(
                FaultClass.AUTHENTICATION,
                f"{self._broker.where} does not let us publish on the topic ({name}).",
                hint="Give the client the right to publish there.",
            )
        raise Fault(FaultClass.REFUSED, f"{self._broker.where} cannot take the alarm now ({name}).")


class _Receipt:
    def __init__(self) -> None:
        self.done = trio.Event()
        self.code: int | None = None


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise Fault(
            FaultClass.PROTOCOL, f"ca_file {ca_file} cannot be used: {error}.", hint="Give a PEM file of certificates."
        ) from None
