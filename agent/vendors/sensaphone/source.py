"""Sensaphone.net as a source: the dashboard's levels, told as happenings.

    dashboard ─┬ device offline ─▶ an alarm of its own; its zones stay as they were
               ├ zone in alarm ──▶ begins, worsens, is raised again            (conditions.py)
               └ zone gone ──read the device itself──▶ normal: restoral │ still failing, unread: stays

Facts. A device that is offline shows its last values for ever. The dashboard lists only zones in alarm, so what is
missing from it may be normal or may not have been read. Decisions: an alarm needs one sight of it, a restoral needs a
sound dashboard and, where the service lets us read the device, no word of that device against it. What is not
readable changes nothing. Times are ours: the dashboard has none.
"""

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import trio

from agent.alarms.model import Alarm, Device, Kind, Poll, Position, parse_instant
from agent.faults import Fault, FaultClass, Refused, UnknownAction, UnknownTarget
from agent.settings.sources import SensaphoneSource as SensaphoneSettings
from agent.vendors import wire
from agent.vendors.sensaphone import answers
from agent.vendors.sensaphone.answers import Answer, ApiFault
from agent.vendors.sensaphone.client import SensaphoneClient
from agent.vendors.sensaphone.conditions import Change, Conditions, Observed, key_of, now_utc
from agent.vendors.sensaphone.readings import (
    Reading,
    ZoneInfo,
    by_kind,
    kind_of_zone,
    online,
    reading_of,
    unit_conditions,
    words,
)

log = logging.getLogger("varde.sensaphone")

SECOND_LOOK_S = 1.5
"""What a poll may spend on the device list, and on devices whose zones left the dashboard: a service that answers
the dashboard only must neither hold an alarm back nor look lost."""
OFFLINE = ":offline"
MAINS, BATTERY = ":power", ":battery"
"""The unit's own conditions, beside its zones."""
UNIT_ZONES = {Kind.POWER: MAINS, Kind.LOW_BATTERY: BATTERY}
DISCONNECTED = frozenset({14})
NOT_OFFERED = frozenset({answers.BAD_URI, answers.BAD_JSON, answers.NOT_AUTHORISED})


class SensaphoneSource:
    """Implements Source, Probing, Acting and Listing."""

    actions = frozenset({"acknowledge"})

    def __init__(self, settings: SensaphoneSettings) -> None:
        self._settings = settings
        self._client = SensaphoneClient(
            settings.url,
            settings.username,
            settings.password,
            timeout_s=settings.timeout_s,
            ca_file=settings.ca_file,
        )
        self._zones: dict[tuple[str, str], ZoneInfo] = {}
        self._zones_due = -float("inf")

    async def aclose(self) -> None:
        await self._client.aclose()

    async def poll(self, position: Position | None) -> Poll:
        answer = await self._client.dashboard()
        devices = _devices_of(answer, self._client.where)
        conditions = Conditions.from_json(position or {})
        known = wire.table((position or {}).get("devices"))
        if known and not devices:
            raise Fault(
                FaultClass.PROTOCOL,
                f"{self._client.where} shows no device, and {len(known)} were there before.",
                hint="Check in the vendor's account that the user still sees them.",
            )
        await self._learn_zones()
        report = position is not None or self._reports_standing()
        step = _Step(self._zones, conditions, now_utc(), report, sound=not answer.failures)
        for device in devices:
            step.device(device, wire.table(known.get(_id_of(device))))
        with trio.move_on_after(SECOND_LOOK_S):  # what is not confirmed now is asked again with the next poll
            for device_id in step.missing:
                await self._confirm(step, device_id)
        if position is None:
            log.info("%s: %d conditions stand at the first reading", self._settings.name, len(conditions.active))
        return Poll(step.alarms, {**conditions.as_json(), "devices": {**known, **step.devices}})

    def _reports_standing(self) -> bool:
        """Whether what stands at the very first reading is reported. How long it has stood nobody can say, so an
        instant that has passed includes it."""
        start = self._settings.start_from
        if start in ("now", "beginning"):
            return start == "beginning"
        return parse_instant(start) <= now_utc()

    async def _learn_zones(self) -> None:
        """Names, types and units, from the device list; a dashboard does without them where that fails."""
        if trio.current_time() < self._zones_due:
            return
        self._zones_due = trio.current_time() + self._settings.state_interval_s
        with trio.move_on_after(SECOND_LOOK_S):
            try:
                answer = await self._client.devices()
            except Fault as fault:
                log.debug("%s: the device list cannot be read: %s", self._settings.name, fault)
                return
            devices = wire.rows(answer.data.get("device"))
            self._zones = {key: info for device in devices for key, info in _zone_infos(device)}

    async def _confirm(self, step: "_Step", device_id: str) -> None:
        """Ask the device itself about conditions that the dashboard shows no more, and end those it agrees on."""
        device: dict[str, Any] = {}
        try:
            answer = await self._client.device(device_id)
        except ApiFault as fault:
            if fault.code not in NOT_OFFERED:
                return  # not read: nothing ends
        except Fault:
            return
        else:
            found = [row for row in wire.rows(answer.data.get("device")) if _id_of(row) == device_id]
            if answer.failures or any(online(row) is False for row in found):
                return
            device = found[0] if found else {}
        step.confirm(device_id, device)

    # Probing, acting, listing

    async def probe(self) -> str:
        await self._client.login()
        devices = _devices_of(await self._client.dashboard(), self._client.where)
        away = sum(online(device) is False for device in devices)
        zones = sum(len(wire.rows(device.get("zone"))) for device in devices)
        return f"Logged in; {len(devices)} devices ({away} offline), {zones} zones in alarm."

    async def act(self, action: str, target: str, raw: Mapping[str, Any] | None = None) -> str:
        if action not in self.actions:
            raise UnknownAction(f"A Sensaphone account does not offer {action}.")
        device_id = _id_of(raw) if raw else target
        if raw and wire.rows(raw.get("zone")):
            raise Refused("Sensaphone.net documents no way to acknowledge a zone's alarm; do it in the vendor's app.")
        device = await self._dashboard_device(device_id)
        if device is None:
            zone = any(key == target for _, key in self._zones)
            raise (
                Refused("a zone's alarm cannot be acknowledged")
                if zone
                else UnknownTarget(f"The account has no device {target}.")
            )
        return await self._acknowledge_offline(device_id, device)

    async def _acknowledge_offline(self, device_id: str, device: Mapping[str, Any]) -> str:
        if online(device) is not False and wire.truth(device.get("is_offline_unack")) is not True:
            raise Refused("the device is online; there is nothing to acknowledge")
        if wire.truth(device.get("is_offline_unack")) is False:
            return "The offline alarm was acknowledged already."
        try:
            answer = await self._client.acknowledge_offline(wire.whole(device_id) or device_id)
        except ApiFault as fault:
            if fault.code == answers.NOT_AUTHORISED or fault.fault_class is FaultClass.REJECTED:
                raise Refused(fault.message) from None
            raise
        if answer.failures:
            raise Refused("; ".join(map(str, answer.failures)))
        after = await self._dashboard_device(device_id) or {}
        if wire.truth(after.get("is_offline_unack")) is not False:
            raise Refused("the service took the acknowledgement and still shows the alarm as unacknowledged")
        return "The offline alarm is acknowledged."

    async def _dashboard_device(self, device_id: str) -> dict[str, Any] | None:
        devices = _devices_of(await self._client.dashboard(), self._client.where)
        return next((device for device in devices if _id_of(device) == device_id), None)

    async def devices(self) -> list[Device]:
        found: list[Device] = []
        for row in wire.rows((await self._client.devices()).data.get("device")):
            name = wire.text(row.get("name")) or _id_of(row)
            state = {True: "online", False: "offline", None: ""}[online(row)]
            found.append(Device(_id_of(row), "device", name, state))
            for zone in wire.rows(row.get("zone")):
                zone_id = wire.text(zone.get("zone_id"), 40) or wire.text(zone.get("canonical_name"), 60)
                measured = f"{wire.text(zone.get('value'), 40)} {wire.text(zone.get('units'), 20)}".strip()
                found.append(Device(zone_id, "zone", f"{name}: {wire.text(zone.get('name')) or zone_id}", measured))
        return found


class _Step:
    """One poll's walk over the devices: collects alarms, the devices' state, and who must be asked again."""

    def __init__(
        self,
        zones: Mapping[tuple[str, str], ZoneInfo],
        conditions: Conditions,
        now: datetime,
        report: bool,
        *,
        sound: bool,
    ) -> None:
        self.zones = zones
        self.conditions = conditions
        self.now = now
        self.report = report
        self.sound = sound
        self.alarms: list[Alarm] = []
        self.devices: dict[str, Any] = {}
        self.missing: dict[str, list[str]] = {}
        self._objects: dict[str, Mapping[str, Any]] = {}

    def device(self, device: Mapping[str, Any], before: Mapping[str, Any]) -> None:
        device_id, is_online = _id_of(device), online(device)
        if not device_id or is_online is None:
            return  # not readable: everything about it stays as it was
        unack = wire.truth(device.get("is_offline_unack"))
        self.devices[device_id] = {"online": is_online, "unacknowledged": unack}
        self._objects[device_id] = device
        self._unit(device, device_id, is_online, unack, before)
        if is_online:
            zones = device.get("zone")
            seen = {self._zone(device, device_id, zone) for zone in wire.rows(zones)}
            self._unit_conditions(device, device_id)
            if self.sound and isinstance(zones, list | dict):
                gone = [
                    key
                    for key in self.conditions.of_device(device_id)
                    if key not in seen and not _of_unit(self.conditions.active[key])
                ]
                if gone:
                    self.missing[device_id] = gone

    def _unit(
        self,
        device: Mapping[str, Any],
        device_id: str,
        is_online: bool,
        unack: bool | None,
        before: Mapping[str, Any],
    ) -> None:
        kinds = {} if is_online else {Kind.SYSTEM: DISCONNECTED}
        offline = Observed(
            device_id,
            OFFLINE,
            _label(device),
            Kind.SYSTEM,
            kinds,
            acknowledged=None if unack is None else not unack,
        )
        # An outage that began and ended between two polls leaves its unacknowledged mark on a unit that is online.
        unseen = is_online and unack and before.get("unacknowledged") is False and before.get("online") is True
        if unseen and key_of(device_id, OFFLINE) not in self.conditions.active:
            self._observe(
                Observed(device_id, OFFLINE, _label(device), Kind.SYSTEM, {Kind.SYSTEM: DISCONNECTED}), device, None
            )
        self._observe(offline, device, None)

    def _unit_conditions(self, device: Mapping[str, Any], device_id: str) -> None:
        """Mains and battery as the unit itself says them, where no zone of the device measures the same."""
        measured = {kind_of_zone(info, "") for (owner, _), info in self.zones.items() if owner == device_id}
        measured |= {
            Kind(entry["base"])
            for entry in (self.conditions.active[key] for key in self.conditions.of_device(device_id))
            if not _of_unit(entry)
        }
        for kind, states in unit_conditions(device).items():
            standing = key_of(device_id, UNIT_ZONES[kind]) in self.conditions.active
            if states is None or (kind in measured and not standing):
                continue
            kinds = {kind: states} if states else {}
            self._observe(Observed(device_id, UNIT_ZONES[kind], _label(device), kind, kinds), device, None)

    def _zone(self, device: Mapping[str, Any], device_id: str, zone: Mapping[str, Any]) -> str:
        """Take in one zone of the dashboard; the key it goes by."""
        reading = reading_of(zone, listed_in_alarm=True)
        if reading.states is not None:
            self._take(device, device_id, reading)
        info = self._info(device_id, reading)
        zone_id = reading.zone_id or (info.zone_id if info else "")
        return self.conditions.find(device_id, zone_id, reading.canonical) or key_of(
            device_id, zone_id or reading.canonical
        )

    def _take(self, device: Mapping[str, Any], device_id: str, reading: Reading) -> None:
        info = self._info(device_id, reading)
        zone_id = reading.zone_id or (info.zone_id if info else "")
        if not zone_id and not reading.canonical:
            return
        key = self.conditions.find(device_id, zone_id, reading.canonical)
        # What a zone measures is settled when it goes into alarm: a restoral has the kind of its alarm.
        base = Kind(self.conditions.active[key]["base"]) if key else kind_of_zone(info, reading.canonical)
        name = info.name if info and info.name else wire.text(reading.raw.get("name"))
        label = f"{_label(device)}: {name or reading.canonical or zone_id}"
        observed = Observed(
            device_id,
            zone_id,
            label,
            base,
            by_kind(reading.states or (), base),
            alias=reading.canonical or (info.canonical if info else ""),
            acknowledged=reading.acknowledged,
            unacknowledged=reading.unacknowledged,
            may_end=self.sound and reading.readable,
        )
        units = wire.text(reading.raw.get("units"), 20) or (info.units if info else "")
        self._observe(observed, device, reading, f"{reading.value} {units}".strip() if reading.value else "")

    def confirm(self, device_id: str, device: Mapping[str, Any]) -> None:
        """End the missing conditions of a device, but those that `device`, read itself, does not show as normal."""
        own = [reading_of(zone, listed_in_alarm=False) for zone in wire.rows(device.get("zone"))]
        for key in self.missing[device_id]:
            entry = self.conditions.active[key]
            reading = next((r for r in own if r.zone_id == entry["zone"] or r.canonical == entry["alias"] != ""), None)
            if reading is not None and reading.states is not None:
                self._take(self._objects[device_id], device_id, reading)
            elif reading is None or reading.raw.get("value") is not None:  # nothing said against it
                ended = Observed(device_id, entry["zone"], entry["label"], Kind(entry["base"]), {}, entry["alias"])
                self._observe(ended, self._objects[device_id], None)

    def _info(self, device_id: str, reading: Reading) -> ZoneInfo | None:
        return self.zones.get((device_id, reading.zone_id)) or self.zones.get((device_id, reading.canonical))

    def _observe(
        self, observed: Observed, device: Mapping[str, Any], reading: Reading | None, measured: str = ""
    ) -> None:
        for change in self.conditions.observe(observed, self.now, report=self.report):
            self.alarms.append(_alarm(change, device, reading, measured))


def _alarm(change: Change, device: Mapping[str, Any], reading: Reading | None, measured: str) -> Alarm:
    entry = change.entry
    raw = {key: value for key, value in device.items() if key != "zone"}
    return Alarm(
        native_id=change.id,
        kind=change.kind,
        occurred_at=change.at,
        description=", ".join(filter(None, (f"{entry['label']}: {_what(change)}", measured))),
        device=entry["device"] if _of_unit(entry) else entry["zone"],
        device_name=entry["label"],
        restoral=change.restoral,
        raw={**raw, "zone": [dict(reading.raw)] if reading else []},
    )


def _of_unit(entry: Mapping[str, Any]) -> bool:
    return str(entry["zone"]).startswith(":")


def _what(change: Change) -> str:
    zone = change.entry["zone"]
    if zone == OFFLINE:
        return "online again" if change.restoral else "offline"
    if zone == MAINS:
        return "mains back" if change.restoral else "mains lost"
    if zone == BATTERY:
        return "battery normal" if change.restoral else "battery low"
    return f"normal again (was {words(change.states)})" if change.restoral else words(change.states)


def _devices_of(answer: Answer, where: str) -> list[dict[str, Any]]:
    """The dashboard's devices. Raises `Fault(PROTOCOL)` where there is no such list: nothing is not "all clear"."""
    dashboard = answer.data.get("dashboard")
    if isinstance(dashboard, list) and len(dashboard) == 1:
        dashboard = dashboard[0]
    devices = wire.table(dashboard).get("device")
    if not isinstance(devices, list) or not all(isinstance(device, dict) for device in devices):
        raise Fault(FaultClass.PROTOCOL, f"{where} answers with a dashboard that has no list of devices.")
    return devices


def _id_of(device: Mapping[str, Any]) -> str:
    return wire.text(device.get("device_id"), 40)


def _label(device: Mapping[str, Any]) -> str:
    return wire.text(device.get("name"), 80) or f"device {_id_of(device)}"


def _zone_infos(device: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], ZoneInfo]]:
    """A device's zones, each under its id and under the vendor's name for it."""
    for zone in wire.rows(device.get("zone")):
        info = ZoneInfo(
            wire.text(zone.get("zone_id"), 40),
            wire.text(zone.get("canonical_name"), 60),
            wire.text(zone.get("name"), 80),
            wire.text(zone.get("type"), 40),
            wire.text(zone.get("units"), 20),
        )
        for name in {info.zone_id, info.canonical} - {""}:
            yield (_id_of(device), name), info
