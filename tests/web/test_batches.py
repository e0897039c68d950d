"""Batches over the agent API, to a folder that is the share."""

from typing import Any

import httpx


async def test_a_batch_is_run_and_can_be_looked_at(
    registered: str, place: Any, bearer: httpx.AsyncClient, tmp_path: Any
) -> None:
    run = await bearer.post("/api/v1/batches")
    assert run.status_code == 200
    batch = run.json()
    assert batch["outcome"] == "ok" and batch["clients"] == 1 and batch["who"] == "token"
    assert registered in (tmp_path / "share" / "clients.xml").read_text()
    listed = (await bearer.get("/api/v1/batches")).json()
    assert [one["id"] for one in listed["batches"]] == [batch["id"]] and listed["next"] == batch["id"]
    rows = (await bearer.get(f"/api/v1/batches/{batch['id']}")).json()["rows"]
    assert [(row["import_id"], row["result"]) for row in rows] == [(registered, "pending_import")]
    assert (await bearer.get("/api/v1/batches/4711")).status_code == 404
    status = (await bearer.get("/api/v1/status")).json()
    assert status["last_batch"]["id"] == batch["id"] and status["next_batch_at"].endswith("Z")


async def test_a_batch_that_fails_says_why(
    registered: str, place: Any, bearer: httpx.AsyncClient, tmp_path: Any
) -> None:
    for file in (tmp_path / "share").iterdir():
        file.unlink()
    (tmp_path / "share").rmdir()
    batch = (await bearer.post("/api/v1/batches")).json()
    assert batch["outcome"] != "ok" and batch["detail"]
