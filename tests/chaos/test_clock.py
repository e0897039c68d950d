"""The box's clock leaps by a day, forward and back, under the running daemon.

Never lost: an alarm, a poll's rate, a delivery, a batch. Daylight saving at hh:59 is tests/batches/test_schedule.py.
"""

import struct

import httpx
import trio
from harness import TOKEN
from hostile import Site, put_client, raise_alarm

LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
)


DAY_S = 86_400


class WallClock:
    """The daemon's, `move`d to so many seconds off; its monotonic clock is the true one."""

    def __init__(self, site: Site, fuse: str) -> None:
        self._file = site.agent.directory / "offset"
        self._file.write_bytes(bytes(8))
        site.agent.environment = {"LD_PRELOAD": fuse, "FUSE_CLOCK": str(self._file)}

    def move(self, offset_s: int) -> None:
        with self._file.open("r+b") as file:  # in place: the daemon has it mapped
            file.write(struct.pack("q", offset_s))


async def test_a_clock_that_leaps_a_day_starves_and_repeats_nothing(site: Site, fuse: str) -> None:
    clock = WallClock(site, fuse)
    await site.add_device(poll_interval_s=0.1)
    await site.add_receiver(hold_repeats_s=0, supervision_interval_s=0)
    site.receiver.window = None  # its clock is right, ours is not; the answer to that is tests/sinks/dc09
    site.add_share(every_s=0.5)
    await site.start()
    url, console = await site.url("patriot"), await site.url("console")
    raised: list[str] = []
    for number, offset in enumerate((0, DAY_S, -DAY_S, 3600, 0), 1):
        clock.move(offset)
        await at_work(site, raised, url, number)
        answer = await trio.to_thread.run_sync(lambda: httpx.get(f"{console}/api/v1/status", headers=bearer()))
        assert answer.status_code == 200 and answer.json()["state"] == "ok", answer.text
    site.assert_delivered(raised)
    assert site.journalled() == [str(20001 + number) for number in range(len(raised))]
    assert {row[0] for row in site.rows("SELECT kind FROM alarms")} == {"person"}, "nobody was thought lost"
    batches = site.rows("SELECT count(*) FROM batches WHERE outcome = 'ok' AND clients > 0")[0][0]
    assert batches <= 2 * 5, "no burst"
    site.assert_no_defect_logged()


def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKEN}"}


async def at_work(site: Site, raised: list[str], url: str, number: int) -> None:
    """Polls go on, an alarm arrives, a client is imported, whatever the clock says."""
    raised.append(raise_alarm(site.devices["yard"], number))
    assert await put_client(url, number, f"name {number}") == 201
    polls = (await site.get("/api/v1/sources"))[0]["polls"]
    await site.until(lambda: site.agent.get("/api/v1/sources")[0]["polls"] > polls + 5, "it is polled on")
    await site.until(lambda: len(site.arrived()) == len(raised), "the alarm arrives")
    imported = "SELECT 1 FROM clients WHERE state = 'imported' AND client_id = ?"
    await site.until(lambda: site.rows(imported, number), "the client is imported")
