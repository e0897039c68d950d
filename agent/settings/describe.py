"""The settings described, read from the models: what agent.toml, its manual page and the set-up say about each.

A setting that has no default, or whose default is to be absent, is shown with an example; `EXAMPLES` holds those, so
that the installed file can be made real by taking comment signs away and by nothing else.
"""

import json
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from agent.settings.models import Settings
from agent.settings.types import Listen

EXAMPLES = {
    "patriot.tls_certificate": '"/etc/varde/tls/api.pem"',
    "patriot.tls_key": '"/etc/varde/tls/api.key"',
    "patriot.trusted_proxies": '["10.0.0.8"]',
    "combine.every_s": "60",
    "share.kind": '"smb"',
    "share.path": '"/srv/import"',
    "share.server": '"10.0.0.5"',
    "share.share": '"api_import"',
    "share.username": '"importer"',
    "sources.davantis.name": '"yard"',
    "sources.lockt.name": '"front-door"',
    "sources.sensaphone.name": '"pump-house"',
    "sources.milestone.name": '"vms"',
    "sources.account": '"9998"',
    "sources.zones": '{ "1" = 3, "2" = { account = "9999", zone = 1 } }',
    "sources.ca_file": '"/etc/varde/tls/device-ca.pem"',
    "sources.davantis.url": '"http://192.168.1.100:21000"',
    "sources.milestone.url": '"https://vms.example.no"',
    "sources.username": '"admin"',
    "sources.password": '"…"',
    "sources.api_user": '"site-42"',
    "sources.api_key": '"…"',
    "sources.codes": '{ "49" = "access_denied", "49/104" = "other" }',
    "sources.idp_url": '"https://vms.example.no/IDP"',
    "sinks.sia-dc09.name": '"receiver"',
    "sinks.webhook.name": '"webhook"',
    "sinks.mqtt.name": '"mqtt"',
    "sinks.milestone.name": '"xprotect"',
    "sinks.sources": '["yard"]',
    "sinks.kinds": '["intrusion", "person"]',
    "sinks.host": '"10.0.0.6"',
    "sinks.port": "6500",
    "sinks.account": '"9998"',
    "sinks.encryption_key": '"hex:00112233445566778899aabbccddeeff"',
    "sinks.standby": '{ host = "10.0.0.7", port = 6500, supervision_interval_s = 300 }',
    "sinks.codes": '{ person = { sia = "BA", sia_restoral = "BR", cid = "130" } }',
    "sinks.webhook.url": '"https://example.no/alarms"',
    "sinks.milestone.url": '"https://vms.example.no"',
    "sinks.mqtt.url": '"mqtts://user@mqtt.example.no:8883"',
    "sinks.secret": '"…"',
    "sinks.ca_file": '"/etc/varde/tls/far-end-ca.pem"',
    "sinks.username": '"varde"',
    "sinks.password": '"…"',
    "sinks.client_id": '"varde-site-mqtt"',
    "sinks.idp_url": '"https://vms.example.no/IDP"',
    "sinks.camera": '"6f3a1c9e-0000-4000-8000-000000000001"',
    "console.tls_certificate": '"/etc/varde/tls/console.pem"',
    "console.tls_key": '"/etc/varde/tls/console.key"',
    "console.token": '"…at least 8 characters…"',
    "console.public_url": '"https://site.example.no:8082"',
    "retention.alarms_s": "31622400",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One key. `default` is TOML text, None where there is none (`required`) or where it is absent by default."""

    key: str
    values: str
    default: str | None
    required: bool
    example: str
    help: str
    shared: bool

    @property
    def shown(self) -> str:
        """The TOML text to show for it."""
        return self.example if self.default is None else self.default


@dataclass(frozen=True, slots=True)
class Table:
    """A table of agent.toml, or one kind of an array of tables. `optional`: not there unless it is written."""

    name: str
    kind: str
    help: str
    optional: bool
    settings: tuple[Setting, ...]

    @property
    def header(self) -> str:
        return f"[[{self.name}]]" if self.kind else f"[{self.name}]"


def tables() -> list[Table]:
    """Every table in the order of the file; sources and sinks once a kind."""
    return [table for name, field in Settings.model_fields.items() for table in _tables_of(name, field)]


def _tables_of(name: str, field: FieldInfo) -> Iterator[Table]:
    models = list(_models_in(field.annotation))
    listed = typing.get_origin(field.annotation) is list
    for model in models:
        kind = typing.get_args(model.model_fields["kind"].annotation)[0] if listed else ""
        help_text = field.description or (model.__doc__ or "").strip()
        optional = listed or field.default is None
        yield Table(name, kind, help_text, optional, tuple(_settings(name, kind, model, models if listed else [])))


def _settings(table: str, kind: str, model: type[BaseModel], siblings: Iterable[type[BaseModel]]) -> Iterator[Setting]:
    fields = model.model_fields
    for key in sorted(fields, key=lambda key: ("name", "kind").index(key) if key in ("name", "kind") else 2):
        field = fields[key]
        yield Setting(
            key=key,
            values=_values(field),
            default=_default(field),
            required=field.is_required(),
            example=f'"{kind}"' if kind and key == "kind" else _example(table, kind, key),
            help=" ".join((field.description or "").split()),
            shared=all(_same(sibling, model, key) for sibling in siblings) if siblings else False,
        )


def _same(sibling: type[BaseModel], model: type[BaseModel], key: str) -> bool:
    """Whether a sibling takes the key from the same base class."""
    return key in sibling.model_fields and key not in sibling.__annotations__ and key not in model.__annotations__


def _example(table: str, kind: str, key: str) -> str:
    return EXAMPLES.get(f"{table}.{kind}.{key}") or EXAMPLES.get(f"{table}.{key}") or ""


def _default(field: FieldInfo) -> str | None:
    if field.is_required() or field.default is None:
        return None
    if field.default in ({}, []):
        return None  # an empty table teaches nothing: an example does
    return toml(field.default)


def toml(value: Any) -> str:
    """A default as TOML text."""
    if isinstance(value, Enum):
        return toml(value.value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, SecretStr):
        return json.dumps(value.get_secret_value())
    if isinstance(value, str | Path | Listen):
        return json.dumps(str(value), ensure_ascii=False)
    raise TypeError(f"no TOML text for {type(value).__name__}")


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The tables inside an annotation: itself, the members of a union, what a list holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation is not Listen:
        yield annotation
    else:
        for part in typing.get_args(annotation):
            yield from _models_in(part)


def _values(field: FieldInfo) -> str:
    """What may stand there, in words."""
    bounds = [*field.metadata, *_metadata_in(field.annotation)]
    return _words(field.annotation) + _range(bounds)


def _metadata_in(annotation: Any) -> Iterator[Any]:
    if typing.get_origin(annotation) is typing.Annotated:
        yield from annotation.__metadata__
    if typing.get_origin(annotation) in (typing.Annotated, typing.Union, types.UnionType):
        for part in typing.get_args(annotation):
            yield from _metadata_in(part)


def _words(annotation: Any) -> str:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _words(parts[0])
    if origin in (typing.Union, types.UnionType):
        return _words(next(part for part in parts if part is not types.NoneType))
    if origin is Literal:
        return " or ".join(toml(part) for part in parts)
    if origin is list:
        return f"list of {_words(parts[0])}s"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation is not Listen:
        return "table with " + ", ".join(annotation.model_fields)
    return _WORDS.get(origin or annotation, "text")


_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    dict: "table",
    Path: "path",
    SecretStr: "secret text",
    Listen: '"address:port"',
}


def _range(metadata: Iterable[Any]) -> str:
    found: dict[str, Any] = {}
    flat = [inner for item in metadata for inner in (item.metadata if isinstance(item, FieldInfo) else [item])]
    for item in flat:
        found |= {name: getattr(item, name) for name in ("gt", "ge", "lt", "le") if hasattr(item, name)}
    low, high = found.get("ge", found.get("gt")), found.get("le", found.get("lt"))
    if low is None and high is None:
        return ""
    lower = f"above {toml(low)}" if "gt" in found else f"from {toml(low)}" if low is not None else ""
    return f", {lower}" + (f" to {toml(high)}" if high is not None else "")
