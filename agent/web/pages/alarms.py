"""The alarm list with its filters in the address, and one alarm's own page."""

import json
from datetime import date
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from agent.alarms import dispatch
from agent.alarms.model import Acting, Evidence, Kind, parse_instant
from agent.web import queries
from agent.web.answers import fail
from agent.web.pages import lists, plots
from agent.web.pages.frame import Frame, see
from agent.web.queries import site_of

DELIVERIES = ("pending", "rejected")
LONGEST_RAW = 200_000


async def get_alarms(request: Request) -> Response:
    frame = Frame(request)
    chosen = _chosen(frame, request)
    before = queries.number(request, "before", 0) or None
    found = await lists.alarms(frame.site.store, chosen["filter"], before=before, limit=lists.PAGE + 1)
    begin, _ = chosen["filter"].day or frame.clock.day_bounds(None)
    query = {key: chosen[key] for key in ("source", "kind", "day", "delivery") if chosen[key]}
    return frame.page(
        "alarms.html",
        "alarms",
        alarms=found[: lists.PAGE],
        older=urlencode({**query, "before": found[lists.PAGE - 1].id}) if len(found) > lists.PAGE else None,
        newest=urlencode(query),
        before=before,
        chosen=chosen,
        filtered=bool(query),
        sources=sorted(frame.site.pollers),
        kinds=[kind.value for kind in Kind],
        deliveries=DELIVERIES,
        plot=await _day_plot(frame, begin, chosen["source"]),
        plotted=begin.astimezone(frame.clock.zone).date(),
    )


def _chosen(frame: Frame, request: Request) -> dict[str, Any]:
    """The filter and its values as they stand in the address; an unknown source may be one of former days."""
    kind = queries.kind(request)
    day = request.query_params.get("day") or None
    bounds = None
    if day is not None:
        try:
            bounds = frame.clock.day_bounds(date.fromisoformat(day))
        except (ValueError, OverflowError):
            fail(422, "day: must be a date, for instance 2026-01-31.")
    source = queries.word(request, "source")
    delivery = queries.choice(request, "delivery", DELIVERIES)
    return {
        "filter": lists.Filter(source, kind, delivery, bounds),
        "source": source,
        "kind": kind.value if kind else None,
        "day": day,
        "delivery": delivery,
    }


async def _day_plot(frame: Frame, begin: Any, source: str | None) -> Markup:
    counts = await lists.quarters(frame.site.store, begin, source)
    sentence = frame.t("plot.day.none")
    if any(counts):
        most = max(counts)
        at = counts.index(most)
        said = frame.t("plot.day.many", count=most) if most >= lists.MOST_IN_QUARTER else most
        sentence = frame.t("plot.day", time=f"{at // 4:02}:{at % 4 * 15:02}", count=said)
    return plots.bars(counts, sentence)


async def get_alarm(request: Request) -> Response:
    frame = Frame(request)
    alarm_id = queries.path_number(request, "alarm")
    entry = await lists.alarm(frame.site.store, alarm_id)
    if entry is None:
        fail(404, f"There is no alarm {alarm_id}.")
    media = await lists.media(frame.site.store, alarm_id)
    previous, following = await lists.neighbours(frame.site.store, alarm_id)
    raw = json.dumps(dict(entry.alarm.alarm.raw), indent=2, ensure_ascii=False)[:LONGEST_RAW]
    return frame.page(
        "alarm.html",
        "alarms",
        entry=entry,
        alarm=entry.alarm.alarm,
        # As UTF-8 can carry it: a device's text may hold half of a surrogate pair.
        raw=raw.encode("utf-8", "replace").decode("utf-8"),
        timeline=_timeline(frame, entry, media),
        previous=previous,
        following=following,
        can_acknowledge=_can_acknowledge(frame, entry),
    )


def _can_acknowledge(frame: Frame, entry: lists.Entry) -> bool:
    poller = frame.site.pollers.get(entry.alarm.source)
    return poller is not None and isinstance(poller.source, Acting) and "acknowledge" in poller.source.actions


def _timeline(frame: Frame, entry: lists.Entry, media: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What happened when, in order; what has not happened yet stands at the end without a time."""
    alarm = entry.alarm
    steps: list[dict[str, Any]] = [
        {"text": frame.t("alarm.occurred"), "at": alarm.alarm.occurred_at},
        {"text": frame.t("alarm.received"), "at": alarm.received_at},
    ]
    for medium in ("snapshot", "video"):
        row = media.get(medium)
        if row and row["state"] == Evidence.READY.value and row["fetched_at"]:
            steps.append({"text": frame.t(f"alarm.{medium}"), "at": parse_instant(row["fetched_at"])})
    for row in entry.deliveries:
        at = parse_instant(row["acknowledged_at"]) if row["acknowledged_at"] else None
        steps.append({"text": frame.t(f"alarm.{row['state']}", sink=row["sink"]), "at": at})
    first = min(alarm.alarm.occurred_at, alarm.received_at)
    steps.sort(key=lambda step: (step["at"] is None, step["at"] or first))
    for step in steps:
        step["later"] = ""
        if step["at"] is not None and step["at"] > first:
            step["later"] = frame.t("alarm.later", duration=frame.clock.duration((step["at"] - first).total_seconds()))
    return steps


async def post_retry(request: Request) -> Response:
    """Send a rejected or waiting delivery again."""
    site = site_of(request)
    fields = await queries.form(request)
    await dispatch.retry(site.outbox, site.dispatchers, queries.path_number(request, "delivery"))
    alarm = fields.get("alarm", "")
    return see(f"/alarms/{alarm}#deliveries" if alarm.isascii() and alarm.isdecimal() else "/alarms")
