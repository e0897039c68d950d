"""`varde console`: a link that logs in once."""

import click

from agent.cli.control import call


@click.command()
@click.pass_context
def console(ctx: click.Context) -> None:
    """Print a link to the web console that logs in once and expires soon."""
    click.echo(call(ctx, "POST", "/api/v1/console-link")["url"])
