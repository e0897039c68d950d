"""The demonstration from start to end."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import trio

from agent.daemon import run_daemon
from agent.demo import installer, story
from agent.demo.lab import Lab
from agent.settings import Settings, load
from agent.site import Site


@contextmanager
def working_directory(directory: Path | None) -> Iterator[Path]:
    """The directory asked for, kept; or a temporary one, removed at the end."""
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        yield directory.resolve()
    else:
        with TemporaryDirectory(prefix="varde-demo-") as made:
            yield Path(made)


async def run_demo(directory: Path, duration_s: float | None) -> None:
    """Until SIGTERM, SIGINT or `duration_s` has passed."""
    lab, stop = Lab(directory), trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            await lab.start(nursery)
            lab.write_configuration()
            settings = load(lab.config, {})
            site: Site = await nursery.start(_daemon, nursery, settings, lab, stop)
            _say_where(lab, site)
            lab.receiver.on_event = story.acknowledged
            nursery.start_soon(story.tell_alarms, site)
            nursery.start_soon(story.tell_clients, site)
            await installer.register(site.listeners["patriot"], lab.api_key)
            await lab.raise_events(nursery)
            with trio.move_on_after(duration_s if duration_s is not None else float("inf")):
                await anext(aiter(signals))
            stop.set()


async def _daemon(
    outer: trio.Nursery, settings: Settings, lab: Lab, stop: trio.Event, task_status: trio.TaskStatus[Site]
) -> None:
    """The daemon; when it has stopped, so do the far ends."""
    await run_daemon(settings, lab.config, stop=stop, task_status=task_status)
    outer.cancel_scope.cancel()


def _say_where(lab: Lab, site: Site) -> None:
    console = site.listeners["console"]
    lines = {
        "console": f"{console}/login?token={lab.console_token}",
        "patriot": f"{site.listeners['patriot']}  (API description: /docs, key: {lab.api_key})",
        "metrics": f"{site.listeners['metrics']}/metrics",
        "share": str(lab.share),
        "receiver": f"127.0.0.1:{lab.receiver.port}  (SIA DC-09, encrypted)",
        "state": f"{lab.directory}  (try: varde status --config {lab.config})",
    }
    for name, value in lines.items():
        click.echo(f"{name + ':':<10}{value}")
    click.echo()
