"""`varde manual PAGE`: manual pages, bash completion, the commented agent.toml; from command tree and settings.

The package is built with it, so that `man varde`, completion and `varde --help` cannot disagree.
"""

import click

from agent.cli import completion, troff
from agent.settings.sample import sample

PAGES = ("varde.1", "agent.toml.5", "completion", "agent.toml")


def page(name: str, root: click.Group) -> str:
    """The text of one of `PAGES`."""
    if name == "varde.1":
        return troff.command_page(root)
    if name == "agent.toml.5":
        return troff.settings_page()
    if name == "completion":
        return completion.bash(root)
    return sample()


@click.command(hidden=True)
@click.argument("name", metavar="PAGE", type=click.Choice(PAGES))
@click.pass_context
def manual(ctx: click.Context, name: str) -> None:
    """Print a manual page, the bash completion or the commented agent.toml."""
    root = ctx.find_root().command
    assert isinstance(root, click.Group)
    click.echo(page(name, root), nl=False)
