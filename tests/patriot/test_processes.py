"""The API in a process of its own: killed right after its answers, and asked everything its description allows."""

import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import httpx
import pytest
from lxml import etree

ROUNDS = 20
KEY = {"Authorization": "Bearer secret-alarm24"}


class Server:
    def __init__(self, folder: Path) -> None:
        script = Path(__file__).with_name("api_server.py")
        self.process = subprocess.Popen([sys.executable, str(script), str(folder)], stdout=subprocess.PIPE, text=True)
        self.child = 0
        self.url = self.next_url()

    def next_url(self) -> str:
        """Of the child that serves now, once it does."""
        assert self.process.stdout is not None
        pid, url = self.process.stdout.readline().split()
        self.child, self.url = int(pid), url
        return url

    def kill(self) -> None:
        os.kill(self.child, signal.SIGKILL)

    def end(self) -> None:
        self.process.kill()
        self.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def server(tmp_path: Path, key_file: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    yield running
    running.end()


def caller(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers=KEY, timeout=30, trust_env=False, verify=False)


def put(http: httpx.Client, client_id: int, name: str) -> tuple[int, str] | None:
    """What was acknowledged, None where no answer came."""
    body = {"client_id": client_id, "info": {"Name": name}}
    try:
        response = http.put("/clients", json=body)
    except httpx.TransportError:
        return None
    assert response.status_code in (200, 201)
    return client_id, name


def test_killed_right_after_an_answer_everything_acknowledged_is_there(server: Server, tmp_path: Path) -> None:
    chance = random.Random(7)
    acknowledged: dict[int, str] = {}
    for turn in range(ROUNDS):
        # Some are new, some are changed again; each client has one writer a round.
        names = {chance.randrange(1, 60): f"n{turn}-{number}" for number in range(8)}
        with caller(server.url) as http, ThreadPoolExecutor(8) as pool:
            writers = [pool.submit(put, http, client_id, name) for client_id, name in names.items()]
            answers = as_completed(writers)
            for _ in range(chance.randrange(1, 4)):
                next(answers).result()
            server.kill()
            for writer in writers:
                answer = writer.result()
                if answer is not None:
                    acknowledged[answer[0]] = answer[1]
                    del names[answer[0]]
        server.next_url()
        with caller(server.url) as http:
            check(http, tmp_path, acknowledged, unanswered=names)


def check(http: httpx.Client, folder: Path, acknowledged: dict[int, str], unanswered: dict[int, str]) -> None:
    """Every acknowledged name is served and stands in its file, or a later one that got no answer."""
    for client_id, name in list(acknowledged.items()):
        response = http.get("/clients", headers={"X-Client-Id": str(client_id)})
        assert response.status_code == 200, client_id
        found = response.json()["info"]["Name"]
        assert found in (name, unanswered.get(client_id)), client_id
        acknowledged[client_id] = found
    files = {path.name: path.read_bytes() for path in (folder / "out" / "clients" / "Alarm24").iterdir()}
    with sqlite3.connect(f"file:{folder / 'varde.db'}?mode=ro", uri=True) as store:
        rows = dict(store.execute("SELECT client_id || '.xml', xml_sha256 FROM clients").fetchall())
    store.close()
    assert {name: hashlib.sha256(data).hexdigest() for name, data in files.items()} == rows
    for client_id, name in acknowledged.items():
        assert etree.fromstring(files[f"{client_id}.xml"]).findtext("Row/Name") == name


@pytest.mark.slow
def test_everything_the_description_allows_is_answered_as_described(server: Server, tmp_path: Path) -> None:
    """No 5xx, no status that is not described, no body of another form; what the schema allows is taken."""
    with caller(server.url) as http:
        put(http, 9998, "Ola")
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{server.url}/openapi.json",
        "--header",
        f"Authorization: {KEY['Authorization']}",
        "--max-examples=5",
        "--seed=1",
        "--no-color",
    ]
    result = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=110, env={**os.environ, "NO_PROXY": "*"}
    )
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    assert "generated" in result.stdout
