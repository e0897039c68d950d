"""`varde run`: the daemon."""

import click
import trio

from agent.cli.configuration import config_path, settings_of
from agent.cli.output import fail


@click.command()
@click.pass_context
def run(ctx: click.Context) -> None:
    """Run the agent until SIGTERM or SIGINT.

    SIGHUP reloads configuration and keys: a source or sink that was added, changed or removed takes effect; a broken
    file keeps the old settings and says so.
    """
    from agent.daemon import CannotStart, run_daemon

    settings = settings_of(ctx)
    try:
        trio.run(run_daemon, settings, config_path(ctx))
    except CannotStart as error:
        fail(str(error))
