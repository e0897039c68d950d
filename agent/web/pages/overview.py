"""The Site page: is everything all right, and if not, what to do."""

from datetime import timedelta
from typing import Any

import trio
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from agent import health
from agent.alarms.model import parse_instant
from agent.alarms.polling import Poller
from agent.patriot import views
from agent.web.pages import lists, plots
from agent.web.pages.frame import Frame
from agent.web.pages.warnings import tell

LATEST = 8


async def get_site(request: Request) -> Response:
    frame = Frame(request)
    site = frame.site
    newest = await lists.alarms(site.store, lists.Filter(), limit=LATEST)
    return frame.page(
        "site.html",
        "site",
        state=health.state(site),
        warnings=[tell(frame, warning) for warning in health.warnings(site)],
        missing=health.not_configured(site),
        newest=newest,
        last=_last(frame, newest),
        sources=[_source(frame, poller) for poller in site.pollers.values()],
        sinks=[dispatcher.status() for dispatcher in site.dispatchers.values()],
        share=site.batches.share_status(),
        next_batch_at=site.batches.next_at(),
        last_batch=await site.batches.last(),
        clients=await views.count_by_state(site.store),
    )


def _last(frame: Frame, newest: list[lists.Entry]) -> str | Markup:
    """One sentence about the newest alarm, for a site where everything works."""
    if not newest:
        return frame.t("site.no_alarm")
    entry = newest[0]
    time = frame.clock.time(entry.alarm.alarm.occurred_at)
    acknowledged = [row["acknowledged_at"] for row in entry.deliveries if row["state"] == "acknowledged"]
    if acknowledged and len(acknowledged) == len(entry.deliveries):
        took = parse_instant(max(acknowledged)) - entry.alarm.received_at
        duration = frame.clock.duration(max(took, timedelta()).total_seconds())
        return frame.marked_up("site.last.acknowledged", time=time, duration=duration)
    key = "site.last.waiting" if any(row["state"] == "pending" for row in entry.deliveries) else "site.last"
    return frame.marked_up(key, time=time)


def _source(frame: Frame, poller: Poller) -> dict[str, Any]:
    now = trio.current_time()
    minutes = poller.history.alarms_by_minute(now)
    count = sum(minutes)
    sentence = frame.t("plot.hour.none")
    if count:
        ago = len(minutes) - 1 - max(range(len(minutes)), key=lambda index: (minutes[index], index))
        sentence = frame.t("plot.hour", count=count, minutes=ago)
    return {
        **poller.status(),
        "fault": poller.fault,
        "rate": f"{poller.history.polls_per_second(now):.1f}",
        "plot": plots.bars(minutes, sentence),
    }
