"""The far ends of the demonstration, and the configuration that points the daemon at them."""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit
import trio

from agent.patriot.simulator import PatriotSimulator
from agent.sinks.dc09.receiver import Receiver
from agent.vendors import build_simulator
from agent.vendors.lab import Simulator

ACCOUNT = "9998"
KEY_NAME = "Demo"
# name of the source, vendor, seconds between events
DEVICES = (("yard", "davantis", 6.0), ("front-door", "lockt", 9.0), ("pump-house", "sensaphone", 11.0),
           ("control-room", "milestone", 13.0))  # fmt: skip


@dataclass
class Lab:
    """Everything outside Varde, under `directory`; `start` returns once all of it listens."""

    directory: Path
    receiver: Receiver = field(default_factory=Receiver)
    simulators: dict[str, Simulator] = field(default_factory=dict)
    api_key: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    console_token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    receiver_key: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    @property
    def share(self) -> Path:
        return self.directory / "share"

    @property
    def config(self) -> Path:
        return self.directory / "agent.toml"

    async def start(self, nursery: trio.Nursery) -> None:
        self.share.mkdir(parents=True, exist_ok=True)
        self.receiver.keys = {"": self.receiver_key}
        await nursery.start(self.receiver.serve)
        for name, vendor, _ in DEVICES:
            self.simulators[name] = build_simulator(vendor)
            await nursery.start(self.simulators[name].serve)
        nursery.start_soon(PatriotSimulator(self.share).run)

    async def raise_events(self, nursery: trio.Nursery) -> None:
        """Each device raises its first alarm at once, more as time goes by."""
        for name, _, every_s in DEVICES:
            nursery.start_soon(self.simulators[name].schedule, every_s)

    def write_configuration(self) -> None:
        """agent.toml and keys.json, as an installer would have written them."""
        self._private(self.directory / "keys.json", json.dumps([self._key()], indent=2, ensure_ascii=False))
        self._private(self.config, tomlkit.dumps(self._settings()))

    def _private(self, path: Path, text: str) -> None:
        path.touch(mode=0o600)
        path.write_text(text, "utf-8")

    def _key(self) -> dict[str, Any]:
        return {
            "key_name": KEY_NAME,
            "key": self.api_key,
            "enabled": True,
            "port": "BASE11",
            "installer": {"User_Name": "Demo Installer", "Email": "installer@example.test"},
            "xml": {"Installer": "Demo Installer", "AltLookup": "True", "AltAlarmNo": "CID4BASE01"},
        }

    def _settings(self) -> dict[str, Any]:
        here, loopback = self.directory, "127.0.0.1:0"
        return {
            "site": {"id": "demo"},
            "paths": {"state_dir": str(here / "state"), "log_dir": str(here / "log"), "run_dir": str(here / "run")},
            "log": {"level": "warning"},
            "patriot": {"listen": loopback, "keys_file": str(here / "keys.json")},
            "combine": {"every_s": 5},
            "share": {"kind": "directory", "path": str(self.share), "results_interval_s": 1},
            "console": {"listen": loopback, "token": self.console_token},
            "metrics": {"listen": loopback},
            "media": {"min_free_bytes": 50_000_000},
            "sources": [self._source(name) for name, _, _ in DEVICES],
            "sinks": [self._sink()],
        }

    def _source(self, name: str) -> dict[str, Any]:
        # "beginning": what was raised before the first poll counts, so that nobody waits for the first alarm.
        return {**self.simulators[name].settings(name), "account": ACCOUNT, "start_from": "beginning"}

    def _sink(self) -> dict[str, Any]:
        return {
            "name": "receiver",
            "kind": "sia-dc09",
            "host": "127.0.0.1",
            "port": self.receiver.port,
            "encryption_key": f"hex:{self.receiver_key.hex()}",
            "supervision_interval_s": 10,
        }
