"""Devices, receivers and name servers that mean harm, all at once, beside good ones.

Never lost: an alarm of a good device; its delivery to a good receiver. Never spent: memory, descriptors, a stop's time.
"""

from typing import Any

import badhosts
import pytest
import trio
from hostile import LONG, Site, put_client, raise_alarm, table

from agent.vendors.lab import Ill

MEMORY_KB = 250_000
BACKLOG = 9_900 if LONG else 3_000  # numbers begin anew after 9,999
VENDORS: dict[str, dict[str, Any]] = {
    "davantis": {"username": "u", "password": "p"},
    "lockt": {"api_user": "u", "api_key": "k"},
    "sensaphone": {"username": "u", "password": "p"},
    "milestone": {"username": "u", "password": "p"},
}


@pytest.mark.parametrize("vendor", VENDORS if LONG else ["milestone"])
async def test_hostile_far_ends_harm_nobody_else(site: Site, vendor: str) -> None:
    await site.add_device(poll_interval_s=0.1)
    await site.add_receiver(supervision_interval_s=0)
    for name, evil in badhosts.ALL.items():
        port = await badhosts.listen(site.nursery, evil)
        url = f"http://127.0.0.1:{port}"
        site.tables += [
            table("sources", name=name, kind=vendor, url=url, poll_interval_s=0.1, timeout_s=2, **VENDORS[vendor]),
            table("sinks", name=f"dc09-{name}", kind="sia-dc09", host="127.0.0.1", port=port, reply_timeout_s=1),
            table("sinks", name=f"hook-{name}", kind="webhook", url=f"{url}/", secret="s" * 20),
            table("sinks", name=f"mqtt-{name}", kind="mqtt", url=f"mqtt://127.0.0.1:{port}"),
            table("sinks", name=f"xp-{name}", kind="milestone", url=url, username="u", password="p", camera="c"),
        ]
    await site.start()
    raised = [raise_alarm(site.devices["yard"], number) for number in range(1, 6)]
    await site.until(lambda: len(site.arrived()) >= 5, "the good ones go on")

    def all_are_down() -> bool:
        found = {source["name"]: source for source in site.agent.get("/api/v1/sources")}
        return all(found[name]["state"] == "down" and found[name]["error"] for name in badhosts.ALL)

    await site.until(all_are_down, "each bad one is said to be down, and why")
    raised += [raise_alarm(site.devices["yard"], number) for number in range(6, 11)]
    await site.until(lambda: len(site.arrived()) >= 10, "and go on")
    site.assert_delivered(raised)
    assert site.memory_kb("VmHWM") < MEMORY_KB
    assert site.descriptors() < 300
    assert "Traceback" not in site.agent.log(), site.agent.log()
    assert await site.stop() == 0


async def test_a_name_server_that_hangs_or_knows_nothing_harms_nobody_else(site: Site, fuse: str) -> None:
    """Forty look-ups that hang are as many threads as there are: everything else has to do without them."""
    site.agent.environment = {"LD_PRELOAD": fuse, "FUSE_HANG": "60"}
    await site.add_device(poll_interval_s=0.1)
    await site.add_receiver(supervision_interval_s=0)
    site.add_share()
    for number in range(60):
        credentials = VENDORS["davantis"]
        site.tables.append(
            table("sources", name=f"s{number}", kind="davantis", url=f"http://s{number}.test", **credentials)
        )
    site.tables.append(table("sinks", name="lost", kind="sia-dc09", host="receiver.test", port=6500))
    await site.start()
    raised = [raise_alarm(site.devices["yard"], number) for number in range(1, 6)]
    await site.until(lambda: len(site.arrived()) >= 5, "the good ones go on")
    assert await put_client(await site.url("patriot"), 1, "good") == 201
    await site.until(lambda: site.rows("SELECT 1 FROM clients WHERE state = 'imported'"), "a batch goes out")
    site.assert_delivered(raised)
    await site.until(lambda: site.agent.get("/api/v1/sources")[5]["state"] == "down", "it is said")
    assert await site.stop() == 0
    site.assert_no_defect_logged()


async def test_three_of_twenty_devices_are_sick_and_the_others_do_not_notice(site: Site) -> None:
    """Ten polls a second each: one stalls, one resets, one answers garbage."""
    names = [f"yard-{number}" for number in range(20)]
    for name in names:
        await site.add_device(name, poll_interval_s=0.1, timeout_s=3, system_events=False, armed_only=False)
    await site.start()

    def polls() -> dict[str, int]:
        return {source["name"]: source["polls"] for source in site.agent.get("/api/v1/sources")}

    await site.until(lambda: min(polls().values()) > 5, "all are polled")
    for name, ill in zip(names, (Ill.STALL, Ill.RESET, Ill.GARBAGE), strict=False):
        site.devices[name].laboratory.inject(ill)
    sick, healthy = names[:3], names[3:]

    def states(of: list[str]) -> set[str]:
        found = {source["name"]: source for source in site.agent.get("/api/v1/sources")}
        return {found[name]["state"] for name in of}

    await site.until(lambda: states(sick) == {"down"}, "the sick ones are down")
    before = await trio.to_thread.run_sync(polls)

    def gained() -> list[int]:
        now = polls()
        return [now[name] - before[name] for name in healthy]

    wanted = 300 if LONG else 30
    await site.until(lambda: max(gained()) >= wanted, "the healthy ones are polled on")
    found = await trio.to_thread.run_sync(gained)
    assert min(found) >= 0.7 * max(found), "all at one rate"
    assert await trio.to_thread.run_sync(states, healthy) == {"up"}
    errors = [source["errors"] for source in await site.get("/api/v1/sources") if source["name"] in healthy]
    assert set(errors) == {0}
    for name in names:
        site.devices[name].laboratory.clear()
        raise_alarm(site.devices[name], 1)
    await site.until(
        lambda: all(site.journalled(name) for name in names), "whose alarms arrive, and the sick ones' too"
    )


async def test_the_alarms_of_an_outage_arrive_once_each_in_order(site: Site) -> None:
    device = await site.add_device(poll_interval_s=0.1)
    await site.add_receiver(supervision_interval_s=0)
    await site.start()
    device.raise_event("person", media=False)
    await site.until(lambda: len(site.journalled()) == 1, "all is well")
    device.laboratory.close_port()
    await site.until(lambda: site.agent.get("/api/v1/sources")[0]["state"] == "down", "the outage is noticed")
    ids = ["20001", *device.raise_backlog(BACKLOG, BACKLOG * 1.5)]
    device.laboratory.open_port()
    await site.until(lambda: len(site.journalled()) >= len(ids), "all are journalled")
    assert site.journalled() == ids
    await site.until(lambda: site.pending() == 0, "and delivered")
    order = [event.sequence for event in site.receiver.events if event.text]
    assert len(site.receiver.events) >= len(ids) and order == sorted(order), "under rising numbers"
    site.assert_no_defect_logged()
