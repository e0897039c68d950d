"""Having a device do something: `POST /api/v1/sources/{name}/actions`, and the console's buttons.

who asks ─→ audit ─→ source.act ──sentence────────────→ 200 done
                          ├─ Refused ──────────────────→ 409 refused, in the device's words
                          ├─ UnknownTarget, no source ─→ 404
                          ├─ UnknownAction ────────────→ 422
                          └─ Fault, silence ───────────→ 502
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import trio

from agent.alarms.model import Acting, Listing
from agent.faults import Fault, Refused, UnknownAction, UnknownTarget
from agent.web import audit
from agent.web.answers import fail

if TYPE_CHECKING:
    from agent.site import Site

log = logging.getLogger("varde.actions")

LIMIT_S = 45.0


@dataclass(frozen=True, slots=True)
class Result:
    """`outcome` is the audit trail's word, `status` the agent API's."""

    status: int
    outcome: str
    detail: str


async def perform(site: "Site", who: str, source: str, action: str, target: str) -> Result:
    """Try it; every try stands in the audit trail, whatever becomes of it."""
    entry = await audit.begin(site.store, who, source, action, target)
    result = await _outcome(site, source, action, target)
    await audit.finish(site.store, entry, result.outcome, result.detail)
    if source in site.pollers:
        log.info("source=%s action=%s by=%s outcome=%s", source, action[:40], who, result.outcome)
    return result


async def devices(site: "Site", source: str) -> list[dict[str, Any]]:
    """What `source` can list of cameras, doors, zones, inputs and relays; [] where it cannot. 404, 502."""
    poller = site.pollers.get(source)
    if poller is None:
        fail(404, f"There is no source {source[:64]}.")
    if not isinstance(poller.source, Listing):
        return []
    try:
        with trio.fail_after(LIMIT_S):
            return [asdict(device) for device in await poller.source.devices()]
    except Fault as fault:
        fail(502, str(fault))
    except trio.TooSlowError:
        fail(502, f"{source} has not answered for {LIMIT_S:g} s.")


async def _outcome(site: "Site", source: str, action: str, target: str) -> Result:
    poller = site.pollers.get(source)
    if poller is None:
        known = ", ".join(sorted(site.pollers)) or "none"
        return Result(404, "failed", f"There is no source {source[:64]}. Configured: {known}.")
    if not isinstance(poller.source, Acting) or action not in poller.source.actions:
        offered = ", ".join(sorted(poller.source.actions)) if isinstance(poller.source, Acting) else "nothing"
        return Result(422, "failed", f"{source} does not offer the action {action[:40]}. It offers {offered}.")
    raw: Mapping[str, Any] | None = None
    if action in ("acknowledge", "close"):
        found = await _alarm(site, source, target)
        if found is not None:
            target, raw = found
    return await _act(poller.source, source, action, target, raw)


async def _act(device: Acting, source: str, action: str, target: str, raw: Mapping[str, Any] | None) -> Result:
    try:
        with trio.fail_after(LIMIT_S):
            return Result(200, "done", await device.act(action, target, raw))
    except Refused as refusal:
        return Result(409, "refused", str(refusal))
    except UnknownTarget as unknown:
        return Result(404, "failed", str(unknown) or f"{source} has no {target[:40]}.")
    except UnknownAction as unknown:
        return Result(422, "failed", str(unknown) or f"{source} does not offer {action[:40]}.")
    except Fault as fault:
        return Result(502, "failed", str(fault))
    except trio.TooSlowError:
        return Result(502, "failed", f"{source} has not answered for {LIMIT_S:g} s; whether it did it is not known.")
    except Exception as error:
        # As in polling: an answer that our code trips over is the device's fault outside and a defect in our log.
        log.exception("source=%s the answer to an action could not be understood", source)
        return Result(502, "failed", f"{source} gave an answer that is not understood ({type(error).__name__}).")


async def _alarm(site: "Site", source: str, target: str) -> tuple[str, Mapping[str, Any]] | None:
    """The device's own id and object of the alarm that `target` numbers in our journal; None where it is not ours."""
    if not target.isdecimal() or len(target) > 18 or not target.isascii():
        return None
    entry = await site.journal.alarm(int(target))
    return (entry.alarm.native_id, entry.alarm.raw) if entry is not None and entry.source == source else None
