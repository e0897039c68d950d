"""`varde migrate`: take over an existing installation of the documented API."""

from pathlib import Path

import click
import trio

from agent.cli.configuration import settings_of
from agent.cli.output import fail
from agent.patriot import keyedit
from agent.patriot.keys import Keys
from agent.patriot.registry import Registry
from agent.patriot.takeover import Takeover, take_over
from agent.settings import Settings
from agent.store import Store, StoreError


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@click.pass_context
def migrate(ctx: click.Context, directory: Path, dry_run: bool) -> None:
    """Take over the installation of the Patriot API in DIRECTORY (such as /opt/patriot_api).

    Its keys, its client XML files that are not sent yet, and the clients its client_state.json calls pending. Stop the
    old services first, and this agent too; nothing in DIRECTORY is changed. May be repeated.
    """
    settings = settings_of(ctx)
    _keys(settings, directory, dry_run)
    try:
        store = Store.open(settings.paths.database)
    except StoreError as error:
        fail(str(error))
    try:
        _say(trio.run(_take_over, settings, store, directory, dry_run), dry_run)
    finally:
        store.close()


async def _take_over(settings: Settings, store: Store, directory: Path, dry_run: bool) -> Takeover:
    keys = Keys(settings.patriot.keys_file)
    keys.reload()
    if dry_run:  # the keys were not taken over, but their clients are to be counted as they would be
        keys = Keys(directory / "keys.json")
        keys.reload()
    registry = Registry(store, settings.paths.clients, keys)
    return await take_over(directory, registry, keys, dry_run=dry_run)


def _keys(settings: Settings, directory: Path, dry_run: bool) -> None:
    old = directory / "keys.json"
    if not old.exists():
        click.echo(f"{old} is not there: no keys are taken over.")
        return
    try:
        entries = keyedit.entries(old)
        taken = [] if dry_run else keyedit.take_over(settings.patriot.keys_file, entries)
    except keyedit.CannotEdit as error:
        fail(str(error))
    click.echo(
        f"Keys: {len(entries)} found"
        + (f", taken over: {', '.join(taken) or 'none that is new'}" if not dry_run else "")
    )


def _say(done: Takeover, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    for words, ids in (
        (f"{would}registered, going out with the next batch", done.registered),
        (f"{would}kept as files and sent as they are (they hold what the API cannot)", done.kept_as_file),
        ("registered already, left as they are", done.already_there),
    ):
        if ids:
            click.echo(f"{len(ids)} {words}: {', '.join(ids[:20])}{' …' if len(ids) > 20 else ''}")
    for path, reason in done.unusable.items():
        click.echo(f"! {path} {reason}", err=True)
    if done.pending_without_row:
        click.echo(
            f"! pending at Patriot, and no row is left to send again: {', '.join(done.pending_without_row)}", err=True
        )
        fail("Look these up in Patriot, and register anew any that is missing.")
