"""`varde clients`: the registry with each client's import state, through the running daemon."""

from typing import Any

import click

from agent.cli.control import call
from agent.cli.output import local, print_json, print_table

PATH = "/api/v1/clients"
PAGE = 1000
STATES = ["new", "pending_import", "imported", "import_failed"]
HEADINGS = ["CLIENT", "KEY", "PATRIOT'S ID", "STATE", "CHANGED", "LAST BATCH", "LOCKED UNTIL", "DETAIL"]
REMOVED_HEADINGS = ["PATRIOT'S ID", "KEY", "CLIENT", "REMOVED"]


@click.group(invoke_without_command=True)
@click.option("--state", type=click.Choice(STATES), help="Only clients in this state.")
@click.option("--removed", is_flag=True, help="Clients deleted here that the central office must remove by hand.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def clients(ctx: click.Context, state: str | None, removed: bool, as_json: bool) -> None:
    """The registered clients, and how far each is on its way to Patriot."""
    if ctx.invoked_subcommand is not None:
        return
    if removed:
        _show_removed(call(ctx, "GET", f"{PATH}/removed"), as_json)
        return
    found = _all(ctx, state)
    if as_json:
        print_json({"clients": found})
    else:
        print_table(HEADINGS, map(_row, found), empty="No clients.")


def _all(ctx: click.Context, state: str | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = 0
    while True:
        chosen = {"state": state} if state else {}
        page = call(ctx, "GET", PATH, params={"after": after, "limit": PAGE, **chosen})
        found += page["clients"]
        after = page["next"]
        if len(page["clients"]) < PAGE:
            return found


def _row(client: dict[str, Any]) -> tuple[Any, ...]:
    return (
        client["client_id"],
        client["key_name"],
        client["import_id"],
        client["status"],
        local(client["changed_at"]),
        local(client["last_batch"]),
        local(client["locked_until"]),
        client["detail"],
    )


def _show_removed(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    rows = [
        (row["import_id"], row["key_name"], row["client_id"], local(row["removed_at"])) for row in answer["removed"]
    ]
    print_table(REMOVED_HEADINGS, rows, empty="Nothing to remove at Patriot.")
    if rows:
        click.echo("Remove each in Patriot, then: varde clients done PATRIOT'S_ID", err=True)


_client_id = click.argument("client_id", type=click.IntRange(1, 9_999_999_999_999_999), metavar="ID")
_key_name = click.option("--key", "key_name", required=True, metavar="NAME", help="The key that registered it.")


@clients.command()
@_client_id
@_key_name
@click.option("--for", "seconds", type=click.IntRange(1, 30 * 86400), required=True, help="Seconds.")
@click.pass_context
def lock(ctx: click.Context, client_id: int, key_name: str, seconds: int) -> None:
    """Refuse changes to a client for a while: callers get 409 and are told when to try again."""
    body = {"key_name": key_name, "client_id": client_id, "seconds": seconds}
    answer = call(ctx, "POST", f"{PATH}/lock", json=body)
    click.echo(f"Client {client_id} of {key_name!r} is locked until {local(answer['locked_until'])}.")


@clients.command()
@_client_id
@_key_name
@click.pass_context
def unlock(ctx: click.Context, client_id: int, key_name: str) -> None:
    """End a lock early."""
    call(ctx, "POST", f"{PATH}/unlock", json={"key_name": key_name, "client_id": client_id})
    click.echo(f"Client {client_id} of {key_name!r} is not locked.")


@clients.command()
@click.argument("import_id", metavar="PATRIOT'S_ID")
@click.pass_context
def done(ctx: click.Context, import_id: str) -> None:
    """Note that a removed client has been removed by hand in Patriot."""
    call(ctx, "POST", f"{PATH}/removed", json={"import_id": import_id})
    click.echo(f"{import_id} is off the list.")


@clients.command()
@_client_id
@_key_name
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def erase(ctx: click.Context, client_id: int, key_name: str, yes: bool) -> None:
    """Leave no trace of a client on this box. What Patriot holds is removed there."""
    if not yes:
        click.confirm(f"Erase client {client_id} of {key_name!r} for good?", abort=True)
    answer = call(ctx, "POST", f"{PATH}/erase", json={"key_name": key_name, "client_id": client_id})
    click.echo(f"Client {client_id} of {key_name!r} is erased here.")
    for import_id in answer["at_patriot"]:
        click.echo(f"Patriot was sent {import_id}: have the central office remove it. It is not listed any more.")
