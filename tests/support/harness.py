"""The agent as its users meet it: the command in a process of its own, asked over its sockets."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

PATIENCE_S = 60.0
KEY = "k" * 20
TOKEN = "console-token-1"


class Agent:
    """`varde run` under `directory`. `environment` goes to every process on top of our own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.config = directory / "agent.toml"
        self.keys = directory / "keys.json"
        self.process: subprocess.Popen[str] | None = None
        self.notifications: socket.socket | None = None
        self.environment: dict[str, str] = {}
        self.before: Callable[[], None] | None = None
        """called in the daemon's process before it begins"""
        self.keys.write_text(json.dumps([{"key_name": "Test", "key": KEY, "enabled": True, "port": "BASE11"}]))

    def configure(self, extra: str = "") -> None:
        """`extra` is TOML after the usual tables."""
        here = self.directory
        self.config.write_text(
            f"""
[site]
id = "test"
[paths]
state_dir = "{self.state}"
log_dir = "{here}/log"
run_dir = "{here}/run"
[patriot]
listen = "127.0.0.1:0"
keys_file = "{self.keys}"
[console]
listen = "127.0.0.1:0"
token = "{TOKEN}"
[metrics]
listen = "127.0.0.1:0"
{extra}
"""
        )

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "agent", *words, "--config", str(self.config)]

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """One command to its end."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(
            self.command(*words), capture_output=True, text=True, input=stdin, timeout=PATIENCE_S, env=environment
        )

    def launch(self) -> None:
        """Start the daemon and wait for nothing."""
        self.notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = self.directory / f"notify-{time.monotonic_ns()}"
        self.notifications.bind(str(address))
        self.notifications.settimeout(0.2)
        environment = {**os.environ, "NOTIFY_SOCKET": str(address), **self.environment}
        with (self.directory / "stderr.log").open("a") as log:
            self.process = subprocess.Popen(
                self.command("run"), stderr=log, text=True, env=environment, preexec_fn=self.before
            )

    def start(self, *, ready: bool = True) -> dict[str, Any]:
        """Start the daemon; its status once it is ready ({} where that is not waited for)."""
        self.launch()
        if not ready:
            return {}
        deadline = time.monotonic() + PATIENCE_S
        while not self._said_ready():
            assert self.process is not None and self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, f"not ready within {PATIENCE_S} s\n{self.log()}"
        return self.get("/api/v1/status")

    def _said_ready(self) -> bool:
        assert self.notifications is not None
        with contextlib.suppress(TimeoutError):
            return "READY=1" in self.notifications.recv(4096).decode()
        return False

    def answers(self, path: str) -> Any:
        """The answer of a daemon that may not be there yet, else None."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
            try:
                caller.connect(str(self.directory / "run" / "control.sock"))
            except OSError:
                return None
        return self.get(path)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal; the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Wait for the end of the daemon; the exit code."""
        assert self.process is not None
        code = self.process.wait(PATIENCE_S)
        self.process = None
        if self.notifications is not None:
            self.notifications.close()
        return code

    def end(self) -> None:
        """Whatever state it is in: it is gone."""
        if self.process is not None:
            self.stop(signal.SIGKILL)
        if self.notifications is not None:
            self.notifications.close()

    def log(self) -> str:
        return (self.directory / "stderr.log").read_text()

    def get(self, path: str, **options: Any) -> Any:
        response = self.request("GET", path, **options)
        assert response.status_code == 200, response.text
        return response.json()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Over the control socket."""
        transport = httpx.HTTPTransport(uds=str(self.directory / "run" / "control.sock"))
        with httpx.Client(transport=transport, base_url="http://varde", timeout=PATIENCE_S) as client:
            return client.request(method, path, **options)

    def url(self, listener: str) -> str:
        return str(self.get("/api/v1/status")["listeners"][listener])

    def until(self, what: Callable[[], Any], why: str = "") -> Any:
        """What `what` returns once it is true."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if found := what():
                return found
            time.sleep(0.05)
        raise AssertionError(f"not within {PATIENCE_S} s: {why or what}\n{self.log()}")
