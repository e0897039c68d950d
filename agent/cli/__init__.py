"""The command line: one module a command, thin; each is imported only when it is called.

Exit codes: 0 done, 1 failed or degraded, 2 wrong usage, 3 the daemon is not running, 78 the configuration cannot be
used (one line a fault).
"""

import importlib
from pathlib import Path
from typing import Any

import click

from agent import __version__

CONFIGURATION_EXIT = 78
NOT_RUNNING_EXIT = 3

# In the order of --help: what is asked every day first.
COMMANDS = {
    "status": "agent.cli.status:status",
    "alarms": "agent.cli.alarms:alarms",
    "deliveries": "agent.cli.deliveries:deliveries",
    "clients": "agent.cli.clients:clients",
    "batches": "agent.cli.batches:batches",
    "combine": "agent.cli.batches:combine",
    "act": "agent.cli.act:act",
    "console": "agent.cli.console:console",
    "check": "agent.cli.check:check",
    "setup": "agent.cli.setup:setup",
    "keys": "agent.cli.keys:keys",
    "lockt": "agent.cli.lockt:lockt",
    "migrate": "agent.cli.migrate:migrate",
    "bundle": "agent.cli.bundle:bundle",
    "run": "agent.cli.run:run",
    "demo": "agent.cli.demo:demo",
    "simulate": "agent.cli.simulate:simulate",
    "manual": "agent.cli.manual:manual",
}


class Lazy(click.Group):
    """A group whose commands are imported when used, so that `varde status` starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return _with_config(command)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from agent.settings.report import did_you_mean

            raise click.UsageError(f'there is no command "{args[0]}"{did_you_mean(args[0], list(COMMANDS))}') from error


def _with_config(command: click.Command) -> click.Command:
    """`--config FILE` stands after any command, at any depth, as well as before it."""
    if isinstance(command, click.Group):
        for nested in command.commands.values():
            _with_config(nested)
    if all(parameter.name != "config" for parameter in command.params):
        command.params.append(_config_option(expose_value=False))
    return command


def _remember(ctx: click.Context, _parameter: click.Parameter, value: Path | None) -> Path | None:
    root = ctx.find_root()
    root.ensure_object(dict)
    if value is not None or "config" not in root.obj:
        root.obj["config"] = value
    return value


def _config_option(*, expose_value: bool) -> click.Option:
    return click.Option(
        ["--config"],
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        envvar="VARDE_CONFIG",
        callback=_remember,
        is_eager=True,
        expose_value=expose_value,
        help="Configuration file (default /etc/varde/agent.toml).",
    )


@click.group(
    cls=Lazy, params=[_config_option(expose_value=False)], context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="varde")
@click.pass_context
def root(ctx: click.Context) -> None:
    """Varde polls the site's security hardware, delivers every alarm to the monitoring centre, and registers clients
    with Patriot.

    \b
    A new box:   varde setup      guided, tests before it saves
                 varde check      does everything answer?
                 varde status     what is the agent doing?
    A look:      varde demo       a whole simulated site on this machine
    """
    ctx.ensure_object(dict)
