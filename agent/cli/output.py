"""What the commands print: tables people can read, JSON for programs, colour only on a terminal."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

COLOURS = {
    "up": "green", "ok": "green", "running": "green", "acknowledged": "green", "imported": "green", "passed": "green",
    "pending": "yellow", "starting": "yellow", "degraded": "yellow", "warning": "yellow", "pending_import": "yellow",
    "down": "red", "failing": "red", "failed": "red", "rejected": "red", "import_failed": "red", "stuck": "red",
}  # fmt: skip


def console() -> Console:
    """Colour and width by the terminal; plain and wide enough for whole lines where there is none."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160, soft_wrap=not sys.stdout.isatty())


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str = "Nothing here.") -> None:
    """Rows as a table; a cell that is a state's word gets its colour, whatever comes from outside stays plain text."""
    lines = [[_cell(value) for value in row] for row in rows]
    if not lines:
        click.echo(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, heading in enumerate(headings):
        table.add_column(heading, overflow="fold", no_wrap=index == 0)
    for line in lines:
        table.add_row(*line)
    console().print(table)


def _cell(value: Any) -> Text:
    text = "" if value is None else str(value)
    printable = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return Text(printable, style=COLOURS.get(text, ""))


def local(moment: str | None) -> str:
    """An instant of the API in this machine's time, with the date when it is not today."""
    if not moment:
        return ""
    here = datetime.fromisoformat(moment).astimezone()
    today = here.date() == datetime.now().astimezone().date()
    return f"{here:%H:%M:%S}" if today else f"{here:%Y-%m-%d %H:%M:%S}"


def fail(message: str, code: int = 1) -> NoReturn:
    """Say why on stderr and end with `code`."""
    click.echo(message, err=True)
    raise SystemExit(code)
