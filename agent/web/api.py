"""The agent API: `/api/v1/…`, the same on the console listener and on the control socket.

Handlers are thin: they read what the caller chose (`queries.py`), ask the site, and word the answer (`answers.py`).
"""

from dataclasses import asdict
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agent import checks, health
from agent.alarms import dispatch
from agent.alarms.model import Media
from agent.alarms.outbox import STATES
from agent.web import actions, audit, queries, status
from agent.web.answers import Answer, fail
from agent.web.doors import caller
from agent.web.media import evidence
from agent.web.queries import site_of
from agent.web.stream import AlarmStream

if TYPE_CHECKING:
    from agent.site import Site


async def get_status(request: Request) -> Response:
    return Answer(await status.status(site_of(request)))


async def get_health(request: Request) -> Response:
    site = site_of(request)
    warnings = [asdict(warning) for warning in health.warnings(site)]
    return Answer({"state": health.state(site), "headline": health.headline(site), "warnings": warnings})


async def get_checks(request: Request) -> Response:
    """Tries every configured thing for real: takes as long as the slowest of them."""
    site = site_of(request)
    return Answer({"checks": [check.as_json() async for check in checks.run(site.settings, site.config)]})


async def get_sources(request: Request) -> Response:
    return Answer([poller.status() for poller in site_of(request).pollers.values()])


async def get_devices(request: Request) -> Response:
    """Cameras, doors, zones, inputs and relays of a source by the device's own ids: the targets of its actions."""
    return Answer(await actions.devices(site_of(request), request.path_params["name"]))


async def post_action(request: Request) -> Response:
    body = await queries.json_object(request)
    action = queries.text_of(body, "action")
    target = queries.text_of(body, "target", required=False)
    unknown = sorted(set(body) - {"action", "target"})
    if unknown:
        fail(422, f"Unknown fields: {', '.join(unknown)[:200]}. Known: action, target.")
    result = await actions.perform(site_of(request), caller(request).who, request.path_params["name"], action, target)
    return Answer({"outcome": result.outcome, "detail": result.detail}, result.status)


async def get_alarms(request: Request) -> Response:
    """A page in journal order; with `newest=true` the newest page, in journal order all the same."""
    site = site_of(request)
    newest = queries.choice(request, "newest", ["true", "false"]) == "true"
    after = queries.after(request)
    found = await site.journal.alarms(
        after=after,
        before=queries.number(request, "before", 0) or None,
        limit=queries.limit(request),
        newest_first=newest,
        source=queries.word(request, "source"),
        kind=queries.kind(request),
        since=queries.moment(request, "since"),
        until=queries.moment(request, "until"),
    )
    found.sort(key=lambda entry: entry.id)
    return Answer({"alarms": await site.journal.objects(found), "next": found[-1].id if found else after})


async def get_alarm(request: Request) -> Response:
    site = site_of(request)
    alarm_id = queries.path_number(request, "alarm")
    entry = await site.journal.alarm(alarm_id)
    if entry is None:
        fail(404, f"There is no alarm {alarm_id}.")
    return Answer((await site.journal.objects([entry]))[0])


async def get_snapshot(request: Request) -> Response:
    return await evidence(site_of(request), queries.path_number(request, "alarm"), Media.SNAPSHOT)


async def get_video(request: Request) -> Response:
    return await evidence(site_of(request), queries.path_number(request, "alarm"), Media.VIDEO)


async def get_stream(request: Request) -> Response:
    """From `Last-Event-ID`, else from `after`, else from now."""
    site = site_of(request)
    last_event_id = request.headers.get("Last-Event-ID", "")
    if last_event_id.isascii() and last_event_id.isdecimal() and len(last_event_id) < 19:
        after = int(last_event_id)
    elif request.query_params.get("after"):
        after = queries.after(request)
    else:
        after = await site.journal.last_id()
    return AlarmStream(site, after, queries.word(request, "source"), queries.kind(request))


async def get_audit(request: Request) -> Response:
    after = queries.after(request)
    entries = await audit.page(site_of(request).store, after=after, limit=queries.limit(request))
    return Answer({"audit": entries, "next": entries[-1]["id"] if entries else after})


async def get_deliveries(request: Request) -> Response:
    found, following = await site_of(request).outbox.list(
        state=queries.choice(request, "state", STATES),
        sink=queries.word(request, "sink"),
        after=queries.after(request),
        limit=queries.limit(request),
    )
    return Answer({"deliveries": found, "next": following})


async def post_retry(request: Request) -> Response:
    """Send a rejected or waiting delivery again, now."""
    site = site_of(request)
    delivery_id = queries.path_number(request, "delivery")
    if await delivery(site, delivery_id) is None:
        fail(404, f"There is no delivery {delivery_id}.")
    if not await dispatch.retry(site.outbox, site.dispatchers, delivery_id):
        fail(409, f"Delivery {delivery_id} is acknowledged already.")
    return Answer(await delivery(site, delivery_id))


async def delivery(site: "Site", delivery_id: int) -> dict[str, object] | None:
    page, _ = await site.outbox.list(after=max(0, delivery_id - 1), limit=1)
    return page[0] if page and page[0]["id"] == delivery_id else None


async def post_reload(request: Request) -> Response:
    """As SIGHUP does: a configuration that cannot be used keeps the old one and is said in `problems`."""
    site = site_of(request)
    await site.reload()
    if "reload" in site.problems:
        fail(409, site.problems["reload"])
    return Answer({"problems": dict(site.problems)})


async def post_console_link(request: Request) -> Response:
    """A link that logs in once; on the control socket only."""
    site = site_of(request)
    address = site.settings.console.public_url or site.listeners.get("console")
    if address is None:
        fail(409, "The console is not served; the log says why its address could not be listened on.")
    return Answer({"url": f"{address}/login/{site.access.make_link()}"}, 201)


def routes() -> list[Route]:
    api = "/api/v1"
    return [
        Route(f"{api}/status", get_status),
        Route(f"{api}/health", get_health),
        Route(f"{api}/checks", get_checks),
        Route(f"{api}/sources", get_sources),
        Route(f"{api}/sources/{{name}}/devices", get_devices),
        Route(f"{api}/sources/{{name}}/actions", post_action, methods=["POST"]),
        Route(f"{api}/alarms", get_alarms),
        Route(f"{api}/alarms/stream", get_stream),
        Route(f"{api}/alarms/{{id}}", get_alarm),
        Route(f"{api}/alarms/{{id}}/snapshot", get_snapshot),
        Route(f"{api}/alarms/{{id}}/video", get_video),
        Route(f"{api}/audit", get_audit),
        Route(f"{api}/deliveries", get_deliveries),
        Route(f"{api}/deliveries/{{id}}/retry", post_retry, methods=["POST"]),
        Route(f"{api}/reload", post_reload, methods=["POST"]),
    ]


def control_routes() -> list[Route]:
    return [Route("/api/v1/console-link", post_console_link, methods=["POST"])]
