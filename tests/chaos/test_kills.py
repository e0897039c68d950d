"""SIGKILL at random points of both paths, again and again.

Never lost: an alarm the device raised (journalled once, acknowledged at least once, a repeat under its first number, in
order for each account); a client's change that was answered (in store, file, batch and Patriot).
"""

import random

import pytest
import trio
from hostile import LONG, Site, put_client, raise_alarm
from lxml import etree

from agent.vendors.lab import Simulator

KILLS = 1000 if LONG else 10
ACCOUNTS = 3
CLIENTS = 40


class Load:
    """Fifty alarms a second and a caller of the client API, whatever the daemon is doing."""

    def __init__(self, site: Site, device: Simulator) -> None:
        self.site = site
        self.device = device
        self.raised: list[str] = []
        self.answered: dict[int, str] = {}
        self.unanswered: dict[int, list[str]] = {}
        self.over = trio.Event()

    async def alarms(self) -> None:
        while not self.over.is_set():
            self.raised.append(raise_alarm(self.device, len(self.raised) + 1))
            await trio.sleep(0.02)

    async def clients(self, chance: random.Random) -> None:
        number = 0
        while not self.over.is_set():
            url = await self._patriot()
            while url and not self.over.is_set():
                number += 1
                client, name = chance.randint(1, CLIENTS), f"Ærlig {number}"
                status = await put_client(url, client, name)
                if status in (200, 201):
                    self.answered[client] = name
                    self.unanswered.pop(client, None)
                else:
                    self.unanswered.setdefault(client, []).append(name)
                    url = None
                await trio.sleep(0.02)
            await trio.sleep(0.03)

    async def _patriot(self) -> str | None:
        try:
            status = await trio.to_thread.run_sync(self.site.agent.answers, "/api/v1/status")
            return str(status["listeners"]["patriot"])
        except Exception:
            return None  # it dies at this very moment


# httpx leaves its socket to the collector where the daemon dies between its own connect and its first word.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning")
@pytest.mark.timeout(4 * 3600 if LONG else 240)
async def test_nothing_is_lost_however_often_it_is_killed(site: Site, fuse: str, chance: random.Random):
    device = await site.add_device(
        poll_interval_s=0.05, zones={str(n): {"account": f"A{n % ACCOUNTS:03d}", "zone": n} for n in range(1, 5)}
    )
    await site.add_receiver(supervision_interval_s=0)
    site.add_share()
    load = Load(site, device)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.alarms)
        nursery.start_soon(load.clients, chance)
        for number in range(KILLS):
            await killed_once(site, fuse, chance, by_time=number % 5 == 4)
        site.agent.environment = {}
        await site.start()
        await trio.sleep(1)
        load.over.set()
    await everything_arrives(site, load)

    assert site.journalled() == [str(20001 + number) for number in range(len(load.raised))], "each once, in order"
    repeats = site.assert_delivered(load.raised)
    assert repeats <= KILLS * (64 + ACCOUNTS + 1), "as many as may be unwritten at a kill, no more"
    site.assert_no_defect_logged()
    print(f"{len(load.raised)} alarms, {repeats} repeats, {len(load.answered)} clients")


async def killed_once(site: Site, fuse: str, chance: random.Random, *, by_time: bool) -> None:
    """Start, and die at the N-th change of the disk; or after a while, whatever it does then."""
    points = int(10 ** chance.uniform(0, 3))
    site.agent.environment = {
        "LD_PRELOAD": fuse,
        "FUSE_DIR": str(site.agent.state),
        "FUSE_KILL": "0" if by_time else str(points),
        "FUSE_WHEN": str(chance.randrange(3)),
    }
    await site.start(ready=False)
    process = site.agent.process
    with trio.move_on_after(chance.uniform(0.3, 4) if by_time else 10):
        while process.poll() is None:  # noqa: ASYNC110 - another process
            await trio.sleep(0.01)
    process.kill()
    assert await trio.to_thread.run_sync(site.agent.ended) == -9, site.agent.log()[-4000:]


async def everything_arrives(site: Site, load: Load) -> None:
    await site.until(lambda: len(site.journalled()) >= len(load.raised), "every alarm is journalled")
    await site.until(lambda: site.pending() == 0, "every alarm is delivered")
    await site.until(lambda: states(site) == {"imported"}, "every client is imported")
    for client, name in load.answered.items():
        found = etree.fromstring(site.patriot.imported[f"{client}BASE11"]).findtext("Name")
        assert found in (name, *load.unanswered.get(client, [])), client
    assert not list(site.share.glob("*.tmp"))


def states(site: Site) -> set[str]:
    return {row[0] for row in site.rows("SELECT state FROM clients")}
