"""`varde run` as systemd, an installer and Prometheus meet it."""

import json
import signal
import socket
import sqlite3
import tarfile
import time
from pathlib import Path

import httpx
from harness import Agent

DEAD_SOURCE = """
[[sources]]
name = "yard"
kind = "davantis"
url = "http://127.0.0.1:9"
username = "admin"
password = "S3cret-of-the-yard"
[[sinks]]
name = "receiver"
kind = "sia-dc09"
host = "127.0.0.1"
port = 9
account = "9998"
encryption_key = "text:S3cret-of-sink-1"
[share]
kind = "directory"
path = "{share}"
"""


def test_unconfigured_it_runs_and_says_so(agent: Agent) -> None:
    status = agent.start()
    assert status["state"] == "ok" and "not configured" in status["headline"]
    assert {"sources", "sinks", "share"} <= set(status["not_configured"])
    assert agent.run("status").returncode == 0
    assert agent.stop() == 0
    assert agent.run("status").returncode == 3


def test_what_is_dead_outside_never_stops_the_start(agent: Agent) -> None:
    agent.configure(DEAD_SOURCE.format(share=agent.directory / "nowhere"))
    agent.start()
    metrics = agent.url("metrics")
    assert httpx.get(f"{metrics}/readyz").status_code == 200
    assert httpx.get(f"{metrics}/livez").status_code == 200
    agent.until(lambda: agent.get("/api/v1/sources")[0]["state"] == "down")
    status = agent.run("status")
    assert status.returncode == 1
    assert "yard" in status.stdout and "refuses" in status.stdout
    lost = agent.until(lambda: agent.get("/api/v1/alarms")["alarms"], "source_lost after five seconds")
    assert [alarm["kind"] for alarm in lost] == ["source_lost"]
    assert agent.stop() == 0


def test_no_configured_secret_is_anywhere_outside(agent: Agent) -> None:
    agent.configure(DEAD_SOURCE.format(share=agent.directory))
    agent.start()
    agent.until(lambda: agent.get("/api/v1/sources")[0]["state"] == "down")
    outside = [agent.run("status").stdout, agent.run("status", "--json").stdout, agent.run("check").stdout]
    outside += [httpx.get(f"{agent.url('metrics')}/metrics").text, agent.log()]
    outside += [json.dumps(agent.get(f"/api/v1/{path}")) for path in ("status", "health", "checks", "deliveries")]
    bundle = agent.directory / "bundle.tar.gz"
    assert agent.run("bundle", "--output", str(bundle)).returncode == 0
    with tarfile.open(bundle) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None
            outside.append(file.read().decode())
    assert bundle.stat().st_mode & 0o777 == 0o600
    for secret in ("S3cret-of-the-yard", "S3cret-of-sink-1", "console-token-1", "k" * 20):
        assert not [text[:200] for text in outside if secret in text]


def test_an_unusable_configuration_ends_with_78_and_every_fault(agent: Agent) -> None:
    agent.configure('[sitee]\n[[sources]]\nname = "UPPER"\nkind = "davantis"\nurl = "x"\nusername = "u"\n')
    for command in ("run", "check", "status"):
        result = agent.run(command)
        if command == "status":
            assert result.returncode in (3, 78)
            continue
        assert result.returncode == 78
        lines = result.stderr.strip().splitlines()
        assert len(lines) == 3 and all(str(agent.config) in line for line in lines)


def test_an_unknown_command_or_option_ends_with_2(agent: Agent) -> None:
    assert agent.run("statsu").returncode == 2
    assert agent.run("status", "--jsonn").returncode == 2


def test_check_with_nothing_configured_passes_and_says_so(agent: Agent) -> None:
    result = agent.run("check")
    assert result.returncode == 0
    assert "Everything works." in result.stdout and "sources, sinks, share" in result.stdout
    assert json.loads(agent.run("check", "--json").stdout)["ok"] is True


def test_a_second_daemon_on_the_same_state_is_refused_by_name(agent: Agent) -> None:
    agent.start()
    second = agent.run("run")
    assert second.returncode not in (0, 78) and "in use by another varde process" in second.stderr
    assert agent.get("/api/v1/status")["state"] == "ok"


def test_a_port_in_use_fails_one_listener_and_not_the_start(agent: Agent) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = agent.config.read_text()
        head, _, tail = text.partition("[metrics]")
        agent.config.write_text(head + "[metrics]" + tail.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        agent.start(ready=False)
        status = agent.until(lambda: agent.answers("/api/v1/status"))
        assert status["state"] == "failing" and "metrics" in status["headline"]
        assert f"127.0.0.1:{port}" in json.dumps(status["warnings"])
        assert "change it in agent.toml" in status["warnings"][0]["next_step"]
        assert httpx.get(f"{agent.url('patriot')}/openapi.json").status_code == 200


def test_reload_exchanges_the_share(agent: Agent, tmp_path: Path) -> None:
    missing, other = tmp_path / "missing", tmp_path / "other"
    other.mkdir()
    agent.configure(DEAD_SOURCE.format(share=missing))
    agent.start()
    assert agent.process is not None
    agent.until(lambda: agent.get("/api/v1/status")["share"]["state"] == "down")
    agent.config.write_text(agent.config.read_text().replace(str(missing), str(other)))
    agent.process.send_signal(signal.SIGHUP)
    agent.until(lambda: agent.get("/api/v1/status")["share"]["state"] == "up")
    status = agent.get("/api/v1/status")
    assert str(other) in status["share"]["place"] and "restart" not in status["problems"]


def test_reload_exchanges_what_changed_and_keeps_the_old_when_broken(agent: Agent) -> None:
    agent.configure(DEAD_SOURCE.format(share=agent.directory))
    agent.start()
    text = agent.config.read_text()
    process = agent.process
    assert process is not None
    agent.config.write_text(text.replace('name = "yard"', 'name = "garden"'))
    process.send_signal(signal.SIGHUP)
    agent.until(lambda: [s["name"] for s in agent.get("/api/v1/sources")] == ["garden"])
    page = httpx.get(f"{agent.url('metrics')}/metrics").text
    assert 'source="garden"' in page and 'source="yard"' not in page
    agent.config.write_text(text + "\nbroken =\n")
    process.send_signal(signal.SIGHUP)
    agent.until(lambda: "reload" in agent.get("/api/v1/status")["problems"])
    assert [s["name"] for s in agent.get("/api/v1/sources")] == ["garden"]
    assert "reload refused" in agent.log()
    agent.config.write_text(text.split("[[sources]]")[0])
    process.send_signal(signal.SIGHUP)
    agent.until(lambda: agent.get("/api/v1/sources") == [])
    assert agent.get("/api/v1/status")["sinks"] == [] and "reload" not in agent.get("/api/v1/status")["problems"]


def test_a_stop_finishes_the_request_in_flight(agent: Agent) -> None:
    agent.start()
    url = agent.url("patriot")
    body = json.dumps({"client_id": 9998, "info": {"Name": "x"}}).encode()
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as caller:
        head = f"PUT /clients HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {'k' * 20}\r\n"
        caller.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:10])
        time.sleep(0.5)  # the head has been read; the body is what the server waits for
        assert agent.process is not None
        agent.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        caller.sendall(body[10:])
        assert b" 201 " in caller.recv(4096)
    assert agent.process.wait(30) == 0
    agent.process = None
    assert (agent.directory / "state" / "out" / "clients" / "Test" / "9998.xml").exists()


def test_killed_right_after_an_answer_it_still_knows(agent: Agent) -> None:
    for client_id in range(1, 6):
        agent.start()
        answer = httpx.put(
            f"{agent.url('patriot')}/clients",
            headers={"Authorization": f"Bearer {'k' * 20}"},
            json={"client_id": client_id, "info": {"Name": f"n{client_id}"}},
        )
        assert answer.status_code == 201
        agent.stop(signal.SIGKILL)
    agent.start()
    found = [client["client_id"] for client in agent.get("/api/v1/clients")["clients"]]
    assert sorted(found) == [1, 2, 3, 4, 5]


def test_every_series_that_the_configuration_implies_is_there_at_once(agent: Agent) -> None:
    agent.configure(DEAD_SOURCE.format(share=agent.directory))
    agent.start()
    page = httpx.get(f"{agent.url('metrics')}/metrics").text
    for series in (
        'varde_source_up{kind="davantis",source="yard"}',
        'varde_source_polls_total{outcome="authentication",source="yard"}',
        'varde_alarms_total{kind="intrusion",source="yard"}',
        'varde_alarm_latency_seconds_count{source="yard"}',
        'varde_sink_up{sink="receiver"}',
        'varde_deliveries_total{outcome="rejected",sink="receiver"}',
        'varde_outbox_pending{sink="receiver"}',
        'varde_outbox_oldest_seconds{sink="receiver"}',
        'varde_clients{state="import_failed"}',
        'varde_batches_total{outcome="ok"}',
        "varde_batch_clients",
        "varde_share_up",
        "varde_share_last_success_timestamp_seconds",
        "varde_keys_file_valid 1.0",
        "varde_disk_free_bytes",
        "varde_build_info{",
    ):
        assert series in page, series


def test_a_damaged_database_is_said_on_every_screen(agent: Agent) -> None:
    agent.start()
    agent.stop()
    (agent.directory / "state" / "varde.db").write_bytes(b"no database" * 1000)
    status = agent.start()
    assert "database" in status["problems"] and status["state"] != "ok"
    assert "varde.db.damaged-" in agent.run("status").stdout


def test_a_newer_database_is_refused_by_name(agent: Agent) -> None:
    agent.start()
    agent.stop()
    path = agent.directory / "state" / "varde.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 1000")
    connection.close()
    result = agent.run("run")
    assert result.returncode == 1 and "newer Varde" in result.stderr and str(path) in result.stderr


def test_files_are_for_the_agent_and_its_group_only(agent: Agent) -> None:
    agent.start()
    loose = [
        path
        for folder in ("state", "log", "run")
        for path in (agent.directory / folder).rglob("*")
        if path.is_file() and path.stat().st_mode & 0o007
    ]
    assert loose == []
    assert (agent.directory / "run" / "control.sock").stat().st_mode & 0o777 == 0o660
