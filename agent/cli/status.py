"""`varde status`: is it working, on one screen."""

from typing import Any

import click

from agent.cli.control import call
from agent.cli.output import console, local, print_json, print_table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """What the running agent is doing.

    Exit 0 when all is well, 1 when something needs you, 3 when it is not running.
    """
    answer: dict[str, Any] = call(ctx, "GET", "/api/v1/status")
    if as_json:
        print_json(answer)
    else:
        _print(answer)
    ctx.exit(0 if answer["state"] == "ok" else 1)


def _print(answer: dict[str, Any]) -> None:
    colour = {"ok": "green", "degraded": "yellow"}.get(answer["state"], "red")
    mark = "●" if answer["state"] == "ok" else "▲"
    console().print(f"[{colour}]{mark}[/] ", end="")
    console().print(answer["headline"], markup=False)
    for warning in answer["warnings"]:
        click.echo(": ".join(filter(None, (f"  {warning['title']}", warning["text"]))))
        if warning["next_step"]:
            click.echo(f"    → {warning['next_step']}")
    click.echo(f"\n{answer['site']} · varde {answer['version']} · up {duration(answer['uptime_s'])}\n")
    _print_sources(answer["sources"])
    _print_sinks(answer["sinks"])
    _print_clients(answer)
    for name, address in answer["listeners"].items():
        click.echo(f"{name:<9}{address}")
    if answer["not_configured"]:
        click.echo(f"Not configured: {', '.join(answer['not_configured'])}.")


def _print_sources(sources: list[dict[str, Any]]) -> None:
    if sources:
        keys = ("name", "kind", "state", "since", "last_alarm_at", "polls", "errors")
        rows = [[local(s[key]) if key.endswith(("since", "_at")) else s[key] for key in keys] for s in sources]
        print_table(["SOURCE", "KIND", "STATE", "SINCE", "LAST ALARM", "POLLS", "ERRORS"], rows)
        click.echo()


def _print_sinks(sinks: list[dict[str, Any]]) -> None:
    if sinks:
        rows = [
            (s["name"], s["kind"], s["state"], local(s["since"]), s["pending"], duration(s["oldest_s"]), _progress(s))
            for s in sinks
        ]
        print_table(["SINK", "KIND", "STATE", "SINCE", "WAITING", "OLDEST", "PROGRESS"], rows)
        click.echo()


def _print_clients(answer: dict[str, Any]) -> None:
    share, batch = answer["share"], answer["last_batch"]
    if share:
        print_table(
            ["SHARE", "STATE", "SINCE", "ERROR"],
            [(share.get("kind"), share["state"], local(share["since"]), share.get("error"))],
        )
        for file in share.get("unusable_files", []):
            click.echo(f"not sent: {file['path']}: {file['reason']}")
        click.echo()
    if batch:
        click.echo(
            f"last batch {local(batch.get('started_at'))}: {batch.get('outcome')}, {batch.get('clients')} clients"
        )
    if answer["next_batch_at"]:
        click.echo(f"next batch {local(answer['next_batch_at'])}")


def _progress(sink: dict[str, Any]) -> str:
    """How much of the longest queue since it was last empty has gone."""
    peak = sink.get("peak") or 0
    return f"{100 * (peak - sink['pending']) // peak} %" if peak and sink["pending"] else ""


def duration(seconds: float | None) -> str:
    """`3 d 4 h`, `5 min`, `12 s`; "" for nothing."""
    if not seconds:
        return ""
    whole = int(seconds)
    parts = [(whole // 86400, "d"), (whole % 86400 // 3600, "h"), (whole % 3600 // 60, "min"), (whole % 60, "s")]
    shown = [f"{count} {unit}" for count, unit in parts if count][:2]
    return " ".join(shown) or "0 s"
