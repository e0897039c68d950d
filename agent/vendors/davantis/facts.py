"""What changes slowly at a site: the cameras' names and the offset of the device's clock."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from agent.faults import Fault
from agent.vendors.davantis.client import DavantisClient
from agent.vendors.davantis.records import as_utc

log = logging.getLogger("varde.davantis")


class SiteFacts:
    """Read beside the alarms and never in their way: a read that fails leaves what was known, and is tried again only
    after `interval_s`. `timeout_s` is for each of the two requests.
    """

    def __init__(
        self, client: DavantisClient, name: str, *, interval_s: float, timeout_s: float, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._name = name
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._clock = clock
        self._due_at = float("-inf")
        self._offset: timedelta | None = None
        self._warned = False
        self.camera_names: dict[str, str] = {}

    @property
    def due(self) -> bool:
        return self._clock() >= self._due_at

    @property
    def never_read(self) -> bool:
        return self._due_at == float("-inf")

    async def read(self) -> None:
        self._due_at = self._clock() + self._interval_s
        try:
            cameras = await self._client.cameras(timeout_s=self._timeout_s)
            self.camera_names = {camera.id: camera.alias for camera in cameras}
            offset = (await self._client.installation(timeout_s=self._timeout_s)).utc_offset
            self._offset = self._offset if offset is None else offset
        except Fault as fault:
            if not self._warned:
                log.warning("source=%s cameras and time zone cannot be read: %s", self._name, fault)
            self._warned = True
        else:
            self._warned = False

    def utc(self, moment: datetime) -> datetime:
        """A device's instant in UTC; a naive one is the device's local time."""
        return as_utc(moment, self._offset or timedelta())
