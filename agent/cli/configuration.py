"""Loading the configuration for a command: every fault a line on stderr, exit 78."""

import tomllib
from pathlib import Path

import click

from agent.cli import CONFIGURATION_EXIT
from agent.settings import ConfigurationError, Settings, load
from agent.settings.load import DEFAULT_PATH


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
        try:
            tables = tomllib.loads((path or DEFAULT_PATH).read_text("utf-8"))
            return Path(str(tables["paths"]["run_dir"])) / "control.sock"
        except (OSError, ValueError, KeyError, TypeError):
            for fault in error.faults:
                click.echo(str(fault), err=True)
            raise SystemExit(CONFIGURATION_EXIT) from None
