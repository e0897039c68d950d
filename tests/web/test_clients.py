"""Steering the client path over the agent API."""

from typing import Any

import httpx
import pytest

CLIENT = {"key_name": "Alarm24", "client_id": 9998}


async def test_clients_are_listed_by_state(registered: Any, bearer: httpx.AsyncClient) -> None:
    answer = (await bearer.get("/api/v1/clients")).json()
    assert [client["import_id"] for client in answer["clients"]] == ["9998BASE11"] and answer["next"] > 0
    assert (await bearer.get("/api/v1/clients?state=imported")).json()["clients"] == []
    assert (await bearer.get("/api/v1/clients?state=lost")).status_code == 422
    assert "Nordmann" not in (await bearer.get("/api/v1/clients")).text


async def test_lock_and_unlock(registered: Any, bearer: httpx.AsyncClient) -> None:
    locked = await bearer.post("/api/v1/clients/lock", json={**CLIENT, "seconds": 60})
    assert locked.status_code == 200 and locked.json()["locked_until"].endswith("Z")
    assert (await bearer.get("/api/v1/clients")).json()["clients"][0]["locked_until"]
    assert (await bearer.post("/api/v1/clients/unlock", json=CLIENT)).json()["locked_until"] is None
    trail = (await bearer.get("/api/v1/audit")).json()["audit"]
    assert [(entry["action"], entry["target"], entry["outcome"]) for entry in trail] == [
        ("lock", "Alarm24/9998", "done"),
        ("unlock", "Alarm24/9998", "done"),
    ]


async def test_erase_and_removed(registered: Any, bearer: httpx.AsyncClient) -> None:
    assert (await bearer.get("/api/v1/clients/removed")).json() == {"removed": []}
    erased = await bearer.post("/api/v1/clients/erase", json=CLIENT)
    assert erased.json() == {**CLIENT, "erased": ["9998BASE11"], "at_patriot": []}
    assert (await bearer.get("/api/v1/clients")).json()["clients"] == []
    assert (await bearer.post("/api/v1/clients/removed", json={"import_id": "9998BASE11"})).status_code == 404


async def test_an_erased_client_stands_no_longer_in_client_state(
    place: Any, registered: Any, bearer: httpx.AsyncClient
) -> None:
    await place.site.batches.run_once("test")
    published = place.site.settings.paths.client_state
    assert "9998BASE11" in published.read_text()
    erased = await bearer.post("/api/v1/clients/erase", json=CLIENT)
    assert erased.json()["at_patriot"] == ["9998BASE11"]
    assert published.read_text() == "{}\n"


@pytest.mark.parametrize("action", ["lock", "unlock", "erase"])
async def test_a_client_that_is_not_there_is_404(place: Any, bearer: httpx.AsyncClient, action: str) -> None:
    answer = await bearer.post(f"/api/v1/clients/{action}", json={"key_name": "nobody", "client_id": 1})
    assert answer.status_code == 404 and "nobody" in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {"client_id": 1},
        {"key_name": "a"},
        {"key_name": "a", "client_id": "1"},
        {"key_name": "a", "client_id": True},
        {"key_name": "a", "client_id": 10**17},
        {**CLIENT, "seconds": 0},
        {**CLIENT, "seconds": "long"},
        {**CLIENT, "seconds": 1e12},
    ],
)
async def test_a_bad_body_is_422(place: Any, bearer: httpx.AsyncClient, body: Any) -> None:
    assert (await bearer.post("/api/v1/clients/lock", json=body)).status_code == 422
