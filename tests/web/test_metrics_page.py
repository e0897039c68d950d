"""The metrics listener, which anybody may read."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import trio

from agent.supervise import Service


@pytest.fixture
async def scraper(place: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=place.metrics, timeout=20) as made:
        yield made


async def test_metrics_come_in_the_format_that_is_asked_for(place: Any, scraper: httpx.AsyncClient) -> None:
    await place.alarm()
    plain = await scraper.get("/metrics")
    assert plain.status_code == 200 and plain.headers["Content-Type"].startswith("text/plain")
    assert 'varde_alarms_total{kind="person",source="yard"} 1.0' in plain.text
    modern = await scraper.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert modern.headers["Content-Type"].startswith("application/openmetrics-text") and modern.text.endswith("# EOF\n")


async def test_ready_once_every_service_runs(place: Any, scraper: httpx.AsyncClient, wait_until: Any) -> None:
    assert (await scraper.get("/readyz")).status_code == 200
    assert "yard running" in (await scraper.get("/readyz?verbose")).text

    async def fails() -> None:
        raise OSError("no such port")

    place.site.supervisor.start(Service("broken", fails))

    async def unready() -> bool:
        return (await scraper.get("/readyz")).status_code == 503

    await wait_until(unready)
    assert (await scraper.get("/livez")).status_code == 200


async def test_not_alive_while_a_service_is_stuck(place: Any, scraper: httpx.AsyncClient) -> None:
    assert (await scraper.get("/livez")).text == "ok\n"
    place.site.supervisor.start(Service("stuck", trio.sleep_forever, alive=lambda: False))
    assert (await scraper.get("/livez")).status_code == 503


async def test_the_landing_page_leads_to_the_metrics(scraper: httpx.AsyncClient) -> None:
    assert '"/metrics"' in (await scraper.get("/")).text
    assert (await scraper.get("/elsewhere")).status_code == 404
