"""The questions. Each is an option too, so that a script can answer it; a secret is read from a prompt or a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from agent.alarms.model import Device
from agent.checks import Check
from agent.cli.configuration import config_path
from agent.cli.output import fail
from agent.cli.setup import trial
from agent.cli.setup.document import CannotSave, Document
from agent.settings import ConfigurationError
from agent.settings.load import DEFAULT_PATH
from agent.settings.sources import kinds

F = TypeVar("F", bound=Callable[..., Any])
SECRETS = ("password", "api_key", "encryption_key", "secret")
SINKS = ("sia-dc09", "webhook", "mqtt", "milestone")
# What each vendor is asked for beside its name.
LOGINS = {
    "davantis": ("url", "username", "password"),
    "lockt": ("api_user", "api_key"),
    "sensaphone": ("username", "password"),
    "milestone": ("url", "username", "password"),
}


@click.group(invoke_without_command=True)
@click.pass_context
def setup(ctx: click.Context) -> None:
    """Set this box up, step by step; each part is tried for real before it is saved.

    Without a part it asks for all of them. Run it again whenever you like: what is there already is offered as the
    answer, and comments in agent.toml stay. For scripts, give a part and its options: varde setup source --help.
    """
    if ctx.invoked_subcommand is not None:
        return
    ctx.invoke(site)
    while click.confirm("Add or change a source (a device that raises alarms)?", default=True):
        ctx.invoke(source)
    while click.confirm("Add or change a sink (where alarms are delivered)?", default=True):
        ctx.invoke(sink)
    if click.confirm("Set the central share for clients.xml?", default=True):
        ctx.invoke(share)
    click.echo("\nDone. Next: varde check, then systemctl reload varde-agent.")


@setup.command()
@click.option("--id", "site_id", help="The site's name in logs and file names.")
@click.option("--timezone", help="IANA name, such as Europe/Oslo.")
@click.pass_context
def site(ctx: click.Context, site_id: str | None = None, timezone: str | None = None) -> None:
    """The site's name and time zone."""
    document = _document(ctx)
    now = document.get("site")
    values = {
        "id": site_id or click.prompt("Site", default=now.get("id", "site")),
        "timezone": timezone or click.prompt("Time zone", default=now.get("timezone", "Europe/Oslo")),
    }
    document.set_table("site", values)
    _save(document)


def _anyway(command: F) -> F:
    return click.option("--save-anyway", is_flag=True, help="Save although the test failed.")(command)


@setup.command()
@click.option("--name", help="Unique: small letters, digits, hyphens.")
@click.option("--kind", type=click.Choice(kinds()), help="The vendor.")
@click.option("--url", help="Address of the device or cloud.")
@click.option("--username")
@click.option("--password-file", type=click.File(), help="File with the password; - is standard input.")
@click.option("--api-user")
@click.option("--api-key-file", type=click.File(), help="File with the API key; - is standard input.")
@click.option("--account", help="The client the alarms belong to, as the receiver knows it.")
@click.option(
    "--zone", "zones", multiple=True, metavar="ID=NUMBER", help="Device's camera, door or zone -> zone number."
)
@click.option("--no-zones", is_flag=True, help="Do not ask for zones: each id stands for itself.")
@_anyway
@click.pass_context
def source(ctx: click.Context, /, **given: Any) -> None:
    """A device that raises alarms: address, credentials, and its cameras or doors mapped to zones."""
    document = _document(ctx)
    name = given.get("name") or click.prompt("Name of the source")
    before = next((entry for entry in document.entries("sources") if entry.get("name") == name), {})
    kind = given.get("kind") or click.prompt("Vendor", type=click.Choice(kinds()), default=before.get("kind"))
    values = {**(before if before.get("kind") == kind else {}), "name": name, "kind": kind}
    for key in LOGINS[kind]:
        values[key] = _answer(key, given, before)
    if given.get("url"):
        values["url"] = given["url"]
    account = given.get("account") or click.prompt("Account at the receiver", default=before.get("account", ""))
    if account:
        values["account"] = account
    check, devices = trial.source(values)
    _decide(check, given.get("save_anyway", False))
    zones = _zones(given, devices, dict(before.get("zones", {})))
    if zones:
        values["zones"] = zones
    document.set_entry("sources", values)
    _save(document)


def _zones(given: dict[str, Any], devices: list[Device], before: dict[str, Any]) -> dict[str, Any]:
    if given.get("zones"):
        return {**before, **dict(_pair(text) for text in given["zones"])}
    raising = [device for device in devices if device.kind in ("camera", "door", "zone")]
    for device in raising:
        click.echo(f"  {device.kind} {device.id}: {device.name}")
    if given.get("no_zones") or not raising:
        return before
    for device in raising:
        usual = before.get(device.id, int(device.id) if device.id.isdecimal() else 0)
        before[device.id] = click.prompt(
            f"Zone number of {device.kind} {device.id} ({device.name})", default=usual, type=int
        )
    return before


def _pair(text: str) -> tuple[str, int]:
    device, equals, number = text.rpartition("=")
    if not equals or not number.isdecimal():
        fail(f'--zone: must be ID=NUMBER (is "{text}"). Nothing was saved.', 2)
    return device, int(number)


@setup.command()
@click.option("--name", help="Unique: small letters, digits, hyphens.")
@click.option("--kind", type=click.Choice(SINKS))
@click.option("--host", help="sia-dc09: the receiver's address.")
@click.option("--port", type=int, help="sia-dc09: the receiver's port.")
@click.option("--protocol", type=click.Choice(["tcp", "udp"]))
@click.option("--account", help="sia-dc09: account of supervision messages.")
@click.option("--encryption-key-file", type=click.File(), help="File with hex:… or text:…; - is standard input.")
@click.option("--plain", is_flag=True, help="sia-dc09: no encryption.")
@click.option("--url", help="webhook, mqtt, milestone: the address.")
@click.option("--username", help="milestone")
@click.option("--password-file", type=click.File(), help="mqtt, milestone")
@click.option("--secret-file", type=click.File(), help="webhook: signs the body.")
@click.option("--camera", help="milestone: id of the camera the alarms stand on.")
@_anyway
@click.pass_context
def sink(ctx: click.Context, /, **given: Any) -> None:
    """Where alarms are delivered: a SIA DC-09 receiver, a webhook, an MQTT broker or XProtect."""
    document = _document(ctx)
    name = given.get("name") or click.prompt("Name of the sink", default="receiver")
    before = next((entry for entry in document.entries("sinks") if entry.get("name") == name), {})
    kind = given.get("kind") or click.prompt("Kind", type=click.Choice(SINKS), default=before.get("kind", "sia-dc09"))
    values = {**(before if before.get("kind") == kind else {}), "name": name, "kind": kind}
    wanted = {
        "sia-dc09": ("host", "port"),
        "webhook": ("url",),
        "mqtt": ("url",),
        "milestone": ("url", "username", "password", "camera"),
    }
    for key in wanted[kind]:
        values[key] = _answer(key, given, before)
    for key in ("protocol", "account"):
        if given.get(key) and kind == "sia-dc09":
            values[key] = given[key]
    optional = {"sia-dc09": "encryption_key", "webhook": "secret", "mqtt": "password"}.get(kind)
    if optional and not given.get("plain"):
        secret = _answer(optional, given, before, optional=True)
        values.update({optional: secret} if secret else {})
    _decide(trial.sink(values), given.get("save_anyway", False))
    document.set_entry("sinks", values)
    _save(document)


@setup.command()
@click.option("--kind", type=click.Choice(["smb", "directory"]))
@click.option("--path", help="directory: where clients.xml is put.")
@click.option("--server", help="smb: address.")
@click.option("--server-name", help="smb: NetBIOS name.")
@click.option("--share", "share_name", help="smb: name of the share.")
@click.option("--port", type=int)
@click.option("--username")
@click.option("--password-file", type=click.File(), help="File with the password; - is standard input.")
@click.option("--domain")
@click.option("--dialect", type=click.Choice(["smb2", "smb3"]))
@_anyway
@click.pass_context
def share(ctx: click.Context, /, **given: Any) -> None:
    """The monitoring centre's share, where clients.xml is put."""
    document = _document(ctx)
    before = document.get("share")
    kind = given.get("kind") or click.prompt(
        "Kind", type=click.Choice(["smb", "directory"]), default=before.get("kind", "smb")
    )
    values: dict[str, Any] = {**(before if before.get("kind") == kind else {}), "kind": kind}
    given["share"] = given.pop("share_name", None)
    for key in ("path",) if kind == "directory" else ("server", "share", "username", "password"):
        values[key] = _answer(key, given, before)
    for key in ("server_name", "port", "domain", "dialect"):
        if given.get(key):
            values[key] = given[key]
    _decide(trial.share(values), given.get("save_anyway", False))
    document.set_table("share", values)
    _save(document)


def _answer(key: str, given: dict[str, Any], before: dict[str, Any], *, optional: bool = False) -> Any:
    """From the option, the file of the option, or a prompt; a secret that is kept is never shown."""
    if given.get(key) is not None:
        return given[key]
    if file := given.get(f"{key}_file"):
        return file.read().rstrip("\r\n")
    words = key.replace("_", " ").capitalize()
    if key in SECRETS:
        empty = "Enter for none" if optional or key == "password" else ""
        known = "kept if you press Enter" if key in before else empty
        question = f"{words} ({known})" if known else words
        typed = click.prompt(question, default="" if known else None, hide_input=True, show_default=False)
        return typed or before.get(key, "")
    return click.prompt(words, default=before.get(key), type=int if key == "port" else None)


def _decide(check: Check, save_anyway: bool) -> None:
    mark = "✓" if check.result == "passed" else "✗"
    click.echo(f"{mark} {check.title}: {check.detail}")
    if check.result != "passed":
        click.echo(f"    → {check.remedy}")
        if not save_anyway:
            fail("Nothing was saved. Correct it, or add --save-anyway.")


def _document(ctx: click.Context) -> Document:
    try:
        return Document(config_path(ctx) or DEFAULT_PATH)
    except CannotSave as error:
        fail(str(error))


def _save(document: Document) -> None:
    try:
        document.save()
    except CannotSave as error:
        fail(str(error))
    except ConfigurationError as error:
        for fault in error.faults:
            click.echo(f"{document.path}: {fault.key}: {fault.reason}", err=True)
        fail("Nothing was saved: the file as a whole could not be used.", 78)
    click.echo(f"Saved in {Path(document.path)}.")
