"""The parts of the process and how they know each other. No I/O here: what runs is started by `main.py`."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from agent import sinks, vendors
from agent.alarms.dispatch import Dispatcher
from agent.alarms.evidence import EvidenceKeeper
from agent.alarms.journal import Journal
from agent.alarms.model import JournalledAlarm
from agent.alarms.outbox import Outbox, enqueue
from agent.alarms.polling import Poller
from agent.alarms.schedule import phase
from agent.metrics import Metrics
from agent.patriot.combine import Batches
from agent.patriot.keys import Keys
from agent.patriot.registry import Registry
from agent.patriot.share import open_share
from agent.settings import Settings
from agent.settings.sinks import SinkSettings
from agent.settings.sources import SourceSettings
from agent.site import Site
from agent.store import Store
from agent.supervise import Service, Supervisor
from agent.web.links import picture_link


def build_site(settings: Settings, store: Store, config: Path | None) -> Site:
    metrics = Metrics()
    metrics.watch_disk(settings.paths.state_dir)
    keys = Keys(settings.patriot.keys_file, lambda valid: metrics.keys_file_valid.set(valid))
    site: Site

    def count_held(sink: str) -> None:
        metrics.deliveries_held.labels(sink).inc()

    def write_outbox(connection: sqlite3.Connection, alarm: JournalledAlarm) -> None:
        enqueue(connection, alarm, site.settings.sinks, datetime.now(UTC), count_held)

    journal = Journal(store, metrics, write_outbox)
    pollers: dict[str, Poller] = {}
    site = Site(
        settings=settings,
        config=config,
        store=store,
        metrics=metrics,
        supervisor=Supervisor(),
        journal=journal,
        outbox=Outbox(store),
        keys=keys,
        registry=Registry(store, settings.paths.clients, keys),
        batches=Batches(store, settings, open_share(settings.share) if settings.share else None, metrics),
        evidence=EvidenceKeeper(journal, pollers, settings.paths.media, settings.media, metrics),
        pollers=pollers,
    )
    metrics.before_scrape(lambda: _refresh(site))
    if store.set_aside is not None:
        site.problems["database"] = (
            f"The database was damaged and an empty one has taken its place. The old one is kept as {store.set_aside}: "
            "keep it and call support; what it held is not delivered."
        )
    return site


def _refresh(site: Site) -> None:
    for dispatcher in site.dispatchers.values():
        dispatcher.refresh()


def start_source(site: Site, settings: SourceSettings, index: int) -> None:
    site.metrics.add_source(settings.name, settings.kind)
    poller = Poller(
        settings,
        vendors.build(settings),
        site.journal,
        site.metrics,
        phase_s=phase(index, settings.poll_interval_s),
    )
    site.pollers[settings.name] = poller
    site.supervisor.start(Service(f"source-{settings.name}", poller.run, poller.alive))


async def stop_source(site: Site, settings: SourceSettings) -> None:
    await site.supervisor.stop(f"source-{settings.name}")
    del site.pollers[settings.name]
    site.metrics.remove_source(settings.name, settings.kind)


def start_sink(site: Site, settings: SinkSettings) -> None:
    site.metrics.add_sink(settings.name)
    sink = sinks.build(
        site.settings,
        settings,
        outbox=site.outbox,
        zone_name=lambda account, zone: _zone_name(site, account, zone),
        link=lambda alarm: picture_link(site, alarm),
    )
    dispatcher = Dispatcher(settings, sink, site.outbox, site.metrics)
    site.dispatchers[settings.name] = dispatcher
    site.supervisor.start(Service(f"sink-{settings.name}", dispatcher.run, dispatcher.alive))


async def stop_sink(site: Site, settings: SinkSettings) -> None:
    await site.supervisor.stop(f"sink-{settings.name}")
    del site.dispatchers[settings.name]
    site.metrics.remove_sink(settings.name)


def _zone_name(site: Site, account: str, zone: int) -> str | None:
    """The zone's name as an installer registered it, of the client whose number is the account."""
    if not account.isdecimal():
        return None
    sql = "SELECT json_extract(zones_json, '$.\"' || ? || '\".Zone_area') FROM clients WHERE client_id = ? LIMIT 1"
    row = site.store.read_now(lambda c: c.execute(sql, (str(zone), int(account))).fetchone())
    return str(row[0]) if row and row[0] else None
