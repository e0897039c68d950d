"""The unit: what systemd thinks of it, and that every line of the sandbox has its reason."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(600)
UNIT = Path(__file__).parents[2] / "debian/varde-agent.service"


@pytest.fixture
def settings() -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text("utf-8"))
    return parser


def analyse(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)


def test_its_exposure_is_small() -> None:
    done = analyse("security", "--offline=true", "--threshold=15", UNIT)
    assert done.returncode == 0, done.stdout[-300:]
    assert done.stderr == ""


def test_systemd_finds_nothing_wrong_with_it(unpacked: Path, tmp_path: Path) -> None:
    """With the package's own command and manual pages in place."""
    root = tmp_path / "root"
    for part in ("lib", "usr/bin", "usr/share/man"):
        shutil.copytree(unpacked / part, root / part)
    # The launcher's interpreter, the shell and systemd's own command belong to Debian.
    for command in ("usr/bin/varde", "bin/sh", "usr/bin/systemd-tmpfiles"):
        (root / command).parent.mkdir(exist_ok=True)
        (root / command).write_text("#!/bin/sh\n")
        (root / command).chmod(0o755)
    # Targets of systemd itself.
    for target in ("network", "multi-user", "sysinit", "basic", "shutdown"):
        (root / f"lib/systemd/system/{target}.target").write_text(f"[Unit]\nDescription={target}\n")
    for name in ("system.slice", "-.slice", "-.mount", "tmp.mount"):
        (root / f"lib/systemd/system/{name}").touch()
    done = analyse("verify", "--man=no", "--recursive-errors=no", f"--root={root}", "varde-agent.service")
    assert done.returncode == 0, done.stderr
    assert "varde-agent.service" not in done.stderr


def test_it_restarts_for_ever_and_is_watched(settings: configparser.RawConfigParser) -> None:
    assert settings["Unit"]["StartLimitIntervalSec"] == "0"
    service = settings["Service"]
    assert (service["Type"], service["Restart"]) == ("notify", "always")
    assert int(service["WatchdogSec"]) > 0
    assert service["ExecReload"] == '/bin/sh -c "kill -HUP ${MAINPID}"'
    assert (service["User"], service["Group"]) == ("varde", "varde")


def test_it_waits_for_no_network(settings: configparser.RawConfigParser) -> None:
    assert settings["Unit"]["After"] == "network.target"
    assert not {"Requires", "Wants", "BindsTo", "Requisite"} & set(settings["Unit"])


def test_secrets_come_as_credentials_and_none_is_needed(settings: configparser.RawConfigParser) -> None:
    name, folder = settings["Service"]["LoadCredential"].split(":")
    assert folder == "/etc/varde/credentials"
    # systemd refuses to start a unit whose credential is missing, unless it has one to fall back on.
    assert settings["Service"]["SetCredential"].startswith(f"{name}:")


def test_every_line_of_the_sandbox_has_its_reason() -> None:
    sandbox = UNIT.read_text("utf-8").split("# The sandbox")[1].split("[Install]")[0]
    lines = ["# The sandbox", *filter(None, sandbox.splitlines()[1:])]
    settings = [index for index, line in enumerate(lines) if not line.startswith("#")]
    assert len(settings) > 20
    for index in settings:
        assert re.match(r"^[A-Z][A-Za-z]+=", lines[index]), lines[index]
        assert lines[index - 1].startswith("# "), f"no reason above {lines[index]}"
