"""`varde deliveries`: what is on its way to the sinks, what was set aside, and trying again."""

import json
import time
from collections.abc import Iterator
from typing import Any

import click

from agent.cli.control import call
from agent.cli.output import console, fail, local, print_json, print_table

STATES = ("pending", "acknowledged", "rejected")
HEADINGS = ["ID", "ALARM", "SINK", "STATE", "TRIES", "NEXT TRY", "ACKNOWLEDGED", "REASON"]
PAGE = 500
PATH = "/api/v1/deliveries"


@click.group(invoke_without_command=True)
@click.option("--state", type=click.Choice(STATES), help="Only this state; without it: what is not acknowledged.")
@click.option("--sink", help="Only this sink.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many, the oldest first."
)
@click.option("--after", type=click.IntRange(0), default=0, help="Only those with a larger id: the next page.")
@click.option("--follow", is_flag=True, help="Show the queues until they are empty.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object, as the agent API answers; without --state: all."
)
@click.pass_context
def deliveries(
    ctx: click.Context, state: str | None, sink: str | None, limit: int, after: int, follow: bool, as_json: bool
) -> None:
    """Alarms on their way to the monitoring centre and to the other sinks.

    Shown are those that wait and those that a receiver turned down and were set aside. Look at the reason, mend it,
    and send them again with `varde deliveries retry`.
    """
    if ctx.invoked_subcommand is not None:
        return
    filters = {"limit": limit, "after": after} | ({"sink": sink} if sink else {})
    if as_json:
        print_json(call(ctx, "GET", PATH, params=filters | ({"state": state} if state else {})))
        return
    found: list[dict[str, Any]] = []
    for each in (state,) if state else ("rejected", "pending"):
        found += call(ctx, "GET", PATH, params=filters | {"state": each})["deliveries"]
    print_table(HEADINGS, map(_row, found[:limit]), empty="Everything is delivered." if not state else "None.")
    _print_queues(ctx, sink, follow)


@deliveries.command()
@click.argument("number", metavar="ID", type=click.IntRange(1), required=False)
@click.option("--all-rejected", is_flag=True, help="Every delivery that was set aside.")
@click.option("--sink", help="With --all-rejected: of this sink only.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def retry(ctx: click.Context, number: int | None, all_rejected: bool, sink: str | None, as_json: bool) -> None:
    """Send a delivery again, now: ID, or all that were set aside."""
    if (number is None) is not all_rejected:
        raise click.UsageError("give the ID of a delivery, or --all-rejected")
    numbers = [number] if number is not None else list(_rejected(ctx, sink))
    for each in numbers:
        call(ctx, "POST", f"{PATH}/{each}/retry")
    if as_json:
        click.echo(json.dumps({"retried": numbers}))
    else:
        many = "1 delivery is" if len(numbers) == 1 else f"{len(numbers)} deliveries are"
        click.echo(f"{many} sent again now; varde deliveries shows what becomes of it.")


def _rejected(ctx: click.Context, sink: str | None) -> Iterator[int]:
    """Ids of all that stand rejected when asked; each page is read before anything in it is sent again."""
    after = 0
    while True:
        filters = {"state": "rejected", "after": after, "limit": PAGE} | ({"sink": sink} if sink else {})
        page = call(ctx, "GET", PATH, params=filters)
        yield from [row["id"] for row in page["deliveries"]]
        if len(page["deliveries"]) < PAGE:
            return
        after = page["next"]


def _row(delivery: dict[str, Any]) -> tuple[Any, ...]:
    return (
        delivery["id"], delivery["alarm_id"], delivery["sink"], delivery["state"], delivery["attempts"],
        local(delivery["next_attempt_at"]), local(delivery["acknowledged_at"]), delivery["reason"],
    )  # fmt: skip


def _print_queues(ctx: click.Context, name: str | None, follow: bool) -> None:
    screen = console()
    if not (follow and screen.is_terminal):
        for line in _queues(ctx, name):
            click.echo(line)
        if not follow:
            return
    with screen.status("") as shown:
        while lines := _queues(ctx, name):
            shown.update("\n".join(lines))
            time.sleep(0.5)
    click.echo("Nothing waits any more.")


def _queues(ctx: click.Context, name: str | None) -> list[str]:
    """One line for each sink that has something waiting, with how far it is."""
    sinks = call(ctx, "GET", "/api/v1/status")["sinks"]
    if name is not None and name not in [sink["name"] for sink in sinks]:
        fail(f'There is no sink "{name}". Configured: {", ".join(sink["name"] for sink in sinks) or "none"}.')
    return [_queue(sink) for sink in sinks if sink["pending"] and name in (None, sink["name"])]


def _queue(sink: dict[str, Any]) -> str:
    waiting, most, rate = sink["pending"], max(sink["peak"], sink["pending"]), sink["per_second"]
    line = f"{sink['name']}: {waiting:,} waiting, {most - waiting:,} of {most:,} through ({1 - waiting / most:.0%})"
    if rate:
        line += f", {rate:g} a second, about {waiting / rate:.0f} s to go"
    return line
