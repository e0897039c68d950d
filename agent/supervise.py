"""Services that restart alone: one that fails is started again after a pause and disturbs no other.

    starting → running ──exception──→ waiting (1 s, doubling to 60 s) → running …
                  └──── stop(name) or the end of the process ────→ gone

One log line when a service fails, one when it has been running again for a minute; the tries between are counted.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import trio

from agent.alarms.model import instant

log = logging.getLogger("varde.supervise")

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
STEADY_S = 60.0  # running this long counts as recovered


@dataclass
class Service:
    """`run` never returns by itself; one that does has failed. `alive` is False while the service is stuck."""

    name: str
    run: Callable[[], Awaitable[None]]
    alive: Callable[[], bool] = lambda: True
    state: str = "starting"
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    restarts: int = 0
    error: str | None = None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    gone: trio.Event = field(default_factory=trio.Event)


class Supervisor:
    """Holds the services of the process in one nursery, opened by `run`."""

    def __init__(self) -> None:
        self._services: dict[str, Service] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Open until cancelled. `start` and `stop` work from `task_status.started` on."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def start(self, service: Service) -> None:
        """Start `service` and keep it running. Its name must be free."""
        assert self._nursery is not None and service.name not in self._services
        self._services[service.name] = service
        self._nursery.start_soon(self._keep, service, name=f"varde {service.name}")

    async def stop(self, name: str) -> None:
        """End a service and wait until it is gone; nothing where there is none of that name."""
        service = self._services.get(name)
        if service is not None:
            service.scope.cancel()
            await service.gone.wait()

    def services(self) -> list[dict[str, Any]]:
        return [
            {
                "name": service.name,
                "state": service.state if service.alive() else "stuck",
                "since": instant(service.since),
                "restarts": service.restarts,
                "error": service.error,
            }
            for service in self._services.values()
        ]

    def ready(self) -> bool:
        """Whether every service runs, whatever the far ends are doing."""
        return bool(self._services) and all(service.state == "running" for service in self._services.values())

    def alive(self) -> bool:
        """Whether no service is stuck: what the watchdog is fed for."""
        return all(service.alive() for service in self._services.values())

    async def _keep(self, service: Service) -> None:
        try:
            with service.scope:
                await self._restart_for_ever(service)
        finally:
            del self._services[service.name]
            service.gone.set()

    async def _restart_for_ever(self, service: Service) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            self._enter(service, "running")
            begun = trio.current_time()
            error = await _outcome(service)
            if trio.current_time() - begun >= STEADY_S:
                pause_s = FIRST_PAUSE_S
            self._failed(service, error, pause_s)
            await trio.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    def _enter(self, service: Service, state: str) -> None:
        service.state = state
        service.since = datetime.now(UTC)

    def _failed(self, service: Service, error: BaseException, pause_s: float) -> None:
        service.restarts += 1
        service.error = f"{type(error).__name__}: {error}"
        self._enter(service, "waiting")
        if pause_s == FIRST_PAUSE_S:
            log.error("service=%s failed and is started again", service.name, exc_info=error)
        else:
            log.debug("service=%s failed again, next start in %.0f s", service.name, pause_s)


async def _outcome(service: Service) -> BaseException:
    """Why `service.run` ended. Cancellation passes through."""
    try:
        await service.run()
    except Exception as error:
        return error
    except BaseExceptionGroup as group:
        cancelled, failures = group.split(trio.Cancelled)
        if cancelled is not None:
            if failures is not None:
                log.error("service=%s failed while it was stopped", service.name, exc_info=failures)
            raise cancelled from None
        if not isinstance(failures, ExceptionGroup):
            raise
        return failures
    return RuntimeError("ended by itself")
