"""Snapshots and videos over HTTP, by alarm id."""

from typing import TYPE_CHECKING

from starlette.responses import FileResponse, Response

from agent.alarms.model import Evidence, Media
from agent.web.answers import fail

if TYPE_CHECKING:
    from agent.site import Site

WHY = {
    Evidence.RECORDING: "It is still being recorded or fetched; try again in a few seconds.",
    Evidence.UNAVAILABLE: "The device has none for this alarm.",
    Evidence.EXPIRED: "It has been removed: too old, or the space was needed.",
}
# What a browser may show as it is. Anything else that a device claims (HTML, SVG) is data to be saved.
SHOWN = ("image/jpeg", "image/png", "image/gif", "image/webp", "video/mp4", "video/webm", "video/x-ms-wmv", "video/avi")


async def evidence(site: "Site", alarm_id: int, media: Media) -> Response:
    """The file with ranges, or 404 with the reason."""
    if await site.journal.alarm(alarm_id) is None:
        fail(404, f"There is no alarm {alarm_id}.")
    found = await site.evidence.file(alarm_id, media)
    if isinstance(found, Evidence):
        fail(404, WHY[found], {"Retry-After": "2"} if found is Evidence.RECORDING else None)
    shown = found.content_type in SHOWN
    response = FileResponse(
        found.path,
        media_type=found.content_type if shown else "application/octet-stream",
        filename=found.path.name,
        content_disposition_type="inline" if shown else "attachment",
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    # A file never changes once it is here; pictures are personal data and stay out of shared caches.
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response
