"""The running site: everything that shows or steers it is handed this one object.

The daemon fills it; the console, the agent API, the control socket and the health words read it. It holds no logic.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from agent.web.auth import Access

if TYPE_CHECKING:
    from agent.alarms.dispatch import Dispatcher
    from agent.alarms.evidence import EvidenceKeeper
    from agent.alarms.journal import Journal
    from agent.alarms.outbox import Outbox
    from agent.alarms.polling import Poller
    from agent.metrics import Metrics
    from agent.patriot.combine import Batches
    from agent.patriot.keys import Keys
    from agent.patriot.registry import Registry
    from agent.settings import Settings
    from agent.store import Store
    from agent.supervise import Supervisor


@dataclass
class Site:
    """`listeners` maps "patriot", "console", "metrics" to the address each is reached at. `pollers` and `dispatchers`
    change when the configuration is reloaded: look names up, keep none. `problems` maps a code to a sentence about what
    could not be done as configured (a reload that was refused, a database that was set aside), each until it is cured.
    `stopping` is set when the process is to end: streams end then, requests in flight finish.
    """

    settings: "Settings"
    config: Path | None
    store: "Store"
    metrics: "Metrics"
    supervisor: "Supervisor"
    journal: "Journal"
    outbox: "Outbox"
    keys: "Keys"
    registry: "Registry"
    batches: "Batches"
    evidence: "EvidenceKeeper"
    reload: Callable[[], Awaitable[None]] = field(default=lambda: _not_running())
    pollers: dict[str, "Poller"] = field(default_factory=dict)
    dispatchers: dict[str, "Dispatcher"] = field(default_factory=dict)
    listeners: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    access: Access = field(default_factory=Access)
    stopping: trio.Event = field(default_factory=trio.Event)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))


async def _not_running() -> None:
    raise RuntimeError("the daemon sets this")
