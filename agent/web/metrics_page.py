"""The metrics listener: `/metrics`, `/livez`, `/readyz`, and a page that says so."""

from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from agent.web.queries import site_of

_LANDING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Varde metrics</title></head>
<body><h1>Varde</h1><ul>
<li><a href="/metrics">/metrics</a>: for Prometheus</li>
<li><a href="/livez">/livez</a>: 200 while no service is stuck</li>
<li><a href="/readyz">/readyz</a>: 200 once every configured service runs;
<a href="/readyz?verbose">each of them</a></li>
</ul></body></html>
"""


async def get_metrics(request: Request) -> Response:
    """In the text format the scraper asks for."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return Response(encode(site_of(request).metrics.registry), media_type=content_type)


async def get_livez(request: Request) -> Response:
    """That it answers at all shows that the process's loop turns."""
    alive = site_of(request).supervisor.alive()
    return _answer(request, alive, "a service gives no sign of life")


async def get_readyz(request: Request) -> Response:
    """Whatever devices, receivers and share are doing: a dead far end is a warning, not a restart."""
    ready = site_of(request).supervisor.ready()
    return _answer(request, ready, "a configured service does not run")


async def get_landing(_request: Request) -> Response:
    return HTMLResponse(_LANDING)


def _answer(request: Request, good: bool, reason: str) -> Response:
    text = "ok\n" if good else f"{reason}\n"
    if "verbose" in request.query_params:
        text += "".join(f"{service['name']} {service['state']}\n" for service in site_of(request).supervisor.services())
    return PlainTextResponse(text, 200 if good else 503)


def routes() -> list[Route]:
    return [
        Route("/", get_landing),
        Route("/metrics", get_metrics),
        Route("/livez", get_livez),
        Route("/readyz", get_readyz),
    ]
