"""`varde batches` and `varde combine`: what went to the central share, and sending now."""

from typing import Any

import click

from agent.cli.control import call
from agent.cli.output import console, local, print_json, print_table

HEADINGS = ["ID", "STARTED", "BY", "OUTCOME", "CLIENTS", "CARRIED", "IMPORTED", "FAILED", "WAITING", "DETAIL"]
ROW_HEADINGS = ["ID", "KEY", "REVISION", "FROM", "STATE", "DETAIL"]
COMBINE_TIMEOUT_S = 3600.0


@click.command()
@click.argument("number", type=click.IntRange(1), required=False)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many of the newest.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def batches(ctx: click.Context, number: int | None, limit: int, as_json: bool) -> None:
    """The batches so far, the newest first; with NUMBER one of them, with its clients."""
    if number is not None:
        batch: dict[str, Any] = call(ctx, "GET", f"/api/v1/batches/{number}")
        if as_json:
            print_json(batch)
        else:
            print_table(HEADINGS, [_row(batch)])
            print_table(ROW_HEADINGS, map(_client, batch["rows"]), empty="Without clients.")
        return
    page: dict[str, Any] = call(ctx, "GET", "/api/v1/batches", params={"limit": limit, "newest": "true"})
    if as_json:
        print_json(page)
        return
    print_table(HEADINGS, map(_row, page["batches"]), empty="No batch yet.")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The batch as a JSON object.")
@click.pass_context
def combine(ctx: click.Context, as_json: bool) -> None:
    """Run a batch now: combine what waits and bring it to the central share. Exits 1 where it failed."""
    screen = console()
    if as_json or not screen.is_terminal:
        batch: dict[str, Any] = call(ctx, "POST", "/api/v1/batches", timeout_s=COMBINE_TIMEOUT_S)
    else:
        with screen.status("Combining, and waiting for the share …"):
            batch = call(ctx, "POST", "/api/v1/batches", timeout_s=COMBINE_TIMEOUT_S)
    if as_json:
        print_json(batch)
    else:
        click.echo(_sentence(batch))
    if batch["outcome"] != "ok":
        raise SystemExit(1)


def _sentence(batch: dict[str, Any]) -> str:
    if batch["outcome"] != "ok":
        return f"The batch failed ({batch['outcome']}): {batch['detail']} Everything stays and is sent later."
    if batch["id"] is None:
        return "Nothing to send; the results were read."
    carried = f", {batch['carried']} carried along from the file before" if batch["carried"] else ""
    return f"Batch {batch['id']}: {batch['clients']} clients are on the share{carried}; {batch['detail']}."


def _row(batch: dict[str, Any]) -> tuple[Any, ...]:
    results = batch["results"]
    return (
        batch["id"], local(batch["started_at"]), batch["who"], batch["outcome"], batch["clients"], batch["carried"],
        results["imported"], results["import_failed"], results["pending_import"], batch["detail"],
    )  # fmt: skip


def _client(row: dict[str, Any]) -> tuple[Any, ...]:
    return (row["import_id"], row["key_name"], row["revision"], row["origin"], row["result"], row["detail"])
