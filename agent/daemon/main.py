"""The process on one screen: open the store, start a visible list of services, wait for a signal, drain, close.

store ─→ services: keys · registry · batches · polling of each source · dispatch of each sink · evidence · retention
                   Patriot client API · console · control socket · metrics · gauges · systemd
SIGTERM ─→ listeners drain (requests in flight finish) ─→ services are cancelled ─→ store closed ─→ 0
SIGHUP  ─→ reload
"""

import logging
import os
import resource
import signal
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from agent import __version__, health, logs
from agent.alarms.retention import Retirement
from agent.daemon.listeners import Listening
from agent.daemon.reload import Reloader
from agent.daemon.wiring import build_site, start_sink, start_source
from agent.notify import notify, watchdog_s
from agent.resolver import Resolver
from agent.settings import Settings
from agent.site import Site
from agent.store import Store, StoreError
from agent.supervise import Service

log = logging.getLogger("varde")

DRAIN_S = 7.0
LAST_RESORT_S = 9.5  # a stop never takes longer, whatever a share, a disk or a library does
HEARTBEAT_S = 5.0
OPEN_FILES = 65536


class CannotStart(Exception):
    """The daemon cannot run at all; the text says what to do."""


async def run_daemon(
    settings: Settings,
    config: Path | None = None,
    *,
    stop: trio.Event | None = None,
    task_status: trio.TaskStatus[Site] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run until SIGTERM, SIGINT or `stop`; `task_status.started` gives the site once every service runs.

    Raises `CannotStart`. With `stop` given, signals are left to the caller.
    """
    problem = logs.set_up(settings.log, settings.paths.log_dir)
    _allow_connections()
    trio.socket.set_custom_hostname_resolver(Resolver())
    log.info("varde %s starts, site=%s", __version__, settings.site.id)
    async with _open_store(settings) as store, trio.open_nursery() as nursery:
        site = build_site(settings, store, config)
        reloader = Reloader(site, config)
        site.reload = reloader.reload
        if problem:
            site.problems["log-directory"] = problem
        await nursery.start(site.supervisor.run)
        listening = Listening(site)
        await _start(site, listening)
        nursery.start_soon(_tell_systemd, site)
        task_status.started(site)
        await (stop.wait() if stop is not None else _signals(reloader))
        await _drain(site, listening)
        nursery.cancel_scope.cancel()
    log.info("varde has stopped")


def _allow_connections() -> None:
    """Raise the number of open files as far as the system lets us: the usual 1,024 are gone with as many callers who
    open a connection and say nothing, and then no device can be polled and no alarm written.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _start(site: Site, listening: Listening) -> None:
    settings, supervisor = site.settings, site.supervisor
    site.keys.reload()
    await site.registry.reconcile(at_start=True)
    for service in (
        Service("keys", site.keys.run),
        Service("registry", site.registry.run),
        Service("batches", site.batches.run),
        Service("evidence", site.evidence.run),
        Service("retention", Retirement(site.store, lambda: site.settings.retention, settings.paths.media).run),
    ):
        supervisor.start(service)
    for index, source in enumerate(settings.sources):
        start_source(site, source, index)
    for sink in settings.sinks:
        start_sink(site, sink)
    supervisor.start(Service("wake", lambda: _wake_dispatchers(site)))
    listening.start()
    await listening.settled()


async def _wake_dispatchers(site: Site) -> None:
    """Ring through: what the journal has taken, every sink looks at."""
    while True:
        rung = site.journal.changed.listen()
        for dispatcher in site.dispatchers.values():
            dispatcher.wake()
        await rung.wait()


async def _signals(reloader: Reloader) -> None:
    """Returns when the process is to stop."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            if number != signal.SIGHUP:
                log.info("stopping on %s", signal.Signals(number).name)
                return
            await reloader.reload()


async def _drain(site: Site, listening: Listening) -> None:
    notify(STOPPING="1")
    _arm_last_resort()
    site.stopping.set()
    with trio.move_on_after(DRAIN_S):
        await listening.drained()


def _arm_last_resort() -> None:
    """End the process even if a thread is stuck in a library or on a dead disk; everything acknowledged is durable."""
    timer = threading.Timer(LAST_RESORT_S, lambda: os._exit(0))
    timer.daemon = True
    timer.start()
    _last_resorts.append(timer)


_last_resorts: list[threading.Timer] = []


@asynccontextmanager
async def _open_store(settings: Settings) -> AsyncIterator[Store]:
    try:
        store = await trio.to_thread.run_sync(Store.open, settings.paths.database)
    except StoreError as error:
        raise CannotStart(str(error)) from None
    try:
        yield store
    finally:
        store.close()
        while _last_resorts:
            _last_resorts.pop().cancel()


async def _tell_systemd(site: Site) -> None:
    """READY once every service runs; STATUS in one sentence; WATCHDOG only while no service is stuck.

    A turn goes through the store's writer: a process whose disk has stopped is not alive. One whose disk refuses is:
    a new start would find the same disk.
    """
    pause_s = min(HEARTBEAT_S, (watchdog_s() or HEARTBEAT_S * 2) / 2)
    ready = False
    while True:
        try:
            await site.store.write(lambda connection: None)
            site.problems.pop("disk", None)
        except sqlite3.Error as error:
            site.problems["disk"] = f"The database cannot be written: {error}. Check the disk's free space and health."
        fields = {"STATUS": health.headline(site)}
        if not ready and site.supervisor.ready():
            ready = True
            fields["READY"] = "1"
        if site.supervisor.alive():
            fields["WATCHDOG"] = "1"
        notify(**fields)
        await trio.sleep(pause_s if ready else 0.2)
