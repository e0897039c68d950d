"""Is everything all right, and if not, what to do: the site in one sentence.

A warning is a cause. What merely follows from one (alarms that wait because a receiver is down) is told within it and
is no warning of its own. Each has a code, a next step, and the condition that clears it; all are computed from the
present state, so that none outlives its cause.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from agent.faults import Fault, FaultClass

if TYPE_CHECKING:
    from agent.site import Site

MAX_NAMED = 5  # accounts named in a warning
Severity = Literal["degraded", "failing"]
NEXT_STEPS = {
    FaultClass.UNREACHABLE: "Check address, cable, power and firewall, then run varde check.",
    FaultClass.REFUSED: "Check the port and that the service at the other end runs, then run varde check.",
    FaultClass.AUTHENTICATION: "Correct the user, password or key in agent.toml, then systemctl reload varde-agent.",
    FaultClass.PROTOCOL: "Check that the address belongs to the right product, then run varde check.",
    FaultClass.SLOW: "Check the line and the load of the other end, then run varde check.",
    FaultClass.REJECTED: "Read the reason, correct it, then run varde check.",
}


@dataclass(frozen=True, slots=True)
class Warning:
    """`title` and `text` are sentences for people. "failing": alarms or clients do not get through."""

    code: str
    severity: Severity
    title: str
    text: str
    next_step: str
    clears_when: str


def warnings(site: "Site") -> list[Warning]:
    """Every cause, the worst first."""
    found = [*_process(site), *_sinks(site), *_sources(site), *_clients(site)]
    return sorted(found, key=lambda warning: warning.severity != "failing")


def state(site: "Site") -> str:
    """The worst severity, "ok" where there is no warning."""
    severities = {warning.severity for warning in warnings(site)}
    return "failing" if "failing" in severities else "degraded" if severities else "ok"


def headline(site: "Site") -> str:
    """One sentence: that everything works, the worst cause, or that nothing is configured yet."""
    found = warnings(site)
    if found:
        more = f" ({len(found) - 1} more)" if len(found) > 1 else ""
        return f"{found[0].title}{more}."
    missing = not_configured(site)
    if {"sources", "sinks", "share"} <= set(missing):
        return "not configured: edit /etc/varde/agent.toml, then varde check"
    return "Everything works."


def not_configured(site: "Site") -> list[str]:
    settings = site.settings
    parts = {
        "sources": settings.sources,
        "sinks": settings.sinks,
        "share": settings.share,
        "console token": settings.console.token,
        "API keys": site.keys.all,
    }
    return [name for name, value in parts.items() if not value]


def _process(site: "Site") -> Iterator[Warning]:
    for code, text in site.problems.items():
        title, details = _title_and_details(text)
        yield Warning(code, "degraded", title, details, "", "the next start or reload succeeds")
    for service in site.supervisor.services():
        if service["state"] in ("waiting", "stuck"):
            yield Warning(
                f"service-{service['name']}",
                "failing",
                f"The service {service['name']} does not run",
                service["error"] or "It gives no sign of life.",
                _service_step(str(service["name"])),
                "it runs again",
            )


def _sinks(site: "Site") -> Iterator[Warning]:
    for dispatcher in site.dispatchers.values():
        status = dispatcher.status()
        waiting = f" {status['pending']} waiting." if status["pending"] else ""
        if status["state"] == "down":
            yield Warning(
                f"sink-{dispatcher.name}-down",
                "failing",
                f"Alarms are not reaching {dispatcher.name}",
                f"{status['error'] or 'It does not answer.'}{waiting}",
                _next_step(dispatcher.fault),
                "a receiver acknowledges again",
            )
        elif status["kept"]:
            # The line is up and this account's alarms do not get through: nobody would look for it elsewhere.
            accounts = ", ".join(account or "without account" for account in status["kept"][:MAX_NAMED])
            more = f" and {len(status['kept']) - MAX_NAMED} more" if len(status["kept"]) > MAX_NAMED else ""
            yield Warning(
                f"sink-{dispatcher.name}-kept",
                "failing",
                f"{dispatcher.name} does not take the alarms of every account",
                f"{accounts}{more}: {status['error']}{waiting}",
                "varde deliveries --state pending shows them; they are tried again for as long as it takes.",
                "the accounts' alarms are acknowledged",
            )
        if status["on_standby"]:
            yield Warning(
                f"sink-{dispatcher.name}-standby",
                "degraded",
                f"{dispatcher.name} uses its standby receiver",
                "The main receiver does not answer; alarms reach the standby.",
                "Check the main receiver.",
                "the main receiver answers",
            )
        if status["rejected"]:
            yield Warning(
                f"sink-{dispatcher.name}-rejected",
                "degraded",
                f"{dispatcher.name} has turned alarms down",
                f"{status['rejected']} alarms are set aside.",
                "varde deliveries --state rejected shows why; varde deliveries retry ID sends one again.",
                "none is set aside",
            )


def _sources(site: "Site") -> Iterator[Warning]:
    for poller in site.pollers.values():
        if poller.state == "down":
            yield Warning(
                f"source-{poller.name}-down",
                "failing",
                f"{poller.name} is not answering",
                str(poller.fault or "It does not answer."),
                _next_step(poller.fault),
                "the device answers",
            )


def _clients(site: "Site") -> Iterator[Warning]:
    if not site.keys.valid and (site.keys.all or site.keys.path.exists()):
        yield Warning(
            "keys-file",
            "degraded",
            "The key file has faults",
            " ".join(site.keys.problems) or "It cannot be read.",
            f"Correct {site.settings.patriot.keys_file}; the last good keys stay in use.",
            "every entry of the file can be used",
        )
    share = site.batches.share_status()
    if share is not None and share["state"] == "down":
        yield Warning(
            "share-down",
            "failing",
            "Clients are not reaching the central share",
            share["error"] or "It does not answer.",
            "Run varde check; nothing is lost meanwhile.",
            "the share answers",
        )


def _service_step(name: str) -> str:
    if name.startswith("listener-"):
        return "Free that address, or change it in agent.toml and restart; it is tried again by itself."
    return "Run varde bundle and send the archive to support."


def _next_step(fault: Fault | None) -> str:
    """The fault's own hint is part of its text already; the class adds what holds for all of its kind."""
    return "" if fault is None else NEXT_STEPS[fault.fault_class]


def _title_and_details(text: str) -> tuple[str, str]:
    """A problem begins with what is the matter; details follow a colon or in the next sentences."""
    begun = re.match(r"(.*?)[.:] ", text)
    return (begun[1], text[begun.end() :]) if begun else (text.rstrip("."), "")
