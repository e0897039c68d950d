"""`varde demo`: a whole simulated site."""

from pathlib import Path

import click
import trio


@click.command()
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep everything in DIR (default: a temporary folder, removed at the end).",
)
@click.option("--duration", type=click.FloatRange(min=0.1), metavar="S", help="Stop after S seconds.")
def demo(directory: Path | None, duration: float | None) -> None:
    """Run everything on loopback: simulated devices, a folder as the share, a simulated receiver and Patriot.

    Prints the addresses and the console link first, then what happens.
    """
    from agent.demo.run import run_demo, working_directory

    with working_directory(directory) as place:
        trio.run(run_demo, place, duration)
