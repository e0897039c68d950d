"""A disk that is full, fails or refuses, and has room again.

Never lost: an alarm (it stays at the device until it can be journalled), a client's change that was answered; what was
not kept is said to its caller (503) and on every screen, and nothing of it needs a restart.
"""

import errno
import signal
import subprocess
from pathlib import Path

import pytest
import trio
from harness import Agent
from hostile import LONG, Site, put_client, raise_alarm

from agent.sinks.dc09.troubles import Trouble

NO_SPACE = (errno.ENOSPC, "wtor")
FAULTS = {
    "no space": NO_SPACE,
    "read-only": (errno.EROFS, "wtoru"),
    "fsync fails": (errno.EIO, "s"),
    "every call fails": (errno.EIO, "wstoru"),
}


class Shim:
    """The troubles of a daemon that runs on `fuse.c`."""

    def __init__(self, site: Site, fuse: str) -> None:
        self.switch = site.agent.directory / "fault"
        site.agent.environment = {
            "LD_PRELOAD": fuse,
            "FUSE_DIR": str(site.agent.state),
            "FUSE_FAULT": str(self.switch),
        }

    def on(self, number: int, letters: str) -> None:
        whole = self.switch.with_suffix(".new")
        whole.write_text(f"{number} {letters}")
        whole.rename(self.switch)

    def off(self) -> None:
        self.switch.unlink()


async def build(site: Site) -> None:
    await site.add_device(poll_interval_s=0.1)
    await site.add_receiver(supervision_interval_s=0)
    site.add_share()


async def goes_on(site: Site, raised: list[str], names: dict[int, str]) -> None:
    """The disk is well: everything that was raised and answered arrives, without a restart."""
    url = await site.url("patriot")
    with trio.fail_after(60):
        while await put_client(url, 99, "after") not in (200, 201):  # noqa: ASYNC110 - another process
            await trio.sleep(0.2)
    await site.until(lambda: len(site.journalled()) == len(raised), "what the device kept is journalled")
    await site.until(lambda: site.pending() == 0, "and delivered")
    assert site.journalled() == [str(20001 + number) for number in range(len(raised))]
    site.assert_delivered(raised)
    await site.until(lambda: imported(site) >= {*names, 99}, "clients are imported")
    await site.until(lambda: site.agent.get("/api/v1/status")["state"] == "ok", "and every screen says so")


def imported(site: Site) -> set[int]:
    return {row[0] for row in site.rows("SELECT client_id FROM clients WHERE state = 'imported'")}


async def work(site: Site, raised: list[str], names: dict[int, str], *, expect: tuple[int, ...]) -> None:
    """Five alarms and three changes; those that are answered well count."""
    url = await site.url("patriot")
    for _ in range(5):
        raised.append(raise_alarm(site.devices["yard"], len(raised) + 1))
    for number in range(len(names) + 1, len(names) + 4):
        status = await put_client(url, number, f"name {number}")
        assert status in expect, status
        if status in (200, 201):
            names[number] = f"name {number}"


@pytest.mark.parametrize("name", FAULTS if LONG else ("no space", "fsync fails"))
async def test_a_disk_that_refuses_for_a_while(site: Site, fuse: str, name: str) -> None:
    shim = Shim(site, fuse)
    await build(site)
    await site.start()
    raised: list[str] = []
    names: dict[int, str] = {}
    await work(site, raised, names, expect=(201,))
    await site.until(lambda: len(site.journalled()) == 5, "all is well at first")
    shim.on(*FAULTS[name])
    await work(site, raised, names, expect=(503,))
    await site.until(lambda: site.agent.get("/api/v1/status")["state"] != "ok", "it is said")
    await trio.sleep(5 if LONG else 0.5)
    assert site.agent.process is not None and site.agent.process.poll() is None, site.agent.log()
    shim.off()
    await goes_on(site, raised, names)
    site.assert_no_defect_logged()
    log = site.agent.log()
    assert log.count("results could not be kept") <= 2, "transitions, not attempts"


async def test_what_is_under_way_when_the_disk_refuses(site: Site, fuse: str) -> None:
    """Alarms that are sent and cannot be noted as sent: repeated, under their number, and not without end."""
    shim = Shim(site, fuse)
    await build(site)
    site.receiver.misbehave(Trouble.CLOSE)
    await site.start()
    raised = [raise_alarm(site.devices["yard"], number) for number in range(1, 11)]
    await site.until(lambda: site.rows("SELECT 1 FROM outbox WHERE memo IS NOT NULL AND attempts > 0"), "one is tried")
    await site.until(lambda: len(site.journalled()) == 10, "all are journalled")
    shim.on(errno.ENOSPC, "wtor")
    site.receiver.misbehave(Trouble.NONE)
    await site.until(lambda: site.receiver.events, "the receiver is well before the disk is")
    await trio.sleep(3)
    shim.off()
    await site.until(lambda: site.pending() == 0, "all are noted")
    repeats = site.assert_delivered(raised)
    assert repeats == 0, "what is acknowledged and not yet noted is not sent again"
    site.assert_no_defect_logged()


async def test_a_small_disk_runs_full_and_has_room_again(site: Site, small_disk: Path) -> None:
    await build(site)
    await site.start()
    raised: list[str] = []
    names: dict[int, str] = {}
    await work(site, raised, names, expect=(201,))
    ballast = small_disk / "ballast"
    await trio.to_thread.run_sync(fill, ballast)
    await work(site, raised, names, expect=(201, 503))
    for _ in range(100):  # more than what the database's own files have room for without growing
        raised.append(raise_alarm(site.devices["yard"], len(raised) + 1))
    await site.until(lambda: site.agent.get("/api/v1/status")["state"] == "failing", "it is said")
    ballast.unlink()
    await goes_on(site, raised, names)
    site.assert_no_defect_logged()
    assert not site.left_over("*.tmp")


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC


async def test_a_start_on_a_full_disk_says_so_or_works(site: Site, small_disk: Path) -> None:
    """Killed, the disk filled meanwhile, started: one sentence and an end, no traceback; with room it goes on."""
    await build(site)
    await site.start()
    raised: list[str] = []
    names: dict[int, str] = {}
    await work(site, raised, names, expect=(201,))
    await site.stop(signal.SIGKILL)
    ballast = small_disk / "ballast"
    await trio.to_thread.run_sync(fill, ballast)
    site.agent.launch()
    process = site.agent.process
    assert process is not None
    with trio.move_on_after(3):
        while process.poll() is None:  # noqa: ASYNC110 - another process
            await trio.sleep(0.05)
    if process.poll() is None:
        site.agent.end()
    else:
        assert process.returncode == 1 and "free space" in site.agent.log()
        site.agent.end()
    ballast.unlink()
    await site.start()
    await goes_on(site, raised, names)
    site.assert_no_defect_logged()


def test_a_read_only_state_directory_is_named(agent: Agent, small_disk: Path) -> None:
    for prepared in (False, True):
        if prepared:  # a database is there already
            subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
            agent.start()
            agent.stop()
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
        result = agent.run("run")
        assert result.returncode == 1 and str(agent.state) in result.stderr and "Traceback" not in result.stderr
