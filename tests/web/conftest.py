"""A site without far ends: real store, journal, outbox, dispatcher and listeners; device, receiver, share stand in."""

import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from PIL import Image

from agent import serving
from agent.alarms import outbox as outboxes
from agent.alarms.dispatch import Dispatcher
from agent.alarms.evidence import EvidenceKeeper
from agent.alarms.journal import Journal
from agent.alarms.model import Alarm, Delivery, Device, Evidence, Kind, Media, MediaStream, Poll
from agent.alarms.outbox import Outbox
from agent.alarms.polling import Poller
from agent.faults import Fault, FaultClass, Refused, Rejected, UnknownTarget
from agent.metrics import Metrics
from agent.patriot.combine import Batches
from agent.patriot.keys import Keys
from agent.patriot.registry import Registry
from agent.patriot.share import open_share
from agent.settings import Settings
from agent.site import Site
from agent.store import Store
from agent.supervise import Service, Supervisor
from agent.web import build_console, build_control, build_metrics

TOKEN = "a token that is long enough"


def jpeg(width: int = 640, height: int = 360) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (40, 60, 90)).save(file, "JPEG")
    return file.getvalue()


class Yard:
    """A device with a camera, an input and a relay. Its trouble is whatever `trouble` raises."""

    actions = frozenset({"arm", "disarm", "relay_on", "relay_off", "acknowledge"})

    def __init__(self) -> None:
        self.acted: list[tuple[str, str, Any]] = []
        self.trouble: Exception | None = None
        self.media_ready = True
        self.name = "Gate"
        self.snapshot_type = "image/jpeg"
        self.video = bytes(range(256)) * 400
        self.watching = 0

    async def poll(self, position: dict[str, Any] | None) -> Poll:
        return Poll([], position or {})

    async def aclose(self) -> None:
        pass

    async def act(self, action: str, target: str, raw: Mapping[str, Any] | None = None) -> str:
        if self.trouble:
            raise self.trouble
        if target not in ("1", "2", "77"):
            raise UnknownTarget(f"There is no {target}.")
        if target == "2":
            raise Refused("Camera 2 is in maintenance.")
        self.acted.append((action, target, raw))
        return f"{action} {target} done."

    async def devices(self) -> list[Device]:
        if self.trouble:
            raise self.trouble
        return [
            Device("1", "camera", self.name, "armed"),
            Device("1", "input", "Yard key", "armed"),
            Device("1", "relay", "Siren", "off"),
        ]

    @asynccontextmanager
    async def media(self, native_id: str, media: Media, epoch: str) -> AsyncIterator[MediaStream | None]:
        if not self.media_ready:
            yield None
            return
        content = jpeg() if media is Media.SNAPSHOT else self.video
        kind = self.snapshot_type if media is Media.SNAPSHOT else "video/mp4"
        yield MediaStream(kind, _chunks(content))

    @asynccontextmanager
    async def live(self, camera: str) -> AsyncIterator[MediaStream]:
        if camera != "1":
            raise UnknownTarget(f"There is no camera {camera}.")
        if self.trouble:
            raise self.trouble
        self.watching += 1
        try:
            yield MediaStream("multipart/x-mixed-replace; boundary=frame", _frames())
        finally:
            self.watching -= 1


class _chunks:
    def __init__(self, content: bytes) -> None:
        self.parts = iter([content[i : i + 20_000] for i in range(0, len(content), 20_000)])

    def __aiter__(self) -> "_chunks":
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        try:
            return next(self.parts)
        except StopIteration:
            raise StopAsyncIteration from None


class _frames:
    def __aiter__(self) -> "_frames":
        return self

    async def __anext__(self) -> bytes:
        await trio.sleep(0.02)
        picture = jpeg(64, 36)
        return b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(picture), picture)


class Receiver:
    """A sink that acknowledges, unless told otherwise."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.trouble: Exception | None = None
        self.delivered: list[int] = []

    async def deliver(self, delivery: Delivery) -> None:
        if self.trouble:
            raise self.trouble
        self.delivered.append(delivery.alarm.id)

    async def run(self) -> None:
        await trio.sleep_forever()

    async def probe(self) -> str:
        if self.trouble:
            raise self.trouble
        return "answers"


class Place:
    """The running site and what stands in for its far ends."""

    def __init__(self, site: Site, yard: Yard, receiver: Receiver) -> None:
        self.site = site
        self.yard = yard
        self.receiver = receiver
        self.console = ""
        self.control = ""
        self.metrics = ""
        self.reloads = 0
        self._count = 0

    async def alarm(self, **details: Any) -> int:
        """Journal one alarm of the yard; its id."""
        self._count += 1
        details = {
            "native_id": str(self._count),
            "kind": Kind.PERSON,
            "occurred_at": datetime.now(UTC),
            "description": "Person at the gate",
            "device": "1",
            "device_name": self.yard.name,
            "raw": {"id": self._count},
            **details,
        }
        recorded = await self.site.journal.record("yard", [Alarm(**details)], None, lambda device: ("9998", 3))
        for dispatcher in self.site.dispatchers.values():
            dispatcher.wake()
        return recorded[0].id

    async def pictured(self, **details: Any) -> int:
        return await self.alarm(snapshot=Evidence.READY, video=Evidence.READY, **details)


async def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    """Wait until `condition` holds; it may be async."""
    with trio.fail_after(seconds):
        while True:
            found = condition()
            if hasattr(found, "__await__"):
                found = await found
            if found:
                return
            await trio.sleep(0.01)


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    return until


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    share = tmp_path / "share"
    share.mkdir()
    return Settings(
        site={"id": "test-01"},
        paths={"state_dir": tmp_path / "state", "log_dir": tmp_path / "log", "run_dir": tmp_path / "run"},
        patriot={"keys_file": tmp_path / "keys.json"},
        console={"listen": "127.0.0.1:0", "token": TOKEN, "public_url": "https://console.example"},
        media={"min_free_bytes": 0},
        share={"kind": "directory", "path": share},
        sources=[
            {
                "name": "yard",
                "kind": "davantis",
                "url": "http://192.0.2.1",
                "username": "admin",
                "password": "hidden-one",
                "account": "9998",
            }
        ],
        sinks=[{"name": "receiver", "kind": "sia-dc09", "host": "192.0.2.2", "port": 6500}],
    )


@pytest.fixture
async def place(settings: Settings) -> AsyncIterator[Place]:
    store = Store.open(settings.paths.database)
    try:
        async with trio.open_nursery() as nursery:
            yield await _open(settings, store, nursery)
            nursery.cancel_scope.cancel()
    finally:
        # After everything that writes has ended: a write that is handed to a closed store would wait for ever.
        store.close()


async def _open(settings: Settings, store: Store, nursery: trio.Nursery) -> Place:
    metrics = Metrics()
    metrics.add_source("yard", "davantis")
    metrics.add_sink("receiver")
    journal = Journal(
        store, metrics, lambda connection, entry: outboxes.enqueue(connection, entry, settings.sinks, datetime.now(UTC))
    )
    yard, receiver = Yard(), Receiver("receiver")
    pollers: dict[str, Poller] = {}
    keys = Keys(settings.patriot.keys_file)
    supervisor = Supervisor()
    await nursery.start(supervisor.run)

    async def reload() -> None:
        found.reloads += 1

    site = Site(
        settings=settings,
        config=None,
        store=store,
        metrics=metrics,
        supervisor=supervisor,
        journal=journal,
        outbox=Outbox(store),
        keys=keys,
        registry=Registry(store, settings.paths.clients, keys),
        batches=Batches(store, settings, open_share(settings.share), metrics),
        evidence=EvidenceKeeper(journal, pollers, settings.paths.media, settings.media, metrics),
        reload=reload,
        pollers=pollers,
    )
    found = Place(site, yard, receiver)
    pollers["yard"] = Poller(settings.sources[0], yard, journal, metrics)
    site.dispatchers["receiver"] = Dispatcher(settings.sinks[0], receiver, site.outbox, metrics)
    supervisor.start(Service("yard", pollers["yard"].run))
    supervisor.start(Service("receiver", site.dispatchers["receiver"].run))
    supervisor.start(Service("evidence", site.evidence.run))
    supervisor.start(Service("batches", site.batches.run))
    await _listen(found, nursery)
    await until(lambda: pollers["yard"].state == "up" and site.dispatchers["receiver"].state == "up")
    return found


READ_TIMEOUT_S = 1.0  # shorter than anybody would set it, so that a test sees what it cuts off


async def _listen(found: Place, nursery: trio.Nursery) -> None:
    site = found.site
    tcp = partial(serving.listen_tcp, "127.0.0.1", 0)
    found.console = await nursery.start(
        partial(serving.serve, read_timeout_s=READ_TIMEOUT_S), build_console(site), tcp(), found.site.stopping
    )
    found.metrics = await nursery.start(
        partial(serving.serve, read_timeout_s=READ_TIMEOUT_S), build_metrics(site), tcp(), found.site.stopping
    )
    unix = serving.listen_unix(site.settings.paths.control_socket)
    found.control = await nursery.start(
        partial(serving.serve, read_timeout_s=READ_TIMEOUT_S), build_control(site), unix, found.site.stopping
    )
    site.listeners.update(console=found.console, metrics=found.metrics)


@pytest.fixture
async def bearer(place: Place) -> AsyncIterator[httpx.AsyncClient]:
    """A program with the console token."""
    async with httpx.AsyncClient(
        base_url=place.console, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20
    ) as made:
        yield made


@pytest.fixture
async def stranger(place: Place) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that has not logged in."""
    async with httpx.AsyncClient(base_url=place.console, timeout=20) as made:
        yield made


@pytest.fixture
async def local(place: Place) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody on the control socket."""
    transport = httpx.AsyncHTTPTransport(uds=place.control)
    async with httpx.AsyncClient(transport=transport, base_url="http://varde", timeout=20) as made:
        yield made


@pytest.fixture
async def registered(place: Place) -> str:
    """A client of the key Alarm24, 9998, with a hostile name; its import id."""
    document = [{"key_name": "Alarm24", "key": "a secret key", "enabled": True, "port": "BASE11"}]
    place.site.keys.path.write_text(json.dumps(document))
    place.site.keys.reload()
    key = place.site.keys.by_name("Alarm24")
    assert key is not None
    await place.site.registry.put_client(key, 9998, {"Name": "Ola Nordmann <b>&", "Location": "Gate 1"})
    await place.site.registry.put_zone(key, 9998, {"Zone_No": 3, "Zone_area": "Stue"})
    return key.import_id(9998)


@pytest.fixture
def troubles() -> dict[str, Exception]:
    return {
        "unreachable": Fault(FaultClass.UNREACHABLE, "yard does not answer.", hint="Check the cable."),
        "rejected": Rejected("unknown account"),
    }
