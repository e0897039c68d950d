"""`varde alarms`: the journal."""

import json
from typing import Any

import click

from agent.alarms.model import Kind
from agent.cli.control import call, events
from agent.cli.output import local, print_json, print_table

HEADINGS = ["ID", "OCCURRED", "KIND", "SOURCE", "ACCOUNT", "ZONE", "DEVICE", "DESCRIPTION", "DELIVERED"]


@click.command()
@click.option("--follow", is_flag=True, help="Go on printing alarms as they come.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many of the newest.")
@click.option("--source", help="Only this source.")
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), help="Only this kind.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, or with --follow one a line.")
@click.pass_context
def alarms(ctx: click.Context, follow: bool, limit: int, source: str | None, kind: str | None, as_json: bool) -> None:
    """The newest alarms of the journal, oldest first."""
    filters = {key: value for key, value in (("source", source), ("kind", kind)) if value}
    page: dict[str, Any] = call(ctx, "GET", "/api/v1/alarms", params={"limit": limit, "newest": "true", **filters})
    if as_json and not follow:
        print_json(page)
        return
    _show(page["alarms"], as_json)
    if follow:
        after = page["alarms"][-1]["id"] if page["alarms"] else page["next"]
        for data in events(ctx, "/api/v1/alarms/stream", params={"after": after}):
            alarm = json.loads(data)
            if all(alarm[key] == value for key, value in filters.items()):
                _show([alarm], as_json)


def _show(found: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        for alarm in found:
            click.echo(json.dumps(alarm, ensure_ascii=False))
    elif found:
        print_table(HEADINGS, map(_row, found))


def _row(alarm: dict[str, Any]) -> tuple[Any, ...]:
    kind = f"{alarm['kind']} ended" if alarm["restoral"] else alarm["kind"]
    delivered = ", ".join(f"{d['sink']} {d['state']}" for d in alarm["deliveries"])
    return (
        alarm["id"], local(alarm["occurred_at"]), kind, alarm["source"], alarm["account"], alarm["zone"],
        alarm["device"], alarm["description"], delivered,
    )  # fmt: skip
