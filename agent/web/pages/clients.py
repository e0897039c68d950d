"""Clients and batches: how far each is on its way to Patriot, and Patriot's own words where it failed."""

from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

from lxml import etree
from starlette.requests import Request
from starlette.responses import Response

from agent.faults import Fault
from agent.patriot import batch_views, records, views
from agent.patriot.row import row
from agent.web import clients as steering
from agent.web import queries
from agent.web.answers import fail
from agent.web.doors import caller
from agent.web.pages import lists
from agent.web.pages.frame import Frame, see
from agent.web.queries import site_of

PAGE = 50
BATCHES = 12
LOCK_S = 3600.0


async def get_clients(request: Request) -> Response:
    frame = Frame(request)
    store = frame.site.store
    state = queries.choice(request, "state", views.STATES)
    wanted = request.query_params.get("client", "").strip()
    page = await views.list_clients(store, state, queries.after(request), PAGE + 1)
    found = page["clients"]
    if wanted:
        number = int(wanted) if wanted.isascii() and wanted.isdecimal() and len(wanted) <= 16 else 0
        found = await lists.clients_numbered(store, number)
    more = not wanted and len(found) > PAGE
    query = {"state": state} if state else {}
    return frame.page(
        "clients.html",
        "clients",
        clients=found[:PAGE] if not wanted else found,
        more=urlencode({**query, "after": found[PAGE - 1]["id"]}) if more else None,
        state=state,
        states=views.STATES,
        counts=await views.count_by_state(store),
        wanted=wanted[:20],
        removed=(await views.removed_clients(store))["removed"][:100],
        batches=await store.read(partial(batch_views.list_batches, limit=BATCHES, newest_first=True)),
        share=frame.site.batches.share_status(),
        next_batch_at=frame.site.batches.next_at(),
        answer=await _answer(frame, request),
    )


async def _answer(frame: Frame, request: Request) -> tuple[str, str] | None:
    """What came of "combine now", for the page after it."""
    if request.query_params.get("sent") == "nothing":
        return "done", frame.t("batches.nothing")
    batch_id = queries.number(request, "sent", 0)
    batch = await frame.site.store.read(partial(batch_views.batch, batch_id=batch_id)) if batch_id else None
    if batch is None:
        return None
    if batch["outcome"] == "ok":
        return "done", frame.t("batches.done", id=batch_id, count=batch["clients"])
    return "failed", frame.t("batches.failed", reason=batch["detail"])


async def get_client(request: Request) -> Response:
    frame = Frame(request)
    key_name, client_id = _place(request)
    record = await frame.site.store.read(lambda c: records.find(c, key_name, client_id))
    if record is None:
        fail(404, f"There is no client {client_id} of {key_name[:60]}.")
    key = frame.site.keys.by_name(key_name)
    xml = None
    if key is not None:
        element = row(key.import_id(client_id), record.client, key.injection)
        etree.indent(element, "  ")
        xml = etree.tostring(element, encoding="unicode")
    return frame.page(
        "client.html", "clients", key_name=key_name, client_id=client_id, record=record, xml=xml,
        locked=record.locked_for(frame.clock.now) > 0,
        here=f"/clients/{quote(key_name, safe='')}/{client_id}",
    )  # fmt: skip


async def get_client_confirm(request: Request) -> Response:
    """Before a lock, and before it is taken off."""
    frame = Frame(request)
    key_name, client_id = _place(request)
    action = queries.choice(request, "action", ("lock", "unlock")) or "lock"
    back = f"/clients/{quote(key_name, safe='')}/{client_id}"
    return frame.page(
        "confirm.html",
        "clients",
        sentence=frame.t("confirm.lock" if action == "lock" else "confirm.unlock_client", target=client_id),
        button=frame.t(f"client.{action}"),
        post=f"{back}/do",
        fields={"action": action},
        back=back,
    )


async def post_client(request: Request) -> Response:
    site = site_of(request)
    key_name, client_id = _place(request)
    action = (await queries.form(request)).get("action", "")
    if action == "lock":
        work = views.lock_client(site.store, key_name, client_id, LOCK_S)
    elif action == "unlock":
        work = views.unlock_client(site.store, key_name, client_id)
    else:
        fail(422, "action: must be lock or unlock.")
    answer, detail = await steering.steer(site, caller(request).who, action, f"{key_name}/{client_id}", work)
    if answer is None:
        fail(404, detail)
    return see(f"/clients/{quote(key_name, safe='')}/{client_id}")


async def get_removed_confirm(request: Request) -> Response:
    frame = Frame(request)
    import_id = request.query_params.get("id", "")[:60]
    return frame.page(
        "confirm.html", "clients", sentence=frame.t("confirm.removed", target=import_id),
        button=frame.t("clients.removed.done"), post="/clients/removed", fields={"id": import_id}, back="/clients",
    )  # fmt: skip


async def post_removed(request: Request) -> Response:
    site = site_of(request)
    import_id = (await queries.form(request)).get("id", "")[:200]
    work = views.removal_done(site.store, import_id)
    await steering.steer(site, caller(request).who, "removal done", import_id, work)
    return see("/clients#removed")


async def get_combine(request: Request) -> Response:
    frame = Frame(request)
    counts = await views.count_by_state(frame.site.store)
    return frame.page(
        "confirm.html", "clients", sentence=frame.t("confirm.combine", count=counts["new"]),
        button=frame.t("batches.combine"), post="/clients/combine", fields={}, back="/clients",
    )  # fmt: skip


async def post_combine(request: Request) -> Response:
    try:
        batch = await site_of(request).batches.run_once(caller(request).who)
    except Fault as fault:
        fail(409, str(fault))
    return see(f"/clients?sent={batch.id if batch.id is not None else 'nothing'}#answer")


async def get_batch(request: Request) -> Response:
    frame = Frame(request)
    batch_id = queries.path_number(request, "batch")
    batch: dict[str, Any] | None = await frame.site.store.read(partial(batch_views.batch, batch_id=batch_id))
    if batch is None:
        fail(404, f"There is no batch {batch_id}.")
    return frame.page("batch.html", "clients", batch=batch)


def _place(request: Request) -> tuple[str, int]:
    return request.path_params["key_name"], queries.path_number(request, "client")
