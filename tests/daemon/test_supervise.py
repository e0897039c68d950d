"""Services restart alone, with capped pauses; a stop ends them; what is stuck is told."""

import logging

import pytest
import trio
import trio.testing

from agent.supervise import Service, Supervisor


class Flaky:
    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.starts: list[float] = []

    async def run(self) -> None:
        self.starts.append(trio.current_time())
        if len(self.starts) <= self.failures:
            raise ConnectionError("the cable is out")
        await trio.sleep_forever()


async def test_a_service_that_fails_disturbs_no_other(autojump_clock: trio.testing.MockClock) -> None:
    supervisor, flaky, calm = Supervisor(), Flaky(10**6), Flaky(0)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        supervisor.start(Service("flaky", flaky.run))
        supervisor.start(Service("calm", calm.run))
        await trio.sleep(300)
        states = {service["name"]: service for service in supervisor.services()}
        assert states["flaky"]["state"] == "waiting" and "the cable is out" in states["flaky"]["error"]
        assert states["calm"]["state"] == "running" and len(calm.starts) == 1
        assert not supervisor.ready() and supervisor.alive()
        nursery.cancel_scope.cancel()
    assert flaky.starts[:7] == [0, 1, 3, 7, 15, 31, 63]
    assert flaky.starts[7:10] == [123, 183, 243]


async def test_it_is_ready_once_everything_runs_again(autojump_clock: trio.testing.MockClock) -> None:
    supervisor, flaky = Supervisor(), Flaky(2)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        supervisor.start(Service("flaky", flaky.run))
        await trio.sleep(2)
        assert not supervisor.ready()
        await trio.sleep(2)
        assert supervisor.ready()
        nursery.cancel_scope.cancel()


async def test_one_line_for_many_failures(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "varde")
    supervisor = Supervisor()
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        supervisor.start(Service("flaky", Flaky(10**6).run))
        await trio.sleep(3600)
        nursery.cancel_scope.cancel()
    assert len(caplog.records) == 1


async def test_stopping_waits_until_the_service_has_cleaned_up(autojump_clock: trio.testing.MockClock) -> None:
    supervisor, cleaned = Supervisor(), []

    async def run() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)
            cleaned.append(True)

    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        supervisor.start(Service("a", run))
        await trio.sleep(1)
        await supervisor.stop("a")
        assert cleaned == [True] and supervisor.services() == []
        supervisor.start(Service("a", run))
        await supervisor.stop("nobody")
        nursery.cancel_scope.cancel()


async def test_a_group_of_failures_is_a_failure_and_a_cancel_is_not(autojump_clock: trio.testing.MockClock) -> None:
    supervisor = Supervisor()

    async def run() -> None:
        async with trio.open_nursery() as inner:
            inner.start_soon(trio.sleep_forever)
            await trio.sleep(1)
            raise ValueError("bad")

    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        supervisor.start(Service("group", run))
        await trio.sleep(1.5)
        assert supervisor.services()[0]["restarts"] == 1
        nursery.cancel_scope.cancel()


async def test_what_is_stuck_is_told(autojump_clock: trio.testing.MockClock) -> None:
    supervisor = Supervisor()
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        supervisor.start(Service("hung", trio.sleep_forever, alive=lambda: False))
        await trio.lowlevel.checkpoint()
        assert not supervisor.alive()
        assert supervisor.services()[0]["state"] == "stuck"
        nursery.cancel_scope.cancel()
