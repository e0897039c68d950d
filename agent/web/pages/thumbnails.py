"""Small pictures for the alarm list: made when first looked at, kept in memory, never longer than the picture itself.

In memory and not on disk, so that a picture that retention removes, or a client that is erased, leaves no copy.
"""

import io
from collections import OrderedDict
from pathlib import Path

import trio
from starlette.requests import Request
from starlette.responses import Response

from agent.alarms.model import Evidence, Media
from agent.web import queries
from agent.web.answers import fail
from agent.web.media import WHY, evidence
from agent.web.queries import site_of

WIDTH, HEIGHT = 320, 240  # shown 160 wide; twice that for sharp screens
MAX_PIXELS = 40_000_000
MAX_FILE_BYTES = 20_000_000
AT_ONCE = 2
KEPT = 256


class Thumbnails:
    def __init__(self) -> None:
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._limiter = trio.CapacityLimiter(AT_ONCE)

    async def get(self, request: Request) -> Response:
        site = site_of(request)
        alarm_id = queries.path_number(request, "alarm")
        found = await site.evidence.file(alarm_id, Media.SNAPSHOT)
        if isinstance(found, Evidence):
            self._kept.pop(alarm_id, None)
            fail(404, WHY[found])
        small = self._kept.get(alarm_id)
        if small is None:
            small = await trio.to_thread.run_sync(_smaller, found.path, limiter=self._limiter)
            if small is None:
                return await evidence(site, alarm_id, Media.SNAPSHOT)
            self._kept[alarm_id] = small
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return Response(small, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


def _smaller(picture: Path) -> bytes | None:
    """None where the file is no picture that can be made smaller; the browser then gets it as it is."""
    from PIL import Image  # here, since most boxes are looked at seldom and memory is scarce

    try:
        if picture.stat().st_size > MAX_FILE_BYTES:
            return None
        with Image.open(picture) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            image.draft("RGB", (WIDTH, HEIGHT))
            image.thumbnail((WIDTH, HEIGHT))
            file = io.BytesIO()
            image.convert("RGB").save(file, "JPEG", quality=80)
            return file.getvalue()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
