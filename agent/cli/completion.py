"""Bash completion as one static script: no Python starts while somebody types."""

import shlex

import click

from agent.cli.tree import Command, read

_SCRIPT = """\
# bash completion for {name}, written from its command tree

_{name}() {{
    local current previous path word
    current="${{COMP_WORDS[COMP_CWORD]}}"
    previous="${{COMP_WORDS[COMP_CWORD - 1]}}"
    path="{name}"
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD - 1}}"; do
        case "$path $word" in
{steps}
        esac
    done
    COMPREPLY=()
    case "$path:$previous" in
{values}
    esac
    case "$path" in
{words}
    esac
}}
complete -F _{name} {name}
"""


def bash(root: click.Group, name: str = "varde") -> str:
    """The script. It knows commands, options, the words of a choice, and where a file is meant."""
    tree = read(root, name)
    steps = [_path(command) for command in tree.walk() if command is not tree]
    return _SCRIPT.format(
        name=name,
        steps="\n".join(f"            {_quoted(step)}) path={_quoted(step)} ;;" for step in steps),
        values="\n".join(line for command in tree.walk() for line in _values(command)),
        words="\n".join(_words(command) for command in tree.walk()),
    )


def _values(command: Command) -> list[str]:
    """What follows an option that takes a value."""
    lines = []
    for option in command.options:
        if not option.metavar:
            continue
        pattern = "|".join(_quoted(f"{_path(command)}:{name}") for name in option.names)
        lines.append(f"        {pattern}) {_reply(option.values, file=option.file)}; return ;;")
    return lines


def _words(command: Command) -> str:
    """What may stand next: commands, the words of an argument, options once a hyphen is there."""
    words = [below.path[-1] for below in command.commands]
    words += [word for argument in command.arguments for word in argument.values]
    options = [name for option in command.options for name in option.names]
    files = any(argument.file for argument in command.arguments)
    return (
        f"        {_quoted(_path(command))})\n"
        f'            if [[ "$current" == -* ]]; then {_reply(tuple(options), file=False)}\n'
        f"            else {_reply(tuple(words), file=files)}; fi ;;"
    )


def _reply(words: tuple[str, ...], *, file: bool) -> str:
    if file:
        return 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current")'
    if not words:
        return "COMPREPLY=()"
    return f'mapfile -t COMPREPLY < <(compgen -W {_quoted(" ".join(words))} -- "$current")'


def _path(command: Command) -> str:
    return " ".join(command.path)


def _quoted(text: str) -> str:
    return shlex.quote(text)
