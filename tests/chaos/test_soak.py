"""A site's life in a hurry: polls, alarms, pictures, deliveries, clients, batches, console pages, a flap now and then.

Never lost: memory, descriptors, threads, disk, beyond what is kept on purpose. The short form lives an hour's worth of
alarms; the long form goes on for an hour, which is a week of a busy site.
"""

import random

import httpx
import pytest
import trio
from harness import TOKEN
from hostile import LONG, Site, put_client

from agent.vendors.lab import Ill

ROUNDS = 1200 if LONG else 6
WARM_UP = 60 if LONG else 2
PER_ROUND = 20
GROWN_KB = 15_000


@pytest.mark.timeout(2 * 3600 if LONG else 180)
async def test_nothing_grows(site: Site, chance: random.Random) -> None:
    device = await site.add_device(poll_interval_s=0.05)
    device.quirks.recording_s = 0.2
    await site.add_device("garden", poll_interval_s=0.05)
    await site.add_receiver(supervision_interval_s=1)
    site.add_share(every_s=0.5)
    site.tables.append("[media]\nmax_bytes = 3_000_000\nmin_free_bytes = 1_000_000")
    await site.start()
    url, console = await site.url("patriot"), await site.url("console")
    raised = 0
    found: list[tuple[int, int, int]] = []
    async with httpx.AsyncClient(base_url=console, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as http:
        for number in range(WARM_UP + ROUNDS):
            await one_round(site, http, url, chance)
            raised += PER_ROUND
            await site.until(lambda: len(site.journalled()) >= raised, "every alarm is journalled")  # noqa: B023
            await site.until(lambda: site.pending() == 0, "and delivered")
            if number >= WARM_UP - 1:
                found.append(usage(site))
    memory, descriptors, threads = zip(*found, strict=True)
    print(f"memory {memory[0]} … {memory[-1]} kB, descriptors {descriptors}, threads {threads}"[:400])
    assert min(memory[-3:]) - memory[0] < GROWN_KB
    assert min(descriptors[-3:]) <= descriptors[0] + 10
    assert min(threads[-3:]) <= threads[0] + 10
    assert (await site.get("/api/v1/status"))["state"] == "ok"
    if LONG:  # the bytes are counted once a minute
        assert sum(path.stat().st_size for path in site.left_over("media/**/*.*")) < 4 * 3_000_000
    assert await site.stop() == 0
    assert not site.left_over("*.tmp") and not site.left_over("*.part"), "a clean stop leaves nothing half-written"
    site.assert_no_defect_logged()


async def one_round(site: Site, http: httpx.AsyncClient, url: str, chance: random.Random) -> None:
    if chance.random() < 0.3:
        site.devices["garden"].laboratory.inject(chance.choice([Ill.RESET, Ill.GARBAGE, Ill.HTML]), times=1)
    for _ in range(PER_ROUND):
        site.devices["yard"].raise_event("person")
        await trio.sleep(0.02)
    for _ in range(4):
        client = chance.randint(1, 30)
        assert await put_client(url, client, f"name {chance.randrange(10**6)}") in (200, 201)
    for path in ("/", "/alarms", "/health", "/api/v1/alarms", "/api/v1/status"):
        assert (await http.get(path)).status_code == 200


def usage(site: Site) -> tuple[int, int, int]:
    """Memory in kB, open files, threads."""
    return site.memory_kb(), site.descriptors(), site.memory_kb("Threads")
