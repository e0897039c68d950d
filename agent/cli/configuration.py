"""Loading the configuration for a command: every fault a line on stderr, exit 78."""

import re
from pathlib import Path

import click

from agent.cli import CONFIGURATION_EXIT
from agent.settings import ConfigurationError, Settings, load
from agent.settings.load import DEFAULT_PATH
from agent.settings.models import Paths

_RUN_DIR = re.compile(r"""^\s*run_dir\s*=\s*["']([^"'\n]+)["']""", re.MULTILINE)


def config_path(ctx: click.Context) -> Path | None:
    path: Path | None = (ctx.find_root().obj or {}).get("config")
    return path


def settings_of(ctx: click.Context) -> Settings:
    try:
        return load(config_path(ctx))
    except ConfigurationError as error:
        for fault in error.faults:
            click.echo(str(fault), err=True)
        raise SystemExit(CONFIGURATION_EXIT) from None


def control_socket(ctx: click.Context) -> Path:
    """Where the daemon of this configuration listens. A configuration broken since the daemon started still tells."""
    path = config_path(ctx)
    try:
        return load(path).paths.control_socket
    except ConfigurationError as error:
        socket = _socket_in(path or DEFAULT_PATH)
        if socket is not None and socket.exists():
            return socket
        for fault in error.faults:
            click.echo(str(fault), err=True)
        raise SystemExit(CONFIGURATION_EXIT) from None


def _socket_in(file: Path) -> Path | None:
    """The socket that a file names which is not even TOML any more."""
    try:
        named = _RUN_DIR.search(file.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return (Path(named[1]) if named else Paths().run_dir) / "control.sock"
