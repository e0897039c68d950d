"""Manual pages varde(1) and agent.toml(5) in troff, from the command tree and the settings."""

import click

from agent import __version__
from agent.cli.tree import Command, Option, read
from agent.settings.describe import Setting, Table, tables

_EXIT = (
    ("0", "Done; for a check or a status: everything works."),
    ("1", "Failed, or degraded; the output says what and what to do."),
    ("2", "Wrong usage: an unknown command or option."),
    ("3", "The daemon is not running."),
    ("78", "The configuration cannot be used: one line a fault, with file, key and reason."),
)
_FILES = (
    ("/etc/varde/agent.toml", "The configuration, see agent.toml(5)."),
    ("/etc/varde/keys.json", "API keys of the Patriot client API."),
    ("/etc/varde/credentials/", "Secrets, one a file; console_token is made by the package."),
    ("/var/lib/varde/", "State: the database, clients' XML files, pictures."),
    ("/var/log/varde/", "api_requests.log, xml_combine.log, import_errors.log; everything else is in the journal."),
    ("/run/varde/control.sock", "Where commands reach the daemon; for members of the group varde."),
)
_ENVIRONMENT = (
    ("VARDE_CONFIG", "Configuration file, as --config."),
    ("VARDE_<TABLE>__<KEY>", "Any setting, for instance VARDE_SHARE__PASSWORD; wins over file and credentials."),
)


def command_page(root: click.Group, name: str = "varde") -> str:
    """varde(1): every command with its options."""
    tree = read(root, name)
    summary, _, rest = tree.help.partition("\n\n")
    lines = [_title(name, 1, "User Commands"), ".SH NAME", f"{name} \\- agent for alarmed sites", ".SH SYNOPSIS"]
    lines += [f".B {name}", _roman("[OPTIONS] COMMAND [ARGUMENTS]"), ".SH DESCRIPTION", *_prose(summary)]
    lines += [".PP", *_prose(rest)] if rest else []
    lines += _options(tree)
    lines.append(".SH COMMANDS")
    for command in tree.walk():
        if command is not tree and not command.commands:
            lines += _command(command)
    lines += [".SH EXIT STATUS", *_list(_EXIT), ".SH FILES", *_list(_FILES)]
    lines += [".SH ENVIRONMENT", *_list(_ENVIRONMENT), ".SH SEE ALSO", ".BR agent.toml (5),", ".BR systemctl (1)"]
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    """agent.toml(5): every setting with its values, default and meaning."""
    lines = [_title("agent.toml", 5, "File Formats"), ".SH NAME", "agent.toml \\- configuration of varde"]
    lines += [".SH SYNOPSIS", ".I /etc/varde/agent.toml", ".SH DESCRIPTION"]
    lines += _prose(
        "A TOML file. Every table may be left out, and so may every setting that has a default; an unknown key is an "
        "error. Durations are seconds and end in _s, sizes are bytes and end in _bytes.\n\nSecrets are better kept as "
        "files in the folder credentials beside it, or as systemd credentials of the same names: share_password, "
        "console_token, source_<name>_password, source_<name>_api_key, sink_<name>_password, sink_<name>_secret, "
        "sink_<name>_encryption_key. They win over this file; VARDE_ variables win over both.\n\nAfter a change, "
        "varde check tries everything out, and systemctl reload varde-agent puts it in force."
    )
    for table in tables():
        lines += _table(table)
    lines += [".SH SEE ALSO", ".BR varde (1)"]
    return "\n".join(lines) + "\n"


def _title(name: str, section: int, heading: str) -> str:
    # The version stands in place of a date, so that one tree always gives one page.
    # Left-adjusted: paths and keys do not break, and a justified line around one is full of holes.
    return f'.TH {name.upper()} {section} "" "varde {_escaped(__version__)}" "{heading}"\n.ad l'


def _command(command: Command) -> list[str]:
    usage = " ".join((*command.path[1:], *(argument.usage for argument in command.arguments)))
    lines = [f".SS {_heading(usage)}", *_prose(command.help)]
    for option in command.options:
        lines += [".TP", _option(option), *_prose(option.help + (f" [{option.default}]" if option.default else ""))]
    return lines


def _options(tree: Command) -> list[str]:
    lines = [".SH OPTIONS"]
    for option in tree.options:
        lines += [".TP", _option(option), *_prose(option.help)]
    return lines


def _option(option: Option) -> str:
    names = ", ".join(f"\\fB{_escaped(name)}\\fR" for name in option.names)
    return f"{names} \\fI{_escaped(option.metavar)}\\fR" if option.metavar else names


def _table(table: Table) -> list[str]:
    heading = table.header + (f', kind = "{table.kind}"' if table.kind else "")
    lines = [f".SH {_heading(heading)}", *_prose(table.help)]
    if table.optional:
        lines += [".PP", "Not there by default."]
    for setting in table.settings:
        lines += [".TP", f"\\fB{_escaped(setting.key)}\\fR ({_escaped(setting.values)})", *_prose(_meaning(setting))]
    return lines


def _meaning(setting: Setting) -> str:
    help_text = setting.help
    # "smb: its NetBIOS name" begins with a word of the file, which keeps its small letter.
    text = help_text if ":" in help_text.split(" ")[0] else help_text[:1].upper() + help_text[1:]
    text += "." if text and text[-1] not in '."' else ""
    if setting.required:
        return f"{text} Required.".strip()
    if setting.default is None:
        return f"{text} No default; for example {setting.example}.".strip()
    return f"{text} Default: {setting.default}.".strip()


def _list(pairs: tuple[tuple[str, str], ...]) -> list[str]:
    return [line for term, text in pairs for line in (".TP", f"\\fB{_escaped(term)}\\fR", *_prose(text))]


def _prose(text: str) -> list[str]:
    """Paragraphs; one that click is told to leave alone (after a backspace) keeps its lines."""
    lines: list[str] = []
    for paragraph in filter(None, text.split("\n\n")):
        if lines:
            lines.append(".PP" if not paragraph.startswith("\b") else ".sp")
        if paragraph.startswith("\b"):
            lines += [".nf", *map(_roman, paragraph.strip("\b\n").splitlines()), ".fi"]
        else:
            lines.append(_roman(" ".join(paragraph.split())))
    return lines


def _roman(text: str) -> str:
    """A line of text; a leading dot or quote would be taken for a request."""
    return f"\\&{_escaped(text)}" if text[:1] in ".'" else _escaped(text)


def _heading(text: str) -> str:
    """An argument of a request, where a plain quotation mark would be eaten."""
    return _escaped(text).replace('"', "\\(dq")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
