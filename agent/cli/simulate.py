"""`varde simulate`: one vendor's simulator, for a laboratory."""

import signal

import click
import trio

from agent.vendors import SIMULATORS, build_simulator
from agent.vendors.lab import Simulator


@click.command()
@click.argument("vendor", type=click.Choice(sorted(SIMULATORS)))
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1; 0 takes a free one.")
@click.option(
    "--every", type=click.FloatRange(0.05, 20), default=10.0, show_default=True, help="Seconds between two events."
)
def simulate(vendor: str, port: int, every: float) -> None:
    """Run VENDOR's simulator until interrupted; prints its address and credentials, then raises events."""
    trio.run(_run, build_simulator(vendor), port, every)


async def _run(simulator: Simulator, port: int, every_s: float) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            url = await nursery.start(simulator.serve, "127.0.0.1", port)
            click.echo(f"url: {url}")
            for name, value in simulator.credentials().items():
                click.echo(f"{name}: {value}")
            nursery.start_soon(simulator.schedule, every_s)
            await anext(aiter(signals))
            nursery.cancel_scope.cancel()
