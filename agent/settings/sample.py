"""The commented agent.toml that the package installs, written from the settings themselves.

`etc/agent.toml` is this text, checked in so that people can read it; a test compares the two. Lines that begin with
"##" are prose; a setting behind a single "#" is its default, so taking every such sign away changes nothing but
what is marked as an example.
"""

import textwrap

from agent.settings.describe import Setting, Table, tables

_HEAD = """\
## Varde on this site. Every setting is here; `man agent.toml` says the same at more length.
##
## Lines that begin with ## explain. A setting behind a single # shows its default: take the # away to change it.
## "example" marks a setting that has no default. Durations are seconds (…_s), sizes are bytes (…_bytes).
##
## Passwords are better kept out of this file: put each in a file of its own under credentials/ beside it, named
## share_password, console_token, source_<name>_password, source_<name>_api_key, sink_<name>_password,
## sink_<name>_secret or sink_<name>_encryption_key. A file there wins over this one, and so does an environment
## variable such as VARDE_SHARE__PASSWORD.
##
## After a change: varde check, then systemctl reload varde-agent (restart, after a change under credentials/).
"""
_LISTS = {
    "sources": "Devices whose alarms are read: one [[sources]] block each. Four kinds:",
    "sinks": "Where alarms are delivered: one [[sinks]] block each. Every alarm goes to every sink. Four kinds:",
}
WIDTH = 116


def sample() -> str:
    """The whole text of agent.toml."""
    parts = [_HEAD]
    listed: set[str] = set()
    for table in tables():
        if table.kind and table.name not in listed:
            parts.append(_prose(_LISTS[table.name]))
        parts.append(_table(table, explain_shared=table.name not in listed))
        if table.kind:
            listed.add(table.name)
    return "\n".join(parts)


def _table(table: Table, *, explain_shared: bool) -> str:
    text = _prose(table.help) if table.help else ""
    text += f"{'# ' if table.optional else ''}{table.header}\n"
    for setting in table.settings:
        if setting.shared and not explain_shared and not setting.required:
            continue
        text += _setting(setting)
    left_out = [setting.key for setting in table.settings if setting.shared and not setting.required]
    if left_out and not explain_shared:
        text += _prose(f"and, as in the first block: {', '.join(left_out)}")
    return text


def _setting(setting: Setting) -> str:
    line = f"# {setting.key} = {setting.shown}"
    if setting.default is None and setting.key != "kind":
        line += "  # example"
    note = setting.help
    if " or " in setting.values and setting.values[0] == '"' and note[:1] != '"':
        note = f"{note} ({setting.values})"
    return (_prose(note) if note else "") + line + "\n"


def _prose(text: str) -> str:
    lines = textwrap.wrap(text, WIDTH - 3, break_long_words=False, break_on_hyphens=False)
    return "".join(f"## {line}\n" for line in lines)
