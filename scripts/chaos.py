"""Run the scenarios of `scripts/chaos` and print their table."""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Scenario:
    name: str
    never_lost: str
    tests: tuple[str, ...]


SCENARIOS = (
    Scenario(
        "kills",
        "an alarm raised (once in the journal, acknowledged, repeats numbered alike); a client's change answered",
        ("tests/chaos/test_kills.py", "tests/sinks/dc09/test_killed.py", "tests/patriot/test_processes.py"),
    ),
    Scenario(
        "power",
        "what was promised before the power went; whole files, a whole database",
        ("tests/chaos/test_power.py",),
    ),
    Scenario("disk", "an alarm, a change that was answered; what was not kept is said", ("tests/chaos/test_disk.py",)),
    Scenario(
        "clock",
        "polls, deliveries, batches at hh:59, whatever the clock does",
        ("tests/chaos/test_clock.py", "tests/batches/test_schedule.py"),
    ),
    Scenario(
        "share",
        "a client on its way to Patriot",
        (
            "tests/batches/test_endurance.py",
            "tests/batches/test_recovery.py",
            "tests/batches/test_share.py",
            "tests/batches/test_service.py",
            "tests/batches/test_troubles.py",
        ),
    ),
    Scenario(
        "far-ends", "alarms of good devices to good receivers, beside hostile ones", ("tests/chaos/test_far_ends.py",)
    ),
    Scenario(
        "receivers",
        "an alarm, whatever a receiver answers",
        ("tests/sinks/dc09/test_sink.py", "tests/sinks/test_webhook.py", "tests/sinks/test_mqtt.py"),
    ),
    Scenario("listeners", "the service of good callers", ("tests/chaos/test_listeners.py",)),
    Scenario(
        "two-daemons",
        "the state of the first; the second refuses, by name",
        ("tests/end_to_end/test_daemon.py::test_a_second_daemon_on_the_same_state_is_refused_by_name",),
    ),
    Scenario("soak", "memory, descriptors, disk", ("tests/chaos/test_soak.py",)),
    Scenario("secrets", "no secret and no name leaves the box unasked", ("tests/chaos/test_secrets.py",)),
    Scenario("parsers", "the process, whatever is sent to it", ("tests/chaos/test_parsers.py",)),
)


def main() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", nargs="*", help=f"any of: {', '.join(names)}")
    parser.add_argument("--long", action="store_true", help="the long forms, hours in all")
    options = parser.parse_args()
    if unknown := set(options.scenario) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    chosen = [scenario for scenario in SCENARIOS if scenario.name in (options.scenario or names)]
    environment = {**os.environ, "VARDE_TEST": "long"} if options.long else dict(os.environ)
    rows = [(scenario, *run(scenario, environment)) for scenario in chosen]
    show(rows)
    subprocess.run([ROOT / "scripts" / "lock-age"], check=True)
    sys.exit(any(not held for _, held, _ in rows))


def run(scenario: Scenario, environment: dict[str, str]) -> tuple[bool, str]:
    """Whether everything held, and the result in words. What failed is printed at once."""
    print(f"{scenario.name} …", file=sys.stderr, flush=True)
    begun = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *scenario.tests]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
    counts = next((line for line in reversed(done.stdout.splitlines()) if " in " in line), "no result")
    held = "held" if done.returncode == 0 else "FAILED"
    return done.returncode == 0, f"{held}: {counts.partition(' in ')[0]}, {time.monotonic() - begun:.0f} s"


def show(rows: list[tuple[Scenario, bool, str]]) -> None:
    """As Markdown, for the README."""
    print("\n| scenario | never lost | result |\n|---|---|---|")
    for scenario, _, result in rows:
        print(f"| {scenario.name} | {scenario.never_lost} | {result} |")
    print()


if __name__ == "__main__":
    main()
