"""`GET /api/v1/status`: the whole site in one object, for `varde status`, the console and whoever asks."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agent import __version__, health
from agent.alarms.model import instant

if TYPE_CHECKING:
    from agent.site import Site


async def status(site: "Site") -> dict[str, Any]:
    """Causes only in `warnings`, the worst first; `state` is "ok", "degraded" or "failing"."""
    last_batch = await site.batches.last()
    return {
        "site": site.settings.site.id,
        "version": __version__,
        "started_at": instant(site.started_at),
        "uptime_s": round((datetime.now(UTC) - site.started_at).total_seconds(), 1),
        "state": health.state(site),
        "headline": health.headline(site),
        "warnings": [asdict(warning) for warning in health.warnings(site)],
        "services": site.supervisor.services(),
        "sources": [poller.status() for poller in site.pollers.values()],
        "sinks": [dispatcher.status() for dispatcher in site.dispatchers.values()],
        "share": site.batches.share_status(),
        "last_batch": last_batch,
        "next_batch_at": next_batch_at(site),
        "listeners": dict(site.listeners),
        "not_configured": health.not_configured(site),
        "problems": dict(site.problems),
    }


def next_batch_at(site: "Site") -> str | None:
    moment = site.batches.next_at()
    return None if moment is None else instant(moment)
