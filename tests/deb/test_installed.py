"""The life of the package on a fresh Debian 12, step by step; each test goes on where the one before it ended.

install → idle → configured: a client and an alarm get through → receiver silent, alarms wait
        → upgrade → interrupted upgrade → remove → install again: they are delivered → purge
"""

import json
import re
import shutil
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.deb.conftest import Box, Process

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("in_order")]
ROOT = Path(__file__).parents[2]
API, CONSOLE, METRICS = "http://127.0.0.1:8081", "http://127.0.0.1:8082", "http://127.0.0.1:9813"
KEY = "an-installers-key"
# apt keeps packages it has installed, and their names in its lists and logs.
EVERYWHERE = "/etc /usr /var /run /srv /opt /home /root -path /var/log/apt -prune -o -path /var/cache/apt -prune -o"
MODES = {
    "/etc/varde": "0750 root:varde",
    "/etc/varde/agent.toml": "0640 root:varde",
    "/etc/varde/keys.json": "0640 root:varde",
    "/etc/varde/credentials": "0750 root:varde",
    "/etc/varde/credentials/console_token": "0640 root:varde",
    "/var/lib/varde": "0750 varde:varde",
    "/var/log/varde": "0750 varde:varde",
    "/run/varde": "0750 varde:varde",
}
CONFIGURATION = """\
[site]
id = "box"
[combine]
every_s = 2
[share]
kind = "directory"
path = "/srv/import"
[[sources]]
name = "yard"
kind = "davantis"
url = "{url}"
username = "{username}"
account = "9998"
[[sinks]]
name = "receiver"
kind = "sia-dc09"
host = "127.0.0.1"
port = 6500
reply_timeout_s = 1
supervision_interval_s = 2
"""
# The receiver that the package itself brings for laboratories: prints each event it has acknowledged.
RECEIVER = """
import sys
sys.path.insert(0, "/usr/lib/varde-agent")
import trio
from agent.sinks.dc09.receiver import Receiver
receiver = Receiver(on_event=lambda event: print(event.account, event.code, flush=True))
trio.run(receiver.serve, "127.0.0.1", 6500)
"""


@pytest.fixture(scope="module")
def running(box: "Box") -> "Iterator[dict[str, Process]]":
    """The processes of the story by name; what is left at the end ends with the box."""
    yield {}


def token(box: "Box") -> str:
    return box.file("/etc/varde/credentials/console_token").read_text("ascii").strip()


def start_agent(box: "Box", running: "dict[str, Process]", **environment: str) -> None:
    """By hand, as the unit would: user varde, no new privileges. Returns once it is ready."""
    agent = running["agent"] = box.start("/var/log/agent", "varde", "run", env=environment)

    def ready() -> bool:
        ended = agent.popen.poll()
        assert ended is None, f"the agent ended with {ended}:\n{agent.log.read_text('utf-8')[-3000:]}"
        return box.http("GET", f"{METRICS}/readyz").status == 200

    box.eventually(ready, "/readyz is 200")


def start_receiver(box: "Box", running: "dict[str, Process]") -> None:
    running["receiver"] = box.start("/var/log/receiver", "python3.11", "-c", RECEIVER)


def status(box: "Box") -> str:
    return box.run("dpkg-query", "--show", "--showformat=${Status}", "varde-agent")


def waiting(box: "Box") -> int:
    """Alarms that no receiver has acknowledged, as the database has it."""
    count = (
        "import sqlite3; print(sqlite3.connect('/var/lib/varde/varde.db').execute("
        "\"SELECT count(DISTINCT alarm_id) FROM outbox WHERE state = 'pending'\").fetchone()[0])"
    )
    return int(box.run("python3.11", "-c", count, user="varde"))


def test_install(box: "Box", package: Path) -> None:
    said = box.install(package)
    assert token(box) not in said
    assert len(token(box)) >= 32
    assert box.run("dpkg", "--verify", "varde-agent") == ""
    assert box.run("varde", "--version").strip().endswith(package.name.split("_")[1])
    assert box.file("/etc/systemd/system/multi-user.target.wants/varde-agent.service").is_symlink()


def test_owners_and_modes(box: "Box") -> None:
    assert box.modes(*MODES) == MODES
    assert box.run("getent", "passwd", "varde").strip().endswith(":/var/lib/varde:/usr/sbin/nologin")


def test_everything_is_compiled(box: "Box") -> None:
    library = box.file("/usr/lib/varde-agent")
    sources = list(library.rglob("*.py"))
    compiled = list(library.rglob("*.pyc"))
    assert len(compiled) == len(sources)


def test_examples_are_where_people_look(box: "Box") -> None:
    examples = box.file("/usr/share/doc/varde-agent/examples")
    assert (examples / "grafana/varde.json").exists()
    assert (examples / "prometheus/varde.rules.yml").exists()


def test_unconfigured_it_runs_and_says_so(box: "Box", running: "dict[str, Process]") -> None:
    """As installed, with a listener in the place of systemd."""
    listen = (
        "import os, socket\n"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind('/run/varde/notify')\n"
        "while True: print(s.recv(4096).decode(), flush=True)"
    )
    listener = box.start("/var/log/notified", "python3.11", "-c", listen)
    box.eventually(lambda: box.file("/run/varde/notify").exists(), "a socket for notifications")
    start_agent(box, running, NOTIFY_SOCKET="/run/varde/notify")
    box.eventually(lambda: listener.said("READY=1"), "READY=1")
    assert listener.said("STATUS=not configured: edit /etc/varde/agent.toml, then varde check")
    assert running["agent"].stop() == 0
    listener.stop()
    box.file("/run/varde/notify").unlink()


def test_configured(box: "Box", running: "dict[str, Process]") -> None:
    box.run("install", "-d", "-o", "varde", "/srv/import")
    device = running["device"] = box.start("/var/log/device", "varde", "simulate", "davantis", "--every", "1")
    box.eventually(lambda: device.said("password: "), "the simulated device")
    given = dict(re.findall(r"^(\w+): (.*)$", device.log.read_text("utf-8"), re.MULTILINE))
    box.file("/etc/varde/agent.toml").write_text(CONFIGURATION.format(**given), "utf-8")
    key = {"key_name": "Installer", "key": KEY, "enabled": True, "port": "BASE01"}
    key["installer"] = {"User_Name": "Installer AS", "Email": "post@installer.example"}
    box.file("/etc/varde/keys.json").write_text(json.dumps([key]), "utf-8")
    secret = box.file("/etc/varde/credentials/source_yard_password")
    secret.write_text(given["password"], "utf-8")
    box.run("chgrp", "varde", "/etc/varde/credentials/source_yard_password")
    start_receiver(box, running)
    start_agent(box, running)


def test_a_client_gets_through(box: "Box") -> None:
    body = {"client_id": 9998, "info": {"Name": "Kari Nordmann"}}
    assert box.http("PUT", f"{API}/clients", body, token=KEY).status == 201
    share = box.file("/srv/import/clients.xml")
    box.eventually(share.exists, "clients.xml on the share")
    assert "<__id>9998BASE01</__id>" in share.read_text("utf-8")


def test_an_alarm_gets_through(box: "Box", running: "dict[str, Process]") -> None:
    box.eventually(lambda: running["receiver"].said("9998 "), "an alarm at the receiver")

    def acknowledged() -> bool:
        answer = box.http("GET", f"{CONSOLE}/api/v1/alarms", token=token(box))
        assert answer.status == 200, answer.body
        return any(d["state"] == "acknowledged" for alarm in answer.json["alarms"] for d in alarm["deliveries"])

    box.eventually(acknowledged, "an acknowledged alarm in the journal")
    assert box.http("GET", f"{CONSOLE}/api/v1/alarms", token="not-the-token").status == 401


def test_the_command_line_reaches_it(box: "Box") -> None:
    status = json.loads(box.run("varde", "status", "--json", user="varde"))
    assert status["site"] in ("box", {"id": "box"}) or "box" in json.dumps(status["site"])


def test_what_it_writes_is_for_its_group_only(box: "Box") -> None:
    others = box.run("find", "/var/lib/varde", "/var/log/varde", "/run/varde", "-perm", "/0007", "!", "-type", "l")
    assert others == ""
    assert box.run("find", "/var/lib/varde", "/var/log/varde", "/run/varde", "!", "-user", "varde") == ""
    socket = box.modes("/run/varde/control.sock")["/run/varde/control.sock"]
    assert socket == "0660 varde:varde"


def test_no_secret_in_what_it_has_said(box: "Box", running: "dict[str, Process]") -> None:
    device = running["device"].log.read_text("utf-8")
    password = re.findall(r"^password: (.*)$", device, re.MULTILINE)[0]
    said = running["agent"].log.read_text("utf-8")
    said += "".join(path.read_text("utf-8") for path in box.file("/var/log/varde").glob("*.log"))
    for secret in (KEY, token(box), password):
        assert secret not in said


def test_prometheus_scrapes_it(box: "Box", tmp_path: Path) -> None:
    """A real Prometheus: the target is up, the rules load, every query of the dashboard finds series."""
    if shutil.which("prometheus") is None:
        pytest.skip("needs prometheus")
    examples = box.file("/usr/share/doc/varde-agent/examples")
    shutil.copy(examples / "prometheus/varde.rules.yml", tmp_path)
    example = (examples / "prometheus/scrape.example.yml").read_text("utf-8")
    example = example.replace("192.0.2.10:9813", "127.0.0.1:9813").replace(
        "scrape_interval: 15s", "scrape_interval: 1s"
    )
    (tmp_path / "prometheus.yml").write_text(example, "utf-8")
    command = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            box.outside(*command, "--web.listen-address=127.0.0.1:9090"), stdout=log, stderr=subprocess.STDOUT
        )

    def asked(path: str) -> Any:
        answer = box.http("GET", f"http://127.0.0.1:9090/api/v1/{path}")
        return answer.json["data"] if answer.status == 200 else {}

    def found(query: str) -> Any:
        return asked("query?" + urllib.parse.urlencode({"query": query})).get("result")

    try:
        box.eventually(lambda: found('count_over_time(up{job="varde"}[1m]) >= 3'), "three scrapes")
        groups = asked("rules?type=alert")["groups"]
        assert groups and all(rule["health"] in ("ok", "unknown") for group in groups for rule in group["rules"])
        panels = json.loads((examples / "grafana/varde.json").read_text("utf-8"))["panels"]
        for query in [target["expr"] for panel in panels for target in panel.get("targets", [])]:
            filled = query.replace("$__rate_interval", "1m").replace("$instance", ".*")
            assert found(filled), f"no series: {query}"
    finally:
        server.terminate()
        server.wait(60)


def test_promtool_has_nothing_to_say_about_its_metrics(box: "Box") -> None:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool")
    page = box.http("GET", f"{METRICS}/metrics").body
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_with_the_receiver_silent_alarms_wait(box: "Box", running: "dict[str, Process]") -> None:
    running["receiver"].stop()
    box.eventually(lambda: waiting(box) >= 2, "two waiting alarms")
    assert running["agent"].stop() == 0


def test_upgrade_keeps_modes_and_configuration(box: "Box", newer: Path, running: "dict[str, Process]") -> None:
    """An administrator's modes and edits stay; the new default lies beside."""
    box.run("chmod", "0755", "/etc/varde", "/var/lib/varde", "/var/log/varde")
    box.run("chmod", "0600", "/etc/varde/keys.json")
    box.run("chown", "root:root", "/etc/varde/keys.json")
    before = box.modes(*MODES)
    old_token, old_waiting = token(box), waiting(box)
    box.install(newer)
    assert box.modes(*MODES) == before
    assert token(box) == old_token
    assert 'id = "box"' in box.file("/etc/varde/agent.toml").read_text("utf-8")
    assert box.file("/etc/varde/agent.toml.dpkg-dist").read_text("utf-8").startswith("## Newer.")
    assert box.run("varde", "--version").strip().endswith("999")
    assert waiting(box) == old_waiting
    box.run("chown", "root:varde", "/etc/varde/keys.json")
    box.run("chmod", "0640", "/etc/varde/keys.json")


def test_an_interrupted_upgrade_can_be_finished(box: "Box", newer: Path) -> None:
    """Power lost between unpacking and configuring: the command works, and configuring again ends it."""
    box.run("dpkg", "--unpack", f"/mnt/{newer.name}")
    assert status(box) == "install ok unpacked"
    assert box.run("varde", "--version").strip().endswith("999")
    box.run("dpkg", "--configure", "--pending")
    assert list(box.file("/usr/lib/varde-agent/agent/__pycache__").glob("*.pyc"))


def test_a_damaged_package_leaves_the_installed_one_working(box: "Box", newer: Path) -> None:
    damaged = box.file("/tmp/damaged.deb")
    whole = newer.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AssertionError):
        box.run("dpkg", "--install", "/tmp/damaged.deb")
    assert status(box) == "install ok installed"
    assert box.run("varde", "--version").strip().endswith("999")
    assert list(box.file("/usr/lib/varde-agent/agent/__pycache__").glob("*.pyc"))


def test_remove_keeps_configuration_and_state(box: "Box") -> None:
    old_token, old_waiting = token(box), waiting(box)
    box.apt("remove", "varde-agent")
    assert not box.file("/usr/lib/varde-agent").exists()
    assert not box.file("/usr/bin/varde").exists()
    assert token(box) == old_token
    assert 'id = "box"' in box.file("/etc/varde/agent.toml").read_text("utf-8")
    assert waiting(box) == old_waiting >= 2


def test_installed_again_it_delivers_what_waited(box: "Box", newer: Path, running: "dict[str, Process]") -> None:
    old_token, old_waiting = token(box), waiting(box)
    box.install(newer)
    assert token(box) == old_token
    start_receiver(box, running)
    start_agent(box, running)
    delivered = lambda: len(running["receiver"].log.read_text("utf-8").splitlines()) >= old_waiting  # noqa: E731
    box.eventually(delivered, "the alarms that waited at the receiver")


def test_purge_counts_and_takes_only_its_own(box: "Box", running: "dict[str, Process]") -> None:
    running["receiver"].stop()
    box.eventually(lambda: waiting(box) >= 1, "a waiting alarm")
    assert running["agent"].stop() == 0
    running["device"].stop()
    count = waiting(box)
    box.file("/etc/varde/site.pem").write_text("an administrator's", "utf-8")
    said = box.apt("purge", "varde-agent")
    assert f"deleting {count} undelivered alarm{'s' if count > 1 else ''} " in said
    left = box.run("sh", "-c", f"find {EVERYWHERE} -iname '*varde*' -print").split()
    assert left == ["/etc/varde"]
    assert {path.name for path in box.file("/etc/varde").iterdir()} == {"credentials", "site.pem"}
    # The device's password was put there by hand.
    assert [path.name for path in box.file("/etc/varde/credentials").iterdir()] == ["source_yard_password"]
    assert box.run("getent", "passwd", "varde")
