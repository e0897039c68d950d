"""`varde keys`: the key file, edited safely. The running daemon takes a change within two seconds."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from agent.cli.configuration import settings_of
from agent.cli.output import fail, print_json, print_table
from agent.patriot import keyedit
from agent.patriot.keyfile import ApiKey, parse

HEADINGS = ["KEY", "PORT", "STATE", "VALID TO", "INSTALLER"]


@click.group
def keys() -> None:
    """The API keys of installers, in keys.json."""


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs; never holds a key.")
@click.pass_context
def list_keys(ctx: click.Context, as_json: bool) -> None:
    """All entries, and what is wrong with those that are refused."""
    path = _path(ctx)
    try:
        found = keyedit.entries(path)
    except keyedit.CannotEdit as error:
        fail(str(error))
    parsed = parse(json.dumps(found).encode())
    usable = {key.name: key for key in parsed.keys}
    rows = [_row(entry, usable.get(str(entry.get("key_name")))) for entry in found if isinstance(entry, dict)]
    if as_json:
        fields = ("key_name", "port", "state", "valid_to", "installer")
        print_json({"keys": [dict(zip(fields, row, strict=True)) for row in rows], "refused": list(parsed.refused)})
    else:
        print_table(HEADINGS, rows, empty=f"No keys in {path}. Add one: varde keys add NAME --port PORT")
        for sentence in (*parsed.refused, *parsed.warnings):
            click.echo(sentence, err=True)
    if parsed.refused:
        ctx.exit(1)


def _row(entry: dict[str, Any], key: ApiKey | None) -> tuple[Any, ...]:
    installer = entry.get("installer")
    state = "refused" if key is None else "enabled" if key.enabled else "disabled"
    if key is not None and key.enabled and not key.usable_at(datetime.now(UTC)):
        state = "expired"
    name = installer.get("User_Name") if isinstance(installer, dict) else None
    return entry.get("key_name"), entry.get("port"), state, entry.get("valid_to"), name


@keys.command()
@click.argument("name")
@click.option("--port", required=True, help='Ends each <__id> of this key, for instance "BASE11".')
@click.option("--valid-to", help='ISO 8601 instant, for instance "2030-01-01T00:00:00Z"; absent: no end.')
@click.option("--installer-name", help="User 199 in each client: exactly as Patriot has the installer.")
@click.option("--installer-email", help="The installer's e-mail, exactly as Patriot has it.")
@click.option("--like", metavar="KEY", help="Take installer and injected elements over from another key.")
@click.pass_context
def add(
    ctx: click.Context,
    name: str,
    port: str,
    valid_to: str | None,
    installer_name: str | None,
    installer_email: str | None,
    like: str | None,
) -> None:
    """Add a key and print it. It is shown this once; the file keeps its digest."""
    path = _path(ctx)
    options: dict[str, Any] = {"valid_to": valid_to} if valid_to else {}
    try:
        options |= _taken_over(path, like) if like else {}
        if installer_name or installer_email:
            installer = {"User_Name": installer_name, "Email": installer_email}
            options["installer"] = {field: text for field, text in installer.items() if text}
        key = keyedit.add(path, name, port, options)
    except keyedit.CannotEdit as error:
        fail(f"Not added: {error}")
    click.echo(key)
    click.echo(f"Key {name!r} works within 2 s. It is shown this once: hand it over now.", err=True)


def _taken_over(path: Path, name: str) -> dict[str, Any]:
    for entry in keyedit.entries(path):
        if isinstance(entry, dict) and entry.get("key_name") == name:
            return {field: entry[field] for field in ("installer", "xml") if field in entry}
    raise keyedit.CannotEdit(f"there is no key {name!r} to take anything over from")


@keys.command()
@click.argument("name")
@click.pass_context
def disable(ctx: click.Context, name: str) -> None:
    """End a key. Its clients stay registered and still go to Patriot."""
    try:
        keyedit.disable(_path(ctx), name)
    except keyedit.CannotEdit as error:
        fail(f"Not disabled: {error}")
    click.echo(f"Key {name!r} is refused within 2 s. Its clients stay.")


@keys.command()
@click.argument("name")
@click.pass_context
def rotate(ctx: click.Context, name: str) -> None:
    """Give a key a new secret and print it; the old one ends."""
    try:
        key = keyedit.rotate(_path(ctx), name)
    except keyedit.CannotEdit as error:
        fail(f"Not rotated: {error}")
    click.echo(key)
    click.echo(f"The old secret of {name!r} is refused within 2 s. The new one is shown this once.", err=True)


def _path(ctx: click.Context) -> Path:
    return settings_of(ctx).patriot.keys_file
