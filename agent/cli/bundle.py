"""`varde bundle`: an archive for support, with no secret and no personal data in it."""

import io
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import tarfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import httpx
import trio
from pydantic import BaseModel, SecretStr

from agent import __version__, checks
from agent.cli.configuration import config_path, settings_of
from agent.cli.output import fail
from agent.logs import FILES
from agent.settings import Settings

LOG_BYTES = 500_000


@click.command()
@click.option(
    "--output", type=click.Path(path_type=Path), help="File to write (default varde-bundle-SITE-TIME.tar.gz here)."
)
@click.pass_context
def bundle(ctx: click.Context, output: Path | None) -> None:
    """Collect what support needs into one archive.

    Configuration with its secrets masked, status, checks, metrics, logs, counts of what the database holds. Passwords,
    keys and tokens are taken out of everything; names, texts and pictures of alarms and clients are not collected.
    """
    settings = settings_of(ctx)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    output = output or Path(f"varde-bundle-{settings.site.id}-{stamp}.tar.gz")
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        fail(f"{output} exists already; name another file with --output.")
    except OSError as error:
        fail(f"{output} cannot be written: {error.strerror}.")
    hidden = secrets_of(settings)
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, text in _parts(settings, config_path(ctx)):
            data = redact(text, hidden).encode("utf-8", "replace")
            entry = tarfile.TarInfo(f"varde-bundle/{name}")
            entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
            archive.addfile(entry, io.BytesIO(data))
            click.echo(f"  {name}", err=True)
    click.echo(str(output))


def secrets_of(settings: BaseModel) -> list[str]:
    """Every configured secret, the longest first, so that one that contains another goes whole."""
    found: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
            found.update({text, text.partition(":")[2]} if text.startswith(("hex:", "text:")) else {text})
        elif isinstance(value, BaseModel):
            for name in type(value).model_fields:
                walk(getattr(value, name))
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(settings)
    return sorted((text for text in found if len(text) >= 4), key=len, reverse=True)


def redact(text: str, hidden: list[str]) -> str:
    for secret in hidden:
        text = text.replace(secret, "********").replace(json.dumps(secret)[1:-1], "********")
    return text


def _parts(settings: Settings, config: Path | None) -> Iterator[tuple[str, str]]:
    yield "version.txt", f"varde {__version__}\n{platform.platform()}\nPython {platform.python_version()}\n"
    yield "configuration.json", settings.model_dump_json(indent=2)
    for name, path in (("status", "status"), ("health", "health"), ("batches", "batches")):
        yield f"{name}.json", _ask(settings, f"/api/v1/{path}")
    yield "checks.json", json.dumps(trio.run(_checks, settings, config), indent=2)
    yield "database.json", json.dumps(_counts(settings.paths.database), indent=2)
    usage = shutil.disk_usage("/")
    yield "disk.txt", f"/: {usage.free} of {usage.total} bytes free\n"
    yield "journal.txt", _journal()
    for file in FILES.values():
        yield file, _tail(settings.paths.log_dir / file)


async def _checks(settings: Settings, config: Path | None) -> list[dict[str, Any]]:
    return [check.as_json() async for check in checks.run(settings, config)]


def _ask(settings: Settings, path: str) -> str:
    """The running agent's answer, or why there is none."""
    transport = httpx.HTTPTransport(uds=str(settings.paths.control_socket))
    try:
        with httpx.Client(transport=transport, base_url="http://varde", timeout=10) as client:
            return client.get(path).text
    except httpx.HTTPError as error:
        return json.dumps({"error": f"the agent does not answer: {error}"})


def _counts(database: Path) -> dict[str, Any]:
    try:
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        counts: dict[str, Any] = {
            table: connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]  # noqa: S608 - names of ours
            for table in tables
        }
        counts["user_version"] = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.close()
    except sqlite3.Error as error:
        return {"error": str(error)}
    return counts


def _journal() -> str:
    try:
        command = ["journalctl", "-u", "varde-agent", "-n", "2000", "--no-pager", "-o", "short-iso"]
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout  # noqa: S603 - fixed words
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"journalctl cannot be asked: {error}\n"


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}\n"
