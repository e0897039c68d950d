"""`varde lockt …`: what a Lockt site holds, and the bulk load of its users.

One list command a resource, made from the table of the reference: its filters are the command's options.
"""

import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agent.cli.configuration import settings_of
from agent.cli.output import fail, print_json, print_table
from agent.faults import Fault
from agent.settings.sources import LocktSource
from agent.vendors.lockt import loading, spreadsheet
from agent.vendors.lockt import reference as lockt_api
from agent.vendors.lockt.client import LocktClient
from agent.vendors.lockt.errors import Unsendable
from agent.vendors.lockt.models import Record
from agent.vendors.lockt.reference import Parameter, Read
from agent.vendors.lockt.values import Stamp

SECRETS = ("pin", "credential_key")
COMMAND_TIMEOUT_S = 60.0  # a list of thousands of users takes longer than a poll may
COMMAND_BODY_BYTES = 64 * 1024 * 1024  # and is larger than an answer that a daemon should swallow


@dataclass(frozen=True, slots=True)
class Listing:
    """A list command: the row of the reference, and the fields that people see as columns."""

    endpoint: Read[Any]
    columns: Sequence[str]
    help: str


LISTINGS: Mapping[str, Listing] = {
    "users": Listing(
        lockt_api.USERS,
        ("id", "id_num", "full_name", "card_num", "email", "phone", "enabled", "access_effective", "access_expires",
         "accesslevels"),
        "Card holders.",
    ),
    "doors": Listing(lockt_api.DOORS, ("id", "name", "location", "controller", "enabled", "type"), "Doors."),
    "doorstates": Listing(lockt_api.DOOR_STATES, ("id", "name", "battery_level"), "Battery levels of doors."),
    "credentials": Listing(
        lockt_api.CREDENTIALS,
        ("id", "card_num", "claim_status", "user", "access_effective", "access_expires"),
        "Credentials and who holds them.",
    ),
    "credentialsummary": Listing(
        lockt_api.CREDENTIAL_SUMMARY, ("credentials", "claimed", "unclaimed"), "How many credentials are claimed."
    ),
    "fobs": Listing(
        lockt_api.FOBS,
        ("id", "id_num", "name", "card_num", "enabled", "access_effective", "access_expires", "accesslevels"),
        "Fobs.",
    ),
    "accesslevels": Listing(lockt_api.ACCESS_LEVELS, ("id", "name", "doors"), "Access levels and their doors."),
    "delegates": Listing(
        lockt_api.DELEGATES, ("id", "name", "access_effective", "access_expires", "doors"), "Delegated access."
    ),
    "schedules": Listing(
        lockt_api.SCHEDULES, ("id", "name", "days", "start", "stop"), "Schedules; day 0 is typically Monday."
    ),
    "events": Listing(
        lockt_api.EVENTS,
        ("id", "event_time", "db_time", "code", "code_text", "subcode_text", "device", "location", "user", "card_num"),
        "Events that the cloud still holds; with --id only from that one on.",
    ),
    "locations": Listing(lockt_api.LOCATIONS, ("id", "name", "type", "enabled"), "Locations."),
    "locationtypes": Listing(lockt_api.LOCATION_TYPES, ("id", "name"), "Types of location."),
    "maintenance": Listing(lockt_api.MAINTENANCE, (), "Maintenance that Lockt has announced."),
    "settings": Listing(lockt_api.SETTINGS, (), "Lockt's settings of the API for this site."),
    "site": Listing(lockt_api.SITE, (), "Basic information on the site."),
    "time": Listing(
        lockt_api.TIME, ("datetime_utc", "timezone", "datetime_local", "offset"), "The system's clock and time zone."
    ),
    "about": Listing(lockt_api.ABOUT, ("version", "release_date", "release_notes"), "The release of the API."),
}  # fmt: skip


@click.group
def lockt() -> None:
    """See what a Lockt SecureAccess site holds, and load its users.

    \b
    varde lockt users                          a table
    varde lockt doors --csv > doors.csv        for a spreadsheet
    varde lockt load-users staff.csv --dry-run checks everything, writes nothing
    """


def _source_option(command: Callable[..., Any]) -> Callable[..., Any]:
    help_text = "The Lockt source of agent.toml, where there are several."
    return click.option("--source", "source_name", metavar="NAME", help=help_text)(command)


def _source(ctx: click.Context, name: str | None) -> LocktSource:
    found = [source for source in settings_of(ctx).sources if isinstance(source, LocktSource)]
    names = ", ".join(source.name for source in found)
    if not found:
        fail("No source of kind lockt is configured. Add one to agent.toml, or run varde setup.")
    if name is None and len(found) > 1:
        raise click.UsageError(f"there are several Lockt sources; choose one with --source: {names}")
    chosen = next((source for source in found if name in (None, source.name)), None)
    if chosen is None:
        raise click.UsageError(f'there is no Lockt source "{name}"; there is {names}')
    return chosen


def _client(source: LocktSource) -> LocktClient:
    timeout_s = max(source.timeout_s, COMMAND_TIMEOUT_S)
    return LocktClient(
        source.url,
        source.api_user,
        source.api_key,
        timeout_s=timeout_s,
        ca_file=source.ca_file,
        max_body_bytes=COMMAND_BODY_BYTES,
    )


def _run(work: Callable[[], Any]) -> Any:
    """Run async work; a fault of the far end ends the command with 1 and its own words."""
    try:
        return trio.run(work)
    except Fault as fault:
        fail(str(fault))
    except Unsendable as error:
        raise click.UsageError(str(error)) from None


async def _read(source: LocktSource, endpoint: Read[Any], filters: Mapping[str, Any]) -> list[Record]:
    client = _client(source)
    try:
        return await client.read(endpoint, **filters)
    finally:
        await client.aclose()


def _list(
    listing: Listing, source_name: str | None, as_json: bool, as_csv: bool, secrets: bool, **filters: Any
) -> None:
    if as_json and as_csv:
        raise click.UsageError("choose --json or --csv")
    source = _source(click.get_current_context(), source_name)
    given = {name: value for name, value in filters.items() if value is not None and value is not False}
    records = _run(partial(_read, source, listing.endpoint, given))
    if as_json:
        print_json([record.raw if secrets else _without_secrets(record.raw) for record in records])
        return
    columns = listing.columns or list(dict.fromkeys(key for record in records for key in record.raw))
    rows = [[_cell(record, column) for column in columns] for record in records]
    if as_csv:
        csv.writer(sys.stdout).writerows([columns, *rows])
    else:
        print_table([column.replace("_", " ") for column in columns], rows)


def _cell(record: Record, column: str) -> str:
    value = getattr(record, column, record.raw.get(column))
    if isinstance(value, Stamp):
        return value.text
    if isinstance(value, tuple | list):
        return "; ".join(str(getattr(item, "name", item)) for item in value)
    if isinstance(value, Record):
        return str(getattr(value, "name", ""))
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _without_secrets(value: Any) -> Any:
    """Without PINs and registration keys, which open doors, at any depth."""
    if isinstance(value, dict):
        return {key: _without_secrets(item) for key, item in value.items() if key not in SECRETS}
    return [_without_secrets(item) for item in value] if isinstance(value, list) else value


_FILTERS: Mapping[Parameter, Mapping[str, Any]] = {
    Parameter.NUMBER: {"type": int, "metavar": "N"},
    Parameter.TEXT: {"metavar": "TEXT"},
    Parameter.SWITCH: {"is_flag": True},
}


def _add(name: str, listing: Listing) -> None:
    command: Callable[..., Any] = partial(_list, listing)
    options = [
        click.Option([f"--{parameter.replace('_', '-')}", parameter], **_FILTERS[kind], help=f"Only by {parameter}.")
        for parameter, kind in listing.endpoint.filters.items()
    ]
    options += [
        click.Option(["--source", "source_name"], metavar="NAME", help="The Lockt source, where there are several."),
        click.Option(["--json", "as_json"], is_flag=True, help="The vendor's objects as JSON."),
        click.Option(["--csv", "as_csv"], is_flag=True, help="The table as CSV."),
        click.Option(["--secrets"], is_flag=True, help="With --json: PINs and registration keys too."),
    ]
    lockt.add_command(click.Command(name, callback=command, params=[*options], help=listing.help))


for _name, _listing in LISTINGS.items():
    _add(_name, _listing)


@lockt.command("load-users")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check every row against the rules and the site; write nothing.")
@click.option("--update-existing", is_flag=True, help="Update users whose id_num exists, instead of rejecting the row.")
@click.option("--add-privileges", is_flag=True, help="Add access levels to a user's own, instead of replacing them.")
@_source_option
@click.pass_context
def load_users(
    ctx: click.Context, file: Path, dry_run: bool, update_existing: bool, add_privileges: bool, source_name: str | None
) -> None:
    """Load users from the spreadsheet FILE (CSV, first line naming the columns).

    \b
    Columns: id_num first_name last_name email phone card_num pin
             access_effective access_expires (the site's local time, 2026-12-31 16:00:00)
             enabled (true or false; empty: true) accesslevels (names or ids, between ; or |)
             custom1 … custom4

    Each rejected row is reported with its line number and Lockt's words. Exit 1 when a row was rejected.
    """
    source = _source(ctx, source_name)
    try:
        lines = spreadsheet.read(file)
    except spreadsheet.UnusableFile as error:
        fail(str(error))
    report = _run(partial(_load, source, lines, dry_run, update_existing, not add_privileges))
    _show(report, dry_run)
    if not report.good:
        raise SystemExit(1)


async def _load(
    source: LocktSource, lines: list[spreadsheet.Line], dry_run: bool, update: bool, replace: bool
) -> loading.Report:
    client = _client(source)
    try:
        site = await loading.read_site(client)
        if dry_run:
            return loading.dry_run(lines, site, update=update)
        with _progress() as progress:
            task = progress.add_task("Loading users", total=len(lines))
            advance = partial(progress.advance, task)
            return await loading.load(
                client, lines, site, update=update, replace_privileges=replace, on_progress=advance
            )
    finally:
        await client.aclose()


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


def _show(report: loading.Report, dry_run: bool) -> None:
    if report.rejected:
        rows = [(line.number or "?", line.who, "; ".join(line.words)) for line in report.rejected]
        print_table(("line", "user", "why"), rows)
    rejected, done = len(report.rejected), report.result
    if dry_run:
        click.echo(f"Dry run: {report.rows} rows, {report.rows - rejected} would go in, {rejected} would be rejected.")
        click.echo("Nothing was written. Lengths of cards and PINs are the site's own limits, which only Lockt checks.")
        return
    ignored = f", {report.ignored} ignored as existing" if report.ignored else ""
    click.echo(f"{report.rows} rows: {done.inserted} inserted, {done.updated} updated{ignored}, {rejected} rejected.")
    if report.stopped:
        click.echo(
            f"Stopped: {report.stopped}\nRows from line {report.unsure_from} on are not confirmed: look at varde lockt "
            "users before loading them again.",
            err=True,
        )
