"""Batches on the agent API: what went to the central share, and sending now."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agent.faults import Fault
from agent.patriot import batch_views
from agent.web import queries
from agent.web.answers import Answer, fail
from agent.web.doors import caller
from agent.web.queries import site_of


async def get_batches(request: Request) -> Response:
    """Oldest first, or with `newest=true` the newest first."""
    after = queries.after(request)
    newest = queries.choice(request, "newest", ["true", "false"]) == "true"
    listing = partial(batch_views.list_batches, after=after, limit=queries.limit(request), newest_first=newest)
    found = await site_of(request).store.read(listing)
    return Answer({"batches": found, "next": max((batch["id"] for batch in found), default=after)})


async def get_batch(request: Request) -> Response:
    batch_id = queries.path_number(request, "batch")
    found = await site_of(request).store.read(partial(batch_views.batch, batch_id=batch_id))
    if found is None:
        fail(404, f"There is no batch {batch_id}.")
    return Answer(found)


async def post_batch(request: Request) -> Response:
    """Run one now and wait for its end. A batch that failed is an answer too: see its `outcome`."""
    try:
        batch = await site_of(request).batches.run_once(caller(request).who)
    except Fault as fault:
        fail(409, str(fault))
    return Answer(batch.as_json())


def routes() -> list[Route]:
    return [
        Route("/api/v1/batches", get_batches),
        Route("/api/v1/batches", post_batch, methods=["POST"]),
        Route("/api/v1/batches/{id}", get_batch),
    ]
