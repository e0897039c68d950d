"""The four listeners as services: each binds for itself, so that a port in use fails one listener and not the start."""

import logging
from collections.abc import Callable

import trio

from agent.patriot.api import build_api
from agent.serving import MAX_BODY_BYTES, App, Listener, listen_tcp, listen_unix, serve
from agent.settings.types import Listen
from agent.site import Site
from agent.supervise import Service
from agent.web import build_console, build_control, build_metrics

log = logging.getLogger("varde.listeners")


class Listening:
    """`settled` returns once each listener has bound or failed; `drained` once each has ended after `site.stopping`."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._open: dict[str, trio.Event] = {}
        self._tried: dict[str, trio.Event] = {}

    def start(self) -> None:
        settings = self._site.settings
        # The client API limits bodies itself, behind the authentication: a caller without a key learns nothing else.
        patriot = settings.patriot
        self._add("patriot", self._patriot(), lambda: self._bind(patriot.listen, patriot), max_body_bytes=2**40)
        self._add("console", build_console(self._site), lambda: self._bind(settings.console.listen, settings.console))
        self._add("metrics", build_metrics(self._site), lambda: self._bind(settings.metrics.listen))
        self._add("control", build_control(self._site), lambda: listen_unix(settings.paths.control_socket))

    async def settled(self) -> None:
        for tried in self._tried.values():
            await tried.wait()

    async def drained(self) -> None:
        for closed in list(self._open.values()):
            await closed.wait()

    def _add(self, name: str, app: App, bind: Callable[[], Listener], *, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._tried[name] = trio.Event()

        async def run() -> None:
            try:
                listener = bind()
            finally:
                self._tried[name].set()
            log.info("%s listens on %s", name, listener.url)
            self._site.listeners[name] = listener.url
            closed = self._open[name] = trio.Event()
            try:
                await serve(app, listener, self._site.stopping, max_body_bytes=max_body_bytes)
            finally:
                closed.set()
                self._site.listeners.pop(name, None)
            if self._site.stopping.is_set():
                await trio.sleep_forever()

        self._site.supervisor.start(Service(f"listener-{name}", run))

    def _bind(self, listen: Listen, tls: object = None) -> Listener:
        return listen_tcp(
            listen.host,
            listen.port,
            tls_certificate=getattr(tls, "tls_certificate", None),
            tls_key=getattr(tls, "tls_key", None),
        )

    def _patriot(self) -> App:
        metrics = self._site.metrics

        def count(method: str, route: str, status: int, seconds: float) -> None:
            metrics.patriot_requests.labels(method, route, str(status)).inc()
            metrics.patriot_request_seconds.labels(route).observe(seconds)

        proxies = self._site.settings.patriot.trusted_proxies
        return build_api(self._site.registry, self._site.keys, on_request=count, trusted_proxies=proxies)
