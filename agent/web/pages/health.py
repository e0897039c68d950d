"""The Health page: checks with their remedies, services, the log's end, and the configuration as in force."""

import json
from datetime import UTC, datetime

import trio
from starlette.requests import Request
from starlette.responses import Response

from agent import checks, health, logs
from agent.web.pages.frame import Frame, see
from agent.web.pages.warnings import tell
from agent.web.queries import site_of

LINES = 200


class HealthPages:
    """Keeps the checks' last outcome: they try every far end for real and are run when asked for, one at a time."""

    def __init__(self) -> None:
        self._found: list[checks.Check] = []
        self._at: datetime | None = None
        self._lock = trio.Lock()

    async def get_health(self, request: Request) -> Response:
        frame = Frame(request)
        site = frame.site
        return frame.page(
            "health.html",
            "health",
            warnings=[tell(frame, warning) for warning in health.warnings(site)],
            checks=self._found,
            checked_at=self._at,
            all_well=bool(self._found) and all(check.result in ("passed", "skipped") for check in self._found),
            services=site.supervisor.services(),
            listeners=site.listeners,
            uptime=frame.clock.duration((datetime.now(UTC) - site.started_at).total_seconds()),
            log=logs.tail(LINES),
            configuration=json.dumps(site.settings.model_dump(mode="json"), indent=2, ensure_ascii=False),
        )

    async def post_checks(self, request: Request) -> Response:
        site = site_of(request)
        async with self._lock:
            self._found = [check async for check in checks.run(site.settings, site.config)]
            self._at = datetime.now(UTC)
        return see("/health#checks")
