"""Wording of configuration faults: file, key, value (never a secret's), reason, and a did-you-mean."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

SECRET_KEYS = frozenset({"password", "token", "secret", "encryption_key", "api_key", "key"})
_TAGS = frozenset({"davantis", "lockt", "sensaphone", "milestone", "sia-dc09", "webhook", "mqtt", "ZoneAt"})


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """One fault. `place` is the file or variable it stands in, `key` the dotted key ("" for the file itself)."""

    place: str
    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.key}: {self.reason}" if self.key else f"{self.place}: {self.reason}"


class ConfigurationError(Exception):
    """The configuration cannot be used; every fault at once."""

    def __init__(self, faults: Sequence[ConfigFault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = list(faults)


def from_validation(
    error: ValidationError, model: type[BaseModel], file: Path, merged: Mapping[str, Any], origins: Mapping[str, str]
) -> list[ConfigFault]:
    """One `ConfigFault` a pydantic error; `origins` says which keys came from a variable or credential."""
    faults = []
    for detail in error.errors(include_url=False, include_context=False):
        path = [
            part
            for part in detail["loc"]
            if part not in _TAGS and not str(part).startswith(("function-", "constrained"))
        ]
        if detail["type"].startswith("union_tag_"):
            path.append("kind")
        key = _dotted(path)
        reason = _reason(detail, path, merged)
        place = next((origin for prefix, origin in origins.items() if key == prefix), str(file))
        faults.append(ConfigFault(place, key or "configuration", reason))
    return list(dict.fromkeys(faults))


def _dotted(path: Sequence[Any]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _reason(detail: Any, path: Sequence[Any], merged: Mapping[str, Any]) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        return "unknown key" + did_you_mean(str(path[-1]), _siblings(detail["loc"]))
    if kind in ("missing", "union_tag_not_found"):
        return "is required and missing"
    if kind == "union_tag_invalid":
        return _unknown_kind(detail["msg"], path, merged)
    if kind == "model_type":
        return "must be a table, { … }"
    message = str(detail["msg"]).removeprefix("Value error, ")
    message = message.replace("Input should be", "must be").replace("String should match pattern", "must match")
    shown = _shown(path, merged)
    return f"{message} (is {shown})" if shown is not None else message


def _unknown_kind(message: str, path: Sequence[Any], merged: Mapping[str, Any]) -> str:
    """`message` is pydantic's, which lists the kinds there are."""
    given = str(merged[path[0]][path[1]]["kind"])[:80]
    known = re.findall("'([a-z0-9-]+)'", message.partition("expected tags:")[2])
    return f'"{given}" is no kind of {path[0]}{did_you_mean(given, known)}'


def _shown(path: Sequence[Any], merged: Mapping[str, Any]) -> str | None:
    """The bad value for people; None for a secret, a table or a value that is not there."""
    if any(str(part) in SECRET_KEYS for part in path):
        return None
    value: Any = merged
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    if isinstance(value, str):
        masked = re.sub(r"://[^@/\s]*@", "://…@", value)
        return f'"{masked[:80]}"'
    return str(value) if isinstance(value, bool | int | float) else None


def _siblings(loc: Sequence[Any]) -> list[str]:
    """The keys that exist where an unknown one was found."""
    from agent.settings import models, sinks, sources

    tables: dict[str, type[BaseModel]] = {
        "davantis": sources.DavantisSource,
        "lockt": sources.LocktSource,
        "sensaphone": sources.SensaphoneSource,
        "sia-dc09": sinks.Dc09Sink,
        "webhook": sinks.WebhookSink,
        "mqtt": sinks.MqttSink,
    }
    table: type[BaseModel] = models.Settings
    for part in loc[:-1]:
        if part == "milestone":
            table = sources.MilestoneSource if "sources" in loc else sinks.MilestoneSink
        elif part in tables:
            table = tables[str(part)]
        elif isinstance(part, str) and part in table.model_fields:
            annotation = table.model_fields[part].annotation
            for option in (annotation, *getattr(annotation, "__args__", ())):
                if isinstance(option, type) and issubclass(option, BaseModel):
                    table = option
    return list(table.model_fields)


def did_you_mean(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f', did you mean "{close[0]}"?' if close else f"; known here: {', '.join(sorted(known))}"
