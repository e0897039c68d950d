"""SIGHUP: read configuration and keys again; sources, sinks and a share that changed are exchanged, the others go on.

broken file ──→ the old settings stay, said in the log and as a problem
good file ────→ removed stop · changed stop and start · new start; what only a start can change is named
"""

import logging
from pathlib import Path

import trio

from agent import logs
from agent.daemon.wiring import start_sink, start_source, stop_sink, stop_source
from agent.settings import ConfigurationError, Settings, load
from agent.site import Site

log = logging.getLogger("varde.reload")

NEEDS_START = ("site", "paths", "patriot", "combine", "share", "console", "metrics", "media")


class Reloader:
    def __init__(self, site: Site, config: Path | None) -> None:
        self._site = site
        self._config = config
        self._lock = trio.Lock()

    async def reload(self) -> None:
        """One reload at a time. Never raises for a bad file."""
        async with self._lock:
            self._site.keys.reload()
            try:
                settings = load(self._config)
            except ConfigurationError as error:
                self._refuse(error)
            else:
                self._site.problems.pop("reload", None)
                await self._apply(settings)
            self._site.batches.retry_now()

    def _refuse(self, error: ConfigurationError) -> None:
        for fault in error.faults:
            log.error("reload refused: %s", fault)
        more = f" and {len(error.faults) - 1} more" if len(error.faults) > 1 else ""
        self._site.problems["reload"] = f"The changed configuration is not used: {error.faults[0]}{more}."

    async def _apply(self, settings: Settings) -> None:
        site, old = self._site, self._site.settings
        waiting = [table for table in NEEDS_START if getattr(settings, table) != getattr(old, table)]
        if "share" in waiting and settings.share is not None and old.share is not None:
            waiting.remove("share")
        site.problems.pop("restart", None)
        if waiting:
            names = ", ".join(f"[{table}]" for table in waiting)
            site.problems["restart"] = f"Changes of {names} wait for a restart: systemctl restart varde-agent."
            log.warning("changes of %s take effect at the next start", names)
        # What needs a start keeps its old value, so that the status tells what is in force.
        site.settings = settings.model_copy(update={table: getattr(old, table) for table in waiting})
        if site.settings.share != old.share:
            site.batches.exchange(site.settings)
        if settings.log != old.log:
            logs.set_up(settings.log, old.paths.log_dir)
        await self._exchange_sources(old, settings)
        await self._exchange_sinks(old, settings)
        log.info("reloaded: %d sources, %d sinks", len(settings.sources), len(settings.sinks))

    async def _exchange_sources(self, old: Settings, new: Settings) -> None:
        wanted = {source.name: source for source in new.sources}
        for before in old.sources:
            if wanted.get(before.name) != before:
                await stop_source(self._site, before)
        for index, source in enumerate(new.sources):
            if source.name not in self._site.pollers:
                start_source(self._site, source, index)

    async def _exchange_sinks(self, old: Settings, new: Settings) -> None:
        wanted = {sink.name: sink for sink in new.sinks}
        for before in old.sinks:
            if wanted.get(before.name) != before:
                await stop_sink(self._site, before)
        for sink in new.sinks:
            if sink.name not in self._site.dispatchers:
                start_sink(self._site, sink)
