"""One part of the configuration, tried for real before it is saved."""

from typing import Any

import click
import trio
from pydantic import TypeAdapter, ValidationError

from agent import checks
from agent.alarms.model import Device, Listing
from agent.checks import Check
from agent.cli.output import fail
from agent.faults import Fault
from agent.settings import Settings
from agent.settings.models import Share
from agent.settings.report import SECRET_KEYS
from agent.settings.sinks import SinkSettings
from agent.settings.sources import SourceSettings
from agent.vendors import build


def source(values: dict[str, Any]) -> tuple[Check, list[Device]]:
    """How the device answers, and what it lists (nothing where it does not)."""
    settings: SourceSettings = _validated(TypeAdapter(SourceSettings), values)
    return trio.run(_source, settings)


async def _source(settings: SourceSettings) -> tuple[Check, list[Device]]:
    check = await checks.source_check(settings)
    if check.result != "passed":
        return check, []
    opened = build(settings)
    try:
        return check, await opened.devices() if isinstance(opened, Listing) else []
    except Fault as fault:
        click.echo(f"  The device answers, but its cameras, doors or zones cannot be listed: {fault}", err=True)
        return check, []
    finally:
        await opened.aclose()


def sink(values: dict[str, Any]) -> Check:
    """Whether a supervision message, a test request or a connection is answered."""
    settings: SinkSettings = _validated(TypeAdapter(SinkSettings), values)
    return trio.run(checks.sink_check, Settings(sinks=[settings]), settings)


def share(values: dict[str, Any]) -> Check:
    settings: Share = _validated(TypeAdapter(Share), values)
    return trio.run(checks.share_check, Settings(share=settings))


def _validated(adapter: TypeAdapter[Any], values: dict[str, Any]) -> Any:
    """The settings of `values`; ends the command with every fault named by its flag."""
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_context=False):
            key = str(detail["loc"][-1]) if detail["loc"] else "setting"
            shown = "" if key in SECRET_KEYS or key not in values else f" (is {values[key]!r})"
            click.echo(
                f"--{key.replace('_', '-')}: {str(detail['msg']).removeprefix('Value error, ')}{shown}", err=True
            )
        fail("Nothing was saved.")
