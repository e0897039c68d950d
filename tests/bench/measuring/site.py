"""A whole daemon within the measured process, and its configuration."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from agent.daemon import run_daemon
from agent.settings import Settings

TOKEN = "a-console-token-for-the-bench"
API_KEY = "an-api-key-for-the-bench"


def davantis(name: str, url: str, **more: Any) -> dict[str, Any]:
    """A `[[sources]]` table."""
    login = {"url": url, "username": "admin", "password": "bench"}
    return {"name": name, "kind": "davantis", "account": "9998", "armed_only": False, **login, **more}


def settings(directory: Path, *, sources: Sequence[Any] = (), sinks: Sequence[Any] = (), **tables: Any) -> Settings:
    """A configuration under `directory`, every listener on a free port."""
    return Settings.model_validate(document(directory, sources=sources, sinks=sinks, **tables))


def document(
    directory: Path, *, sources: Sequence[Any] = (), sinks: Sequence[Any] = (), **tables: Any
) -> dict[str, Any]:
    directory.mkdir(exist_ok=True)
    keys = directory / "keys.json"
    if not keys.exists():
        keys.write_text(f'[{{"key_name": "Bench", "key": "{API_KEY}", "enabled": true, "port": "BASE11"}}]')
    loopback = "127.0.0.1:0"
    paths = {part: str(directory / part.removesuffix("_dir")) for part in ("state_dir", "log_dir", "run_dir")}
    return {
        "site": {"id": "bench", "timezone": "UTC"},
        "paths": paths,
        "log": {"level": "error"},
        "patriot": {"listen": loopback, "keys_file": str(keys)},
        "console": {"listen": loopback, "token": TOKEN},
        "metrics": {"listen": loopback},
        "media": {"min_free_bytes": 0},
        "sources": list(sources),
        "sinks": list(sinks),
        **tables,
    }


async def until(condition: Callable[[], Any], pause_s: float = 0.02) -> None:
    """Wait until `condition`, which may be async, is true: for what rings no bell."""
    while True:
        found = condition()
        if await found if isinstance(found, Awaitable) else found:
            return
        await trio.sleep(pause_s)


@asynccontextmanager
async def running_site(made: Settings) -> AsyncIterator[Any]:
    """The daemon as `varde run` runs it, in this process."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        site = await nursery.start(_run, made, stop)
        try:
            yield site
        finally:
            stop.set()


async def _run(made: Settings, stop: trio.Event, task_status: trio.TaskStatus[Any]) -> None:
    await run_daemon(made, None, stop=stop, task_status=task_status)
