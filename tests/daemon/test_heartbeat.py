"""What the daemon tells systemd while its disk refuses."""

import sqlite3
from types import SimpleNamespace
from typing import Any

import pytest
import trio.testing

from agent import health
from agent.daemon import main


async def test_a_disk_that_refuses_is_told_and_ends_nothing(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuses = True
    told: list[dict[str, str]] = []

    async def write(work: Any) -> None:
        if refuses:
            raise sqlite3.OperationalError("database is locked")

    supervisor = SimpleNamespace(ready=lambda: True, alive=lambda: True)
    site: Any = SimpleNamespace(store=SimpleNamespace(write=write), problems={}, supervisor=supervisor)
    monkeypatch.setattr(health, "headline", lambda site: " ".join(site.problems.values()) or "Everything works.")
    monkeypatch.setattr(main, "notify", lambda **fields: told.append(fields))
    nursery.start_soon(main._tell_systemd, site)
    await trio.sleep(12)
    assert told[0]["READY"] == "1" and "locked" in told[0]["STATUS"]
    assert all("WATCHDOG" in fields for fields in told)
    refuses = False
    await trio.sleep(12)
    assert told[-1]["STATUS"] == "Everything works."
