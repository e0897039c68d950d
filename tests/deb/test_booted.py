"""The service under a real systemd: started by the installation, sandboxed, watched, restarted, reloaded, upgraded."""

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.deb.conftest import Box

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("in_order")]
UNIT = "varde-agent.service"
NOT_CONFIGURED = "not configured: edit /etc/varde/agent.toml, then varde check"


def shown(box: "Box", *names: str) -> dict[str, str]:
    """Properties of the unit."""
    lines = box.run("systemctl", "show", UNIT, *(f"--property={name}" for name in names)).splitlines()
    return dict(line.split("=", 1) for line in lines)


def active(box: "Box") -> bool:
    return shown(box, "ActiveState") == {"ActiveState": "active"}


def restarted(box: "Box", before: str) -> bool:
    """Whether another process has taken over, and is ready."""
    return active(box) and shown(box, "MainPID")["MainPID"] not in (before, "0")


def test_installing_starts_it(booted: "Box", package: Path) -> None:
    said = booted.install(package)
    state = shown(booted, "ActiveState", "UnitFileState", "StatusText", "NRestarts", "User")
    assert state == {
        "ActiveState": "active",
        "UnitFileState": "enabled",
        "StatusText": NOT_CONFIGURED,
        "NRestarts": "0",
        "User": "varde",
    }
    token = booted.file("/etc/varde/credentials/console_token").read_text("ascii").strip()
    assert token not in said
    assert token not in booted.run("journalctl", "--no-pager")


def test_it_has_its_credential_and_answers(booted: "Box") -> None:
    token = booted.file("/etc/varde/credentials/console_token").read_text("ascii").strip()
    url = "http://127.0.0.1:8082/api/v1/status"
    assert booted.http("GET", url, token=token).status == 200
    assert booted.http("GET", url, token="x" * len(token)).status == 401
    assert booted.http("GET", "http://127.0.0.1:9813/readyz").status == 200


def test_every_module_works_in_the_sandbox(booted: "Box") -> None:
    """Whatever is imported late (a share's protocol, a sink's library) must not meet the sandbox at night."""
    code = (
        "import sys; sys.path.insert(0, '/usr/lib/varde-agent')\n"
        "import ctypes, importlib, pkgutil, agent\n"
        "for module in pkgutil.walk_packages(agent.__path__, 'agent.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
        "import smb.SMBConnection, smbclient, spnego, paho.mqtt.client, httpx_ntlm, PIL.ImageFont, lxml.etree\n"
        "from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes\n"
        "encryptor = Cipher(algorithms.AES(bytes(16)), modes.CBC(bytes(16))).encryptor()\n"
        "assert len(encryptor.update(bytes(16))) == 16\n"
        "import trio; trio.run(trio.to_thread.run_sync, len, '')\n"
        "import mmap\n"
        "try: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
        "except PermissionError: print('all of it works, in the sandbox')"
    )
    script = booted.file("/usr/lib/varde-agent/probe.py")
    script.write_text(code, "utf-8")
    folder = booted.file(f"/etc/systemd/system/{UNIT}.d")
    folder.mkdir()
    lines = ["[Service]", "Type=oneshot", "Restart=no", "WatchdogSec=0", "ExecStart="]
    lines.append("ExecStart=/usr/bin/python3.11 -I /usr/lib/varde-agent/probe.py")
    (folder / "probe.conf").write_text("\n".join(lines), "utf-8")
    try:
        booted.run("systemctl", "daemon-reload")
        booted.run("systemctl", "restart", UNIT)
        assert "all of it works, in the sandbox" in booted.run("journalctl", "--no-pager", "--unit", UNIT)
    finally:
        script.unlink()
        (folder / "probe.conf").unlink()
        booted.run("systemctl", "daemon-reload")
    booted.run("systemctl", "start", UNIT)


def test_reload_keeps_the_process(booted: "Box") -> None:
    before = shown(booted, "MainPID")["MainPID"]
    booted.run("systemctl", "reload", UNIT)
    assert shown(booted, "MainPID")["MainPID"] == before
    assert active(booted)


def test_killed_it_comes_back(booted: "Box") -> None:
    before = shown(booted, "MainPID")["MainPID"]
    booted.run("systemctl", "kill", "--signal=KILL", UNIT)
    booted.eventually(lambda: restarted(booted, before), "another process")


def test_hung_it_is_ended_and_comes_back(booted: "Box") -> None:
    """With a short watchdog, which the agent feeds while it lives."""
    folder = booted.file(f"/etc/systemd/system/{UNIT}.d")
    (folder / "watchdog.conf").write_text("[Service]\nWatchdogSec=3\nRestartSec=1\n", "utf-8")
    booted.run("systemctl", "daemon-reload")
    booted.run("systemctl", "restart", UNIT)
    before = shown(booted, "MainPID")["MainPID"]
    booted.run("sleep", "5")
    assert shown(booted, "MainPID")["MainPID"] == before, "the watchdog is not fed"
    booted.run("systemctl", "kill", "--signal=STOP", UNIT)
    booted.eventually(lambda: restarted(booted, before), "the hung process is replaced")
    assert "watchdog" in booted.run("journalctl", "--no-pager", "--unit", UNIT).lower()


def test_a_broken_configuration_is_tried_until_it_is_mended(booted: "Box") -> None:
    toml = booted.file("/etc/varde/agent.toml")
    good = toml.read_text("utf-8")
    toml.write_text("[site]\nidd = 3\n", "utf-8")
    restart = subprocess.run(booted.command("systemctl", "restart", UNIT), capture_output=True)
    assert restart.returncode != 0
    booted.eventually(lambda: int(shown(booted, "NRestarts")["NRestarts"]) >= 2, "it is tried again and again")
    assert "site.idd: unknown key" in booted.run("journalctl", "--no-pager", "--unit", UNIT)
    toml.write_text(good, "utf-8")
    booted.eventually(lambda: active(booted), "it is back by itself")


def test_it_starts_without_the_folder_of_credentials(booted: "Box") -> None:
    booted.run("mv", "/etc/varde/credentials", "/etc/varde/away")
    booted.run("systemctl", "restart", UNIT)
    assert active(booted)
    booted.run("mv", "/etc/varde/away", "/etc/varde/credentials")


def test_folders_that_are_missing_are_made_at_the_start(booted: "Box") -> None:
    booted.run("systemctl", "stop", UNIT)
    booted.run("rm", "-rf", "/var/log/varde", "/var/lib/varde", "/run/varde")
    booted.run("systemctl", "start", UNIT)
    folders = ["/var/log/varde", "/var/lib/varde", "/run/varde"]
    assert booted.modes(*folders) == dict.fromkeys(folders, "0750 varde:varde")


def test_an_upgrade_restarts_it_and_keeps_modes(booted: "Box", newer: Path) -> None:
    before = shown(booted, "MainPID")["MainPID"]
    booted.run("chmod", "0755", "/var/log/varde", "/var/lib/varde")
    booted.install(newer)
    assert set(booted.modes("/var/log/varde", "/var/lib/varde").values()) == {"0755 varde:varde"}
    assert restarted(booted, before)
    assert "varde 999 starts" in booted.run("journalctl", "--no-pager", "--unit", UNIT)


def test_purge_stops_it_and_leaves_no_unit(booted: "Box") -> None:
    booted.apt("purge", "varde-agent")
    assert shown(booted, "LoadState", "ActiveState")["ActiveState"] in ("inactive", "failed")
    assert "varde" not in booted.run("systemctl", "list-unit-files", "--no-pager")
    assert booted.run("sh", "-c", "find /etc/systemd /run/systemd -name '*varde*' ! -name '*.d' -print") == ""
