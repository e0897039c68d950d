"""XProtect as a sink: each alarm triggers one on a configured camera, once.

    deliver ─▶ memo: a key, durable ─▶ POST /alarms, the key in its message ─202─▶ read it back ─▶ acknowledged
                    └ a try before this one? look for an alarm that bears the key first

Facts. 202 means accepted, and an alarm may not be readable at once; a POST whose answer is lost may have been
carried out. Decisions. The delivery counts once the alarm can be read; a repeat looks for its own key before it
triggers another. The mark also tells Varde's own sources that the alarm is none of the site's (`marker.py`). A
camera that XProtect does not know is a matter for the installer: the alarm is set aside after three tries.
"""

import logging
from datetime import UTC, datetime, timedelta

import trio

from agent.alarms.model import Delivery, JournalledAlarm
from agent.faults import Fault, FaultClass, Rejected
from agent.settings.sinks import MilestoneSink as MilestoneSettings
from agent.vendors.milestone import marker
from agent.vendors.milestone.client import MilestoneClient, MilestoneFault, gt
from agent.vendors.milestone.records import AlarmRecord

log = logging.getLogger("varde.sinks.milestone")

TRIES_BEFORE_REJECTED = 3
READ_BACKS = 4
READ_BACK_EVERY_S = 0.5
SEARCH_SIZE = 100
SEARCH_PAGES = 50
SEARCH_BACK = timedelta(minutes=5)


class MilestoneSink:
    def __init__(self, settings: MilestoneSettings) -> None:
        self.name = settings.name
        self._settings = settings
        self._client = MilestoneClient(
            settings.url,
            settings.username,
            settings.password,
            grant=settings.grant,
            idp_url=settings.idp_url,
            timeout_s=settings.timeout_s,
            ca_file=settings.ca_file,
        )

    async def run(self) -> None:
        """Nothing lives between deliveries but the connection, which ends with this task."""
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(1):
                await self._client.aclose()

    async def deliver(self, delivery: Delivery) -> None:
        key = delivery.memo
        if key is None:
            key = marker.new_key()
            await delivery.note(key)
        elif await self._find(key, delivery.alarm) is not None:
            return
        await self._trigger(delivery, key)

    async def _trigger(self, delivery: Delivery, key: str) -> None:
        alarm = delivery.alarm
        try:
            made = await self._client.trigger(_name(alarm), marker.marked(_message(alarm), key), self._settings.camera)
        except MilestoneFault as fault:
            hopeless = fault.fault_class is FaultClass.REJECTED
            if hopeless and delivery.attempts + 1 >= TRIES_BEFORE_REJECTED:
                raise Rejected(f"XProtect does not take the alarm: {fault.said or fault.message}") from None
            raise
        await self._read_back(made)

    async def _read_back(self, made: AlarmRecord) -> None:
        for _ in range(READ_BACKS):
            try:
                await self._client.alarm(made.id)
                return
            except MilestoneFault as fault:
                if fault.status != 404:
                    raise
            await trio.sleep(READ_BACK_EVERY_S)
        raise Fault(FaultClass.PROTOCOL, f"{self._client.where} accepted an alarm and does not show it.")

    async def _find(self, key: str, alarm: JournalledAlarm) -> AlarmRecord | None:
        """The alarm of an earlier try. Where the server filters, only what is as young as the journal's row is read,
        by the server's own clock."""
        await self._client.alarms(0, 1)
        ahead = (self._client.server_time or datetime.now(UTC)) - datetime.now(UTC)
        filters = {"lastUpdatedTime": gt(alarm.received_at + ahead - SEARCH_BACK)}
        try:
            return await self._search(key, filters)
        except MilestoneFault as fault:
            if fault.fault_class is not FaultClass.REJECTED:
                raise
        return await self._search(key, {})

    async def _search(self, key: str, filters: dict[str, str]) -> AlarmRecord | None:
        """Page by page until an empty page, or one that repeats the page before."""
        before: list[str] = []
        for page in range(SEARCH_PAGES):
            rows = await self._client.alarms(page, SEARCH_SIZE, filters)
            ids = [row.id for row in rows]
            if not rows or ids == before:
                break
            for row in rows:
                if marker.key_of(row) == key:
                    return row
            before = ids
        return None

    async def probe(self) -> str:
        cameras = await self._client.cameras()
        camera = next((each for each in cameras if each.id == self._settings.camera), None)
        if camera is None:
            raise Fault(
                FaultClass.REJECTED,
                f"{self._client.where} has no camera {self._settings.camera}.",
                hint="Set camera to the id of one of its cameras; the source of kind milestone lists them.",
            )
        await self._client.alarms(0, 1)
        return f'Logged in; alarms stand on camera "{camera.name}".'


def _name(alarm: JournalledAlarm) -> str:
    """What the operator reads first: source, kind, and whether it begins or ends."""
    end = " ended" if alarm.alarm.restoral else ""
    return f"{alarm.source}: {alarm.alarm.kind.value.replace('_', ' ')}{end}"


def _message(alarm: JournalledAlarm) -> str:
    place = alarm.alarm.device_name or alarm.alarm.device
    text = alarm.alarm.description or alarm.alarm.kind.value
    return " ".join((text if place in text else f"{place}: {text}").split())
