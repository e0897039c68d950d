"""Read agent.toml, `VARDE_…` variables and systemd credentials, and merge them into `Settings`.

Later wins: file, then credentials, then variables. A variable's path is nested by `__`, entries of `sources` and
`sinks` are named by index or by name: `VARDE_SHARE__PASSWORD`, `VARDE_SOURCES__YARD__PASSWORD`. A credential's file
is named the same way with `_`: `share_password`, `console_token`, `source_yard_password`,
`sink_receiver_encryption_key`.

Credentials are the files of `$CREDENTIALS_DIRECTORY`, where systemd runs the agent; else those of the folder
`credentials` beside agent.toml, so that a command given by hand sees what the service sees.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent.settings.models import Settings
from agent.settings.report import SECRET_KEYS, ConfigFault, ConfigurationError, did_you_mean, from_validation

DEFAULT_PATH = Path("/etc/varde/agent.toml")
PREFIX = "VARDE_"
# The unit loads the whole folder of credentials as "varde", and systemd then calls each of its files varde_<file>.
CREDENTIAL_PREFIX = "varde_"
# Variables that belong to the command line and the test-suite rather than to a setting.
RESERVED = frozenset({"VARDE_CONFIG", "VARDE_TEST"})


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of `path` (default `/etc/varde/agent.toml`, where a missing file means nothing is configured).

    Raises `ConfigurationError` with every fault.
    """
    environ = os.environ if environ is None else environ
    file = path or DEFAULT_PATH
    merged = _read_toml(file, required=path is not None)
    faults: list[ConfigFault] = []
    origins: dict[str, str] = {}
    _merge_credentials(merged, _credential_files(environ, file), faults, origins)
    _merge_environment(merged, environ, faults, origins)
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        faults += from_validation(error, Settings, file, merged, origins)
    except TypeError:
        faults.append(ConfigFault(str(file), "", "the top level holds tables only"))
    if faults:
        raise ConfigurationError(faults)
    return settings


def _read_toml(file: Path, *, required: bool) -> dict[str, Any]:
    text = ""
    try:
        text = file.read_bytes().decode("utf-8-sig")
        return tomllib.loads(text)
    except FileNotFoundError:
        if not required:
            return {}
        reason = "there is no such file"
    except tomllib.TOMLDecodeError as error:
        last = f"at line {len(text.splitlines())}, the end of the file"
        reason = f"is not TOML: {error}".replace("at end of document", last)
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 (byte {error.start})"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    raise ConfigurationError([ConfigFault(str(file), "", reason)])


def _merge_environment(
    merged: dict[str, Any], environ: Mapping[str, str], faults: list[ConfigFault], origins: dict[str, str]
) -> None:
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable in RESERVED:
            continue
        path = variable[len(PREFIX) :].lower().split("__")
        if path[0] not in Settings.model_fields:
            faults.append(
                ConfigFault(variable, "", "unknown variable" + did_you_mean(path[0], list(Settings.model_fields)))
            )
            continue
        _put(merged, path, _parsed(text, path[-1]), variable, faults, origins)


def _parsed(text: str, key: str) -> Any:
    """Lists and tables are given as JSON; a secret is taken as it is, whatever it looks like."""
    if key not in SECRET_KEYS and text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _credential_files(environ: Mapping[str, str], config: Path) -> list[Path]:
    given = environ.get("CREDENTIALS_DIRECTORY")
    folder = Path(given) if given else config.parent / "credentials"
    try:
        return sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    except OSError:
        return []  # none, or not for this user's eyes: what a missing secret breaks, its own fault names


def _merge_credentials(
    merged: dict[str, Any], files: list[Path], faults: list[ConfigFault], origins: dict[str, str]
) -> None:
    for file in files:
        path = _credential_path(file.name)
        if path is None:
            continue  # the unit may carry credentials of others
        try:
            text = file.read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError):
            faults.append(ConfigFault(f"credential {file.name}", "", "cannot be read as text"))
            continue
        if text:
            _put(merged, path, text, f"credential {file.name}", faults, origins)


def _credential_path(name: str) -> list[str] | None:
    name = name.removeprefix(CREDENTIAL_PREFIX)
    if name in ("share_password", "console_token"):
        return name.split("_", 1)
    for table, keys in (("source", ("password", "api_key")), ("sink", ("password", "secret", "encryption_key"))):
        for key in keys:
            if name.startswith(f"{table}_") and name.endswith(f"_{key}"):
                return [f"{table}s", name[len(table) + 1 : -len(key) - 1], key]
    return None


def _put(
    merged: dict[str, Any], path: list[str], value: Any, origin: str, faults: list[ConfigFault], origins: dict[str, str]
) -> None:
    """Set one value in the merged tables; an entry of a list is found by index or name."""
    here: Any = merged
    key = ""
    for depth, part in enumerate(path):
        last = depth == len(path) - 1
        if isinstance(here, list):
            index = _index(here, part)
            if index is None:
                faults.append(ConfigFault(origin, key, f'no entry is named "{part}"'))
                return
            key += f"[{index}]"
            if last:
                here[index] = value
            else:
                here = here[index]
        else:
            key += f".{part}" if key else part
            if last:
                here[part] = value
            else:
                here = here.setdefault(part, {})
        if not isinstance(here, dict | list):
            faults.append(ConfigFault(origin, key, "is not a table"))
            return
    origins[key] = origin


def _index(entries: list[Any], part: str) -> int | None:
    if part.isdecimal():
        return int(part) if int(part) < len(entries) else None
    for index, entry in enumerate(entries):
        if isinstance(entry, dict) and str(entry.get("name", "")).replace("-", "_") == part.replace("-", "_"):
            return index
    return None
