"""`varde act`: have a device do something."""

import click

from agent.cli.control import detail, request
from agent.cli.output import fail


@click.command()
@click.argument("source")
@click.argument("action")
@click.argument("target", default="")
@click.pass_context
def act(ctx: click.Context, source: str, action: str, target: str) -> None:
    """Have SOURCE do ACTION to TARGET, the device's own id of an input, relay or door, or an alarm's id to acknowledge.

    \b
    varde act yard arm 1            varde act yard relay_on 2
    varde act front-door unlock 7   varde act pump-house acknowledge 4711

    Every try stands in the audit trail. Exit 1 when the device refuses, in its own words.
    """
    response = request(ctx, "POST", f"/api/v1/sources/{source}/actions", json={"action": action, "target": target})
    if response.status_code == 200:
        click.echo(response.json()["detail"])
    else:
        fail(detail(response))
