"""Having a device do something: each status of the contract, and a line in the audit trail for every try."""

import getpass
from typing import Any

import httpx
import pytest

from agent.faults import Fault, FaultClass

URL = "/api/v1/sources/yard/actions"


async def _audit(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get("/api/v1/audit")).json()["audit"]
    return found


async def test_done_is_200_in_the_devices_words(place: Any, bearer: httpx.AsyncClient) -> None:
    answer = await bearer.post(URL, json={"action": "arm", "target": "1"})
    assert (answer.status_code, answer.json()) == (200, {"outcome": "done", "detail": "arm 1 done."})
    assert place.yard.acted == [("arm", "1", None)]
    (entry,) = await _audit(bearer)
    assert {key: entry[key] for key in ("who", "source", "action", "target", "outcome", "detail")} == {
        "who": "token",
        "source": "yard",
        "action": "arm",
        "target": "1",
        "outcome": "done",
        "detail": "arm 1 done.",
    }
    assert entry["when"].endswith("Z")


async def test_refused_is_409_with_the_devices_reason(bearer: httpx.AsyncClient) -> None:
    answer = await bearer.post(URL, json={"action": "disarm", "target": "2"})
    assert (answer.status_code, answer.json()) == (
        409,
        {"outcome": "refused", "detail": "Camera 2 is in maintenance."},
    )
    assert (await _audit(bearer))[0]["outcome"] == "refused"


@pytest.mark.parametrize(
    ("path", "body", "status", "word"),
    [
        ("/api/v1/sources/nowhere/actions", {"action": "arm", "target": "1"}, 404, "yard"),
        (URL, {"action": "arm", "target": "9"}, 404, "no 9"),
        (URL, {"action": "explode", "target": "1"}, 422, "relay_on"),
    ],
)
async def test_what_is_not_there_is_named_and_audited(
    bearer: httpx.AsyncClient, path: str, body: Any, status: int, word: str
) -> None:
    answer = await bearer.post(path, json=body)
    assert answer.status_code == status and word in answer.json()["detail"]
    assert (await _audit(bearer))[0]["outcome"] == "failed"


@pytest.mark.parametrize(
    "body", [b"", b"x", b"[]", b"{}", b'{"action":5.5}', b'{"action":"arm","target":[]}', b'{"action":"","target":"1"}',
             b'{"action":"arm","target":"1","extra":1}', b"[" * 100_000, b'{"action":"' + b"a" * 300 + b'"}'],
)  # fmt: skip
async def test_a_body_that_is_no_action_is_422(place: Any, bearer: httpx.AsyncClient, body: bytes) -> None:
    answer = await bearer.post(URL, content=body)
    assert answer.status_code == 422 and answer.json()["detail"]
    assert place.yard.acted == []


async def test_unreachable_is_502(place: Any, bearer: httpx.AsyncClient, troubles: dict[str, Exception]) -> None:
    place.yard.trouble = troubles["unreachable"]
    answer = await bearer.post(URL, json={"action": "arm", "target": "1"})
    assert answer.status_code == 502 and "Check the cable" in answer.json()["detail"]
    place.yard.trouble = KeyError("a defect")
    answer = await bearer.post(URL, json={"action": "arm", "target": "1"})
    assert answer.status_code == 502 and "not understood" in answer.json()["detail"]
    assert [entry["outcome"] for entry in await _audit(bearer)] == ["failed", "failed"]


async def test_an_alarm_is_acknowledged_by_its_own_number(place: Any, bearer: httpx.AsyncClient) -> None:
    alarm_id = await place.alarm(native_id="77", raw={"id": 77, "state": "new"})
    answer = await bearer.post(URL, json={"action": "acknowledge", "target": str(alarm_id)})
    assert answer.status_code == 200
    assert place.yard.acted == [("acknowledge", "77", {"id": 77, "state": "new"})]


async def test_a_number_is_a_target_too(place: Any, bearer: httpx.AsyncClient) -> None:
    assert (await bearer.post(URL, json={"action": "arm", "target": 1})).status_code == 200
    assert place.yard.acted == [("arm", "1", None)]


async def test_the_trail_knows_the_local_user_and_goes_page_by_page(
    local: httpx.AsyncClient, bearer: httpx.AsyncClient
) -> None:
    for client in (local, bearer, local):
        await client.post(URL, json={"action": "arm", "target": "1"})
    page = (await bearer.get("/api/v1/audit?limit=2")).json()
    assert [entry["who"] for entry in page["audit"]] == [getpass.getuser(), "token"]
    rest = (await bearer.get(f"/api/v1/audit?after={page['next']}")).json()
    assert [entry["who"] for entry in rest["audit"]] == [getpass.getuser()]


async def test_a_hostile_target_is_kept_as_text(place: Any, bearer: httpx.AsyncClient) -> None:
    body = b'{"action":"arm","target":"\\ud83d<script>\\u0000"}'
    assert (await bearer.post(URL, content=body)).status_code == 404
    assert "<script>" in (await _audit(bearer))[0]["target"]


async def test_devices_are_listed_by_their_own_ids(place: Any, bearer: httpx.AsyncClient) -> None:
    devices = (await bearer.get("/api/v1/sources/yard/devices")).json()
    assert devices[0] == {"id": "1", "kind": "camera", "name": "Gate", "state": "armed"}
    assert (await bearer.get("/api/v1/sources/nowhere/devices")).status_code == 404
    place.yard.trouble = Fault(FaultClass.SLOW, "yard is slow.")
    assert (await bearer.get("/api/v1/sources/yard/devices")).status_code == 502
