"""A whole site under test: simulated far ends in this process, `varde run` in one of its own, and what befalls it."""

import os
import signal
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import tomlkit
import trio
from harness import KEY, Agent

from agent.patriot.simulator import PatriotSimulator
from agent.sinks.dc09.receiver import Receiver
from agent.vendors.davantis.simulator import DavantisSimulator
from agent.vendors.lab import Simulator

LONG = os.environ.get("VARDE_TEST") == "long"
SEED = int(os.environ.get("VARDE_SEED", "20250101"))
PATIENCE_S = 120.0
RECEIVER_KEY = b"0123456789ABCDEF"


class Site:
    """`nursery` is where its far ends live. Tables are TOML; what a test adds is appended to `tables`."""

    def __init__(self, directory: Path, nursery: trio.Nursery) -> None:
        self.agent = Agent(directory)
        self.nursery = nursery
        self.tables: list[str] = []
        self.devices: dict[str, DavantisSimulator] = {}
        self.receiver = Receiver(keys={"": RECEIVER_KEY})
        self.share = directory / "share"
        self.patriot = PatriotSimulator(self.share, delay_s=0.05)

    # -- far ends ----------------------------------------------------------------------------------------------

    async def add_device(self, name: str = "yard", *, account: str = "9998", **settings: Any) -> DavantisSimulator:
        device = self.devices[name] = DavantisSimulator()
        await self.nursery.start(device.serve)
        self.tables.append(
            table("sources", **device.settings(name), account=account, start_from="beginning", **settings)
        )
        return device

    async def add_receiver(self, **settings: Any) -> Receiver:
        await self.nursery.start(self.receiver.serve)
        self.tables.append(
            table(
                "sinks",
                name="receiver",
                kind="sia-dc09",
                host="127.0.0.1",
                port=self.receiver.port,
                encryption_key=f"hex:{RECEIVER_KEY.hex()}",
                **settings,
            )
        )
        return self.receiver

    def add_share(self, *, every_s: float = 0.5) -> None:
        self.share.mkdir(exist_ok=True)
        self.nursery.start_soon(self.patriot.run)
        self.tables += [
            f'[share]\nkind = "directory"\npath = "{self.share}"\nresults_interval_s = 0.3',
            f"[combine]\nevery_s = {every_s}",
        ]

    # -- the daemon --------------------------------------------------------------------------------------------

    async def start(self, *, ready: bool = True) -> None:
        self.agent.configure("\n".join(self.tables))
        await trio.to_thread.run_sync(lambda: self.agent.start(ready=ready))

    async def stop(self, number: int = signal.SIGTERM) -> int:
        return await trio.to_thread.run_sync(self.agent.stop, number)

    async def get(self, path: str) -> Any:
        return await trio.to_thread.run_sync(self.agent.get, path)

    async def url(self, listener: str) -> str:
        return await trio.to_thread.run_sync(self.agent.url, listener)

    async def until(self, what: Callable[[], Any], why: str) -> Any:
        """What `what` returns once it is true; it may block, and runs in a thread."""
        with trio.move_on_after(PATIENCE_S):
            while not (found := await trio.to_thread.run_sync(what)):  # noqa: ASYNC110 - another process
                await trio.sleep(0.05)
            return found
        raise AssertionError(f"not within {PATIENCE_S:g} s: {why}\n{self.agent.log()[-6000:]}")

    def memory_kb(self, name: str = "VmRSS") -> int:
        assert self.agent.process is not None
        status = Path(f"/proc/{self.agent.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith(f"{name}:")).split()[1])

    def descriptors(self) -> int:
        assert self.agent.process is not None
        return len(list(Path(f"/proc/{self.agent.process.pid}/fd").iterdir()))

    # -- what it has kept --------------------------------------------------------------------------------------

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """From the database, beside the daemon; none while there is no database."""
        try:
            connection = sqlite3.connect(f"file:{self.agent.state}/varde.db?mode=ro", uri=True, timeout=30)
        except sqlite3.OperationalError:
            return []
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def journalled(self, source: str = "yard") -> list[str]:
        """Native ids of the device's own alarms, in journal order."""
        sql = "SELECT native_id FROM alarms WHERE source = ? AND epoch <> 'varde' ORDER BY id"
        return [row[0] for row in self.rows(sql, source)]

    def pending(self) -> int:
        return int(self.rows("SELECT count(*) FROM outbox WHERE state = 'pending'")[0][0])

    def arrived(self) -> set[str]:
        """The texts of `raise_alarm` that the receiver has acknowledged."""
        return {
            event.extended.get("I", "") for event in self.receiver.events if "alarm " in event.extended.get("I", "")
        }

    def left_over(self, pattern: str) -> list[Path]:
        """Files of the state directory whose name is like this."""
        return list(self.agent.state.rglob(pattern))

    # -- judgement ---------------------------------------------------------------------------------------------

    def assert_delivered(self, ids: Sequence[str], *, sources: Sequence[str] = ("yard",)) -> int:
        """Every alarm of `ids`, whose text is its id, has been acknowledged, in order for each account, each under one
        number that no other has; how many were repeats.
        """
        numbers: dict[str, set[int]] = {}
        order: dict[str, list[str]] = {}
        events = [event for event in self.receiver.events if event.extended.get("I", "").startswith("alarm ")]
        for event in events:
            text = event.extended["I"]
            numbers.setdefault(text, set()).add(event.sequence)
            if text not in order.setdefault(event.account, []):
                order[event.account].append(text)
        assert set(numbers) == set(ids), sorted(set(ids) ^ set(numbers))[:20]
        assert all(len(found) == 1 for found in numbers.values()), "a repeat carries the number of its first try"
        places = {text: place for place, text in enumerate(ids)}
        for found in order.values():
            assert found == sorted(found, key=places.__getitem__), "in order for each account"
        return len(events) - len(numbers)

    def assert_no_defect_logged(self) -> None:
        assert "Traceback" not in self.agent.log(), self.agent.log()[-6000:]


def table(table: str, **values: Any) -> str:
    """One entry of an array of tables."""
    return tomlkit.dumps({table: [values]})


def raise_alarm(device: Simulator, number: int) -> str:
    """An alarm whose text is its number, without pictures; the text."""
    text = f"alarm {number}"
    device.raise_event("person", description=text, media=False)
    return text


async def put_client(url: str, client_id: int, name: str) -> int | None:
    """The answer's status, None where there was none."""
    body = {"client_id": client_id, "info": {"Name": name}}
    try:
        # Without TLS: loading the system's authorities would cost more than the request.
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30, verify=False) as http:
            return (await http.put("/clients", json=body)).status_code
    except httpx.TransportError:
        return None
