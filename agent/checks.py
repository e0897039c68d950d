"""`varde check` and the console's Health page: each configured thing tried for real, each failure with its remedy.

passed · warning (works, and will surprise you) · failed · skipped (hidden behind a cause, or not to be known here)
"""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import trio

from agent.alarms.model import Probing
from agent.faults import Fault
from agent.settings import Settings
from agent.settings.sinks import SinkSettings
from agent.settings.sources import SourceSettings
from agent.settings.types import ZoneAt

Result = Literal["passed", "warning", "failed", "skipped"]
PROBE_LIMIT_S = 45.0
LOW_DISK_BYTES = 200_000_000


@dataclass(frozen=True, slots=True)
class Check:
    """`id` is stable, for programs; `detail` says what was found, `remedy` what to do ("" when nothing is to do)."""

    id: str
    title: str
    result: Result
    detail: str
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


async def run(settings: Settings, config: Path | None = None) -> AsyncIterator[Check]:
    """Every check, as it is done: the box first, then the far ends, all in the order of the configuration."""
    for check in box(settings, config):
        yield check
    for source in settings.sources:
        yield await source_check(source)
    for sink in settings.sinks:
        yield await sink_check(settings, sink)
    if settings.share is not None:
        yield await share_check(settings)
    for check in accounts(settings):
        yield check


def box(settings: Settings, config: Path | None) -> Iterator[Check]:
    """What stands on this machine: configuration, directories, disk, clock, key file, certificates."""
    yield Check(
        "configuration", "Configuration", "passed", f"{config or 'defaults and /etc/varde/agent.toml'} is valid."
    )
    yield from _config_mode(settings, config)
    yield _directory("state-directory", "State directory", settings.paths.state_dir)
    yield from _log_directory(settings.paths.log_dir)
    yield _disk(settings.paths.state_dir, settings.media.min_free_bytes)
    yield clock()
    yield _keys(settings.patriot.keys_file)
    yield from _not_configured(settings)


def _config_mode(settings: Settings, config: Path | None) -> Iterator[Check]:
    if config is not None and config.exists() and config.stat().st_mode & 0o007:
        yield Check(
            "configuration-mode",
            "Configuration file's mode",
            "warning",
            f"Every user of this machine can read {config}, passwords included.",
            f"chmod 640 {config}; chgrp varde {config}",
        )
    console = settings.console
    if console.token is not None and not console.listen.is_loopback and console.tls_certificate is None:
        yield Check(
            "console-tls",
            "Console",
            "warning",
            f"The console listens on {console.listen} without TLS: its token crosses the network readable.",
            "Set console.tls_certificate and tls_key, or listen on 127.0.0.1 behind a proxy or VPN.",
        )


def _directory(check_id: str, title: str, path: Path) -> Check:
    nearest = path
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if os.access(nearest, os.W_OK | os.X_OK):
        return Check(check_id, title, "passed", f"{path} can be written.")
    return Check(
        check_id,
        title,
        "failed",
        f"{path} cannot be written by this user.",
        f"chown varde:varde {path}, or run as varde.",
    )


def _log_directory(path: Path) -> Iterator[Check]:
    """Told only where it is wrong, and no failure: the agent works without its files and logs to the journal."""
    check = _directory("log-directory", "Log directory", path)
    if check.result == "failed":
        yield replace(check, result="warning")


def _disk(path: Path, wanted: int) -> Check:
    while not path.exists():
        path = path.parent
    free = shutil.disk_usage(path).free
    said = f"{free / 1e9:.1f} GB free."
    if free < LOW_DISK_BYTES:
        return Check("disk", "Disk", "failed", said, "Free space now: the journal needs it to keep alarms.")
    if free < wanted:
        return Check(
            "disk", "Disk", "warning", f"{said} Pictures are not fetched below {wanted / 1e9:.1f} GB.", "Free space."
        )
    return Check("disk", "Disk", "passed", said)


def clock() -> Check:
    """Whether the clock is kept by the network: receivers turn away messages that are 20 seconds wrong."""
    try:
        answer = subprocess.run(
            ["timedatectl", "show", "-p", "NTPSynchronized", "--value"],  # noqa: S607 - where the system has it
            capture_output=True,
            text=True,
            timeout=5,
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        answer = ""
    if answer == "yes":
        return Check("clock", "Clock", "passed", "Kept by the network.")
    if answer == "no":
        return Check(
            "clock", "Clock", "warning", "Not kept by the network.", "apt install systemd-timesyncd, and allow NTP out."
        )
    return Check("clock", "Clock", "skipped", "This system does not tell whether its clock is kept by the network.")


def _keys(path: Path) -> Check:
    from agent.patriot.keys import Keys

    if not path.exists():
        return Check("keys", "API keys", "skipped", f"No key file ({path}): the client API answers 401 to everybody.",
                     "varde keys add NAME")  # fmt: skip
    keys = Keys(path)
    keys.reload()
    if keys.problems:
        return Check("keys", "API keys", "failed", " ".join(keys.problems), f"Correct {path}.")
    return Check("keys", "API keys", "passed", f"{len(keys.all)} in {path}.")


def _not_configured(settings: Settings) -> Iterator[Check]:
    parts = {"sources": settings.sources, "sinks": settings.sinks, "share": settings.share}
    missing = [name for name, part in parts.items() if not part]
    if missing:
        yield Check("not-configured", "Not configured", "skipped", f"{', '.join(missing)}.", "varde setup")


async def source_check(settings: SourceSettings) -> Check:
    """Log in to the device and read something."""
    from agent.vendors import build

    async def probe() -> str:
        source = build(settings)
        try:
            return await source.probe() if isinstance(source, Probing) else "It cannot be tried."
        finally:
            await source.aclose()

    return await _probe(f"source-{settings.name}", f"Source {settings.name} ({settings.kind})", probe)


async def sink_check(settings: Settings, sink: SinkSettings) -> Check:
    """Ask the far end for a sign of life."""
    return await _probe(f"sink-{sink.name}", f"Sink {sink.name} ({sink.kind})", partial(_sink, settings, sink))


async def share_check(settings: Settings) -> Check:
    """Write, rename and delete a probe file."""
    return await _probe("share", "Central share", partial(_share, settings))


async def _sink(settings: Settings, sink: SinkSettings) -> str:
    from agent.sinks import build

    probed: str = await build(settings, sink).probe()
    return probed


async def _share(settings: Settings) -> str:
    from agent.patriot.share import open_share, probe

    assert settings.share is not None
    return await probe(open_share(settings.share), settings.share.remote_path)


async def _probe(check_id: str, title: str, probe: Callable[[], Awaitable[str]]) -> Check:
    try:
        with trio.fail_after(PROBE_LIMIT_S):
            return Check(check_id, title, "passed", await probe())
    except Fault as fault:
        return Check(check_id, title, "failed", fault.message, fault.hint or "Correct the setting, then try again.")
    except trio.TooSlowError:
        return Check(check_id, title, "failed", f"No answer within {PROBE_LIMIT_S:g} s.", "Check the line.")


def accounts(settings: Settings) -> Iterator[Check]:
    """Accounts and zones of the configuration that no registered client has: the receiver would show a number only."""
    if not settings.sources or not settings.sinks or not settings.paths.database.exists():
        return
    registered = _registered(settings.paths.database)
    unknown = sorted(
        f"{account} zone {zone}" if account in registered else account
        for account, zone in _configured_places(settings)
        if account not in registered or (zone and zone not in registered[account])
    )
    if unknown:
        yield Check(
            "accounts",
            "Accounts and zones",
            "warning",
            f"No registered client has {', '.join(dict.fromkeys(unknown))}.",
            "Register the client and its zones through the client API, or correct account and zones of the source.",
        )


def _configured_places(settings: Settings) -> set[tuple[str, int]]:
    places = set()
    for source in settings.sources:
        if source.account:
            places.add((source.account, 0))
        for target in source.zones.values():
            if isinstance(target, ZoneAt):
                places.add((target.account, target.zone))
            elif source.account:
                places.add((source.account, target))
    return places


def _registered(database: Path) -> dict[str, set[int]]:
    """Account -> zone numbers of the registered clients."""
    import json

    try:
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        try:
            rows = connection.execute("SELECT client_id, zones_json FROM clients").fetchall()
        finally:
            connection.close()
    except sqlite3.Error:
        return {}
    return {str(client_id): {int(zone) for zone in json.loads(zones)} for client_id, zones in rows}
