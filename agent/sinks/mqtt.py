"""Publish each alarm with MQTT 5, QoS 1: how a fleet of boxes reaches a broker cluster.

    varde/{site}/{source}/alarms   one alarm a message, never retained, no expiry, acknowledged by PUBACK
    varde/{site}/status            "online" or "offline", retained; "offline" is also the last will

The client id is the box's own, the session ends with the connection (the outbox is the queue, not the broker), and a
lost broker is tried again after a time that differs from box to box.
"""

import logging
import random
from collections.abc import Callable
from dataclasses import replace

import trio

from agent.alarms.model import Delivery
from agent.alarms.schedule import AUTHENTICATION_BACKOFF_S
from agent.faults import Fault, FaultClass, Rejected
from agent.settings.sinks import MqttSink as MqttSettings
from agent.sinks.body import body_of, idempotency_key
from agent.sinks.mqtt_session import NO_SUBSCRIBERS, Broker, Session

log = logging.getLogger("varde.mqtt")

LONGEST_BACKOFF_S = 60.0
STEADY_S = 60.0  # a connection that held this long was a good one: the next loss begins with the shortest wait
GOODBYE_S = 2.0


class MqttSink:
    """`agent.alarms.model.Sink`; `deliver` works while `run` does."""

    def __init__(self, settings: MqttSettings, *, site: str = "site") -> None:
        self.name = settings.name
        self._site = site
        self._topic = settings.topic
        self._status_topic = f"varde/{site}/status"
        self._broker = Broker(
            url=settings.url,
            client_id=settings.client_id or f"varde-{site}-{settings.name}",
            password=settings.password.get_secret_value() if settings.password else None,
            ca_file=settings.ca_file,
            timeout_s=settings.timeout_s,
            status_topic=self._status_topic,
        )
        self._session: Session | None = None
        self._fault = Fault(FaultClass.UNREACHABLE, f"{self._broker.where} is not connected yet.")
        self._report: Callable[[Fault | None], None] = lambda fault: None
        self._said_nobody_listens = False

    def watch(self, report: Callable[[Fault | None], None]) -> None:
        self._report = report

    async def deliver(self, delivery: Delivery) -> None:
        session = self._session
        if session is None:
            raise self._fault
        body = await body_of(delivery)
        entry = delivery.alarm
        topic = self._topic.format(site=self._site, source=entry.source, kind=entry.alarm.kind.value)
        code = await session.publish(topic, body, key=idempotency_key(self._site, entry.id, body))
        if code == NO_SUBSCRIBERS and not self._said_nobody_listens:
            self._said_nobody_listens = True
            log.warning("sink=%s the broker takes the alarms, but nobody is subscribed to %s", self.name, self._topic)

    async def run(self) -> None:
        failures = 0
        while True:
            begun = trio.current_time()
            try:
                fault = await self._one_session()
            except Fault as failed:
                fault = failed
            if trio.current_time() - begun > STEADY_S:
                failures = 0
            self._fault = fault
            self._report(fault)
            failures += 1
            await trio.sleep(_backoff_s(failures, fault))

    async def probe(self) -> str:
        """Log in and out again, under another client id so that a running daemon keeps its place."""
        broker = replace(self._broker, client_id=f"{self._broker.client_id}-check", status_topic=None)
        session = await Session.open(broker)
        await session.close()
        return f"{broker.where} accepts the log-in"

    async def _one_session(self) -> Fault:
        """From connecting to the end; the reason of the end."""
        session = await Session.open(self._broker)
        try:
            await self._say(session, "online")
            self._session = session
            self._report(None)
            await session.ended.wait()
        finally:
            self._session = None
            with trio.CancelScope(shield=True):
                await self._leave(session)
        return session.fault or self._fault

    async def _leave(self, session: Session) -> None:
        """Publish "offline" ourselves: a last will is only said for those who leave without a word."""
        if not session.ended.is_set():
            with trio.move_on_after(GOODBYE_S):
                try:
                    await self._say(session, "offline")
                except (Fault, Rejected):
                    pass  # then the broker says it
        await session.close()

    async def _say(self, session: Session, word: str) -> None:
        if session.may_retain:
            await session.publish(self._status_topic, word.encode(), retain=True)


def _backoff_s(failures: int, fault: Fault) -> float:
    """Anything between a fifth of the time and all of it: ten thousand boxes must not come back at one moment."""
    longest = LONGEST_BACKOFF_S if fault.fault_class is not FaultClass.AUTHENTICATION else AUTHENTICATION_BACKOFF_S
    wait_s = longest if fault.fault_class is FaultClass.AUTHENTICATION else min(longest, 2.0 ** min(failures, 10))
    return wait_s * random.uniform(0.2, 1.0)  # noqa: S311 - no secret in it
