"""Talking to the running daemon over its control socket: the agent API, without a token."""

from collections.abc import Iterator
from typing import Any, NoReturn

import click
import httpx

from agent.cli import NOT_RUNNING_EXIT
from agent.cli.configuration import control_socket
from agent.cli.output import fail

TIMEOUT_S = 60.0


def call(
    ctx: click.Context, method: str, path: str, json: Any = None, *, timeout_s: float = TIMEOUT_S, **options: Any
) -> Any:
    """The JSON answer of `path`. Ends the command: 3 where no daemon runs, 1 and its words where it refuses."""
    response = request(ctx, method, path, json=json, timeout_s=timeout_s, **options)
    if response.is_error:
        fail(detail(response))
    return response.json() if response.content else None


def request(
    ctx: click.Context, method: str, path: str, *, timeout_s: float = TIMEOUT_S, **options: Any
) -> httpx.Response:
    """The answer whatever its status."""
    with _client(ctx, timeout_s) as client:
        try:
            return client.request(method, path, **options)
        except httpx.TransportError as error:
            _not_running(ctx, error)


def events(ctx: click.Context, path: str, **options: Any) -> Iterator[str]:
    """The data of each server-sent event, until the daemon stops."""
    with _client(ctx, None) as client:
        try:
            with client.stream("GET", path, **options) as response:
                for line in response.iter_lines():
                    if line.startswith("data:"):
                        yield line[5:].strip()
        except httpx.TransportError as error:
            _not_running(ctx, error)


def detail(response: httpx.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return f"the agent answered {response.status_code}"
    return str(body.get("detail", body)) if isinstance(body, dict) else str(body)


def _client(ctx: click.Context, timeout_s: float | None) -> httpx.Client:
    transport = httpx.HTTPTransport(uds=str(control_socket(ctx)))
    return httpx.Client(transport=transport, base_url="http://varde", timeout=timeout_s)


def _not_running(ctx: click.Context, error: httpx.TransportError) -> NoReturn:
    socket = control_socket(ctx)
    if "Permission denied" in str(error):
        fail(f"{socket} may not be opened by you: join the group varde, or use sudo.", NOT_RUNNING_EXIT)
    fail(
        f"varde is not running: nobody answers on {socket}. Start it: systemctl start varde-agent (or varde run).",
        NOT_RUNNING_EXIT,
    )
