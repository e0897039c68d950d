"""A click command tree as plain values, for manual pages and completion."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click


@dataclass(frozen=True, slots=True)
class Option:
    """One option. `metavar` is "" for a flag; `values` holds the words of a choice; `file` asks for a file's name."""

    names: tuple[str, ...]
    metavar: str
    help: str
    values: tuple[str, ...]
    file: bool
    default: str


@dataclass(frozen=True, slots=True)
class Argument:
    """One positional argument, written as in the usage line."""

    usage: str
    values: tuple[str, ...]
    file: bool


@dataclass(frozen=True, slots=True)
class Command:
    """One command; `path` is what is typed, for instance ("varde", "keys", "add")."""

    path: tuple[str, ...]
    help: str
    options: tuple[Option, ...]
    arguments: tuple[Argument, ...]
    commands: tuple["Command", ...]

    def walk(self) -> Iterator["Command"]:
        """This command, then all below it, depth first."""
        yield self
        for command in self.commands:
            yield from command.walk()


def read(root: click.Group, name: str = "varde") -> Command:
    """The tree below `root` without hidden commands and options."""
    return _command(root, name, None)


def _command(command: click.Command, name: str, parent: click.Context | None) -> Command:
    context = click.Context(command, info_name=name, parent=parent)
    parameters = command.get_params(context)
    below: list[Command] = []
    if isinstance(command, click.Group):
        for child_name in command.list_commands(context):
            child = command.get_command(context, child_name)
            if child is not None and not child.hidden:
                below.append(_command(child, child_name, context))
    return Command(
        path=tuple(context.command_path.split()),
        help=_paragraphs(command.help or ""),
        options=tuple(_options(parameters, context)),
        arguments=tuple(_argument(p, context) for p in parameters if isinstance(p, click.Argument)),
        commands=tuple(below),
    )


def _paragraphs(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.split("\f")[0].strip().splitlines())


def _options(parameters: list[click.Parameter], context: click.Context) -> Iterator[Option]:
    seen: set[tuple[str, ...]] = set()
    for option in parameters:
        names = (*option.opts, *option.secondary_opts)
        if not isinstance(option, click.Option) or option.hidden or names in seen:
            continue
        seen.add(tuple(names))
        flag = option.is_flag or option.count
        shown = option.default if isinstance(option.default, str | int | float) and option.show_default else ""
        yield Option(
            names=tuple(names),
            metavar="" if flag else option.make_metavar(context),
            help=option.help or "",
            values=_values(option.type),
            file=isinstance(option.type, click.Path | click.File),
            default=str(shown),
        )


def _argument(argument: click.Argument, context: click.Context) -> Argument:
    is_file = isinstance(argument.type, click.Path | click.File)
    return Argument(argument.make_metavar(context), _values(argument.type), is_file)


def _values(kind: click.ParamType[Any]) -> tuple[str, ...]:
    return tuple(str(choice) for choice in kind.choices) if isinstance(kind, click.Choice) else ()
