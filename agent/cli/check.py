"""`varde check`: does everything answer?"""

import click
import trio

from agent import checks
from agent.checks import Check
from agent.cli.configuration import config_path, settings_of
from agent.cli.output import console, print_json

MARKS = {"passed": "[green]✓[/]", "warning": "[yellow]![/]", "failed": "[red]✗[/]", "skipped": "[dim]-[/]"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def check(ctx: click.Context, as_json: bool) -> None:
    """Validate the configuration, then try each configured thing for real.

    Logs in to each source, writes, renames and deletes a probe file on the share, sends a supervision message to each
    receiver; looks at disk, clock and key file. Exit 0 when nothing failed, 1 when something did, 78 when the
    configuration cannot be used.
    """
    settings = settings_of(ctx)

    async def collect() -> list[Check]:
        done = []
        async for one in checks.run(settings, config_path(ctx)):
            done.append(one)
            if not as_json:
                _print(one)
        return done

    done = trio.run(collect)
    failed = [one for one in done if one.result == "failed"]
    if as_json:
        print_json({"ok": not failed, "checks": [one.as_json() for one in done]})
    elif not failed:
        click.echo("\nEverything works.")
    else:
        click.echo(f"\n{len(failed)} of {len(done)} checks failed.")
    ctx.exit(1 if failed else 0)


def _print(one: Check) -> None:
    screen = console()
    screen.print(MARKS[one.result], end=" ")
    screen.print(f"{one.title}: {one.detail}", markup=False)
    if one.remedy and one.result != "passed":
        screen.print(f"    → {one.remedy}", markup=False)
