"""Every call of the agent API over real HTTP, and every status it may answer with."""

from typing import Any

import httpx
import pytest

from agent.alarms.model import Kind
from agent.faults import Fault, FaultClass


@pytest.mark.parametrize("path", ["/api/v1/status", "/api/v1/alarms", "/api/v1/nothing", "/api/v1/alarms/1/snapshot"])
async def test_without_a_token_everything_is_401(stranger: httpx.AsyncClient, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}, {"Authorization": "Bearer"}):
        answer = await stranger.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert "token" in answer.json()["detail"]


async def test_status_says_what_the_site_is_doing(place: Any, bearer: httpx.AsyncClient) -> None:
    status = (await bearer.get("/api/v1/status")).json()
    assert status["site"] == "test-01" and status["uptime_s"] >= 0
    assert status["state"] in ("ok", "degraded", "failing") and status["headline"]
    assert [source["name"] for source in status["sources"]] == ["yard"]
    assert [sink["name"] for sink in status["sinks"]] == ["receiver"]
    assert {service["name"] for service in status["services"]} == {"yard", "receiver", "evidence", "batches"}
    assert status["listeners"]["console"] == place.console
    assert status["share"]["kind"] == "directory"
    assert {"warnings", "last_batch", "next_batch_at", "not_configured", "problems", "version"} <= set(status)


async def test_sources_are_as_the_contract_says(bearer: httpx.AsyncClient) -> None:
    (source,) = (await bearer.get("/api/v1/sources")).json()
    assert list(source) == [
        "name", "kind", "state", "since", "last_poll_at", "last_alarm_at", "polls", "errors", "error",
    ]  # fmt: skip
    assert source["state"] == "up" and source["since"].endswith("Z")


async def test_alarms_page_by_page(place: Any, bearer: httpx.AsyncClient) -> None:
    ids = [await place.alarm() for _ in range(5)]
    first = (await bearer.get("/api/v1/alarms", params={"limit": 2})).json()
    assert [alarm["id"] for alarm in first["alarms"]] == ids[:2] and first["next"] == ids[1]
    rest = (await bearer.get("/api/v1/alarms", params={"after": first["next"]})).json()
    assert [alarm["id"] for alarm in rest["alarms"]] == ids[2:] and rest["next"] == ids[-1]
    end = (await bearer.get("/api/v1/alarms", params={"after": rest["next"]})).json()
    assert end == {"alarms": [], "next": ids[-1]}
    newest = (await bearer.get("/api/v1/alarms", params={"newest": "true", "limit": 2})).json()
    assert [alarm["id"] for alarm in newest["alarms"]] == ids[3:]


async def test_alarms_by_kind_source_and_time(place: Any, bearer: httpx.AsyncClient) -> None:
    person = await place.alarm()
    tamper = await place.alarm(kind=Kind.TAMPER)

    async def ids(**filters: str) -> list[int]:
        answer = await bearer.get("/api/v1/alarms", params=filters)
        return [alarm["id"] for alarm in answer.json()["alarms"]]

    assert await ids(kind="tamper") == [tamper]
    assert await ids(source="yard") == [person, tamper]
    assert await ids(source="elsewhere") == []
    assert await ids(since="2099-01-01T00:00:00Z") == []
    assert await ids(until="2099-01-01T00:00:00+01:00") == [person, tamper]
    plus_as_space = await bearer.get("/api/v1/alarms?until=2099-01-01T00:00:00+01:00")
    assert plus_as_space.status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=-1", "limit=many", "limit=1e3", "after=x", "after=-1", "after=99999999999999999999",
        "after=" + "9" * 5000, "kind=burglar", "since=yesterday", "until=99999-01-01",
        "since=0001-01-01T00:00:00%2B14:00",
        "source=" + "a" * 100, "newest=perhaps", "after=%C2%B2", "limit=%D9%A3",
    ],
)  # fmt: skip
async def test_a_bad_query_value_is_422_and_names_it(bearer: httpx.AsyncClient, query: str) -> None:
    answer = await bearer.get(f"/api/v1/alarms?{query}")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(query.split("=")[0])


async def test_no_page_is_longer_than_a_thousand(place: Any, bearer: httpx.AsyncClient) -> None:
    assert (await bearer.get("/api/v1/alarms?limit=100000")).status_code == 200


async def test_one_alarm_is_as_the_contract_says(place: Any, bearer: httpx.AsyncClient, wait_until: Any) -> None:
    alarm_id = await place.alarm(raw={"id": 1, "odd": float("nan"), "half": "\ud83d"})
    await wait_until(lambda: place.receiver.delivered == [alarm_id])
    alarm = (await bearer.get(f"/api/v1/alarms/{alarm_id}")).json()
    assert list(alarm) == [
        "id", "source", "source_alarm_id", "kind", "occurred_at", "received_at", "account", "zone", "device",
        "description", "restoral", "armed", "evidence", "raw", "deliveries",
    ]  # fmt: skip
    assert alarm["evidence"] == {"snapshot": "unavailable", "video": "unavailable"}
    assert alarm["raw"]["odd"] is None
    assert alarm["deliveries"][0]["sink"] == "receiver"


@pytest.mark.parametrize("alarm_id", ["4711", "0", "x", "-1", "9" * 30, "1.5", "%00"])
async def test_an_alarm_that_is_not_there_is_404(bearer: httpx.AsyncClient, alarm_id: str) -> None:
    for path in ("", "/snapshot", "/video"):
        answer = await bearer.get(f"/api/v1/alarms/{alarm_id}{path}")
        assert answer.status_code == 404 and answer.json()["detail"]


async def test_unknown_paths_and_methods_say_what_is_there(bearer: httpx.AsyncClient) -> None:
    missing = await bearer.get("/api/v1/nothing")
    assert missing.status_code == 404 and "/api/v1/status" in missing.json()["detail"]
    wrong = await bearer.post("/api/v1/status")
    assert wrong.status_code == 405 and "GET" in wrong.headers["Allow"]


async def test_deliveries_by_state_and_sink(
    place: Any, bearer: httpx.AsyncClient, troubles: dict[str, Exception], wait_until: Any
) -> None:
    place.receiver.trouble = troubles["rejected"]
    alarm_id = await place.alarm()

    async def rejected() -> list[dict[str, Any]]:
        return (await bearer.get("/api/v1/deliveries?state=rejected&sink=receiver")).json()["deliveries"]

    await wait_until(rejected)
    (delivery,) = await rejected()
    assert list(delivery) == [
        "id", "alarm_id", "sink", "state", "attempts", "reason", "next_attempt_at", "acknowledged_at",
    ]  # fmt: skip
    assert delivery["alarm_id"] == alarm_id and delivery["reason"] == "unknown account"
    assert (await bearer.get("/api/v1/deliveries?state=lost")).status_code == 422
    assert (await bearer.get("/api/v1/deliveries?sink=other")).json()["deliveries"] == []

    place.receiver.trouble = None
    again = await bearer.post(f"/api/v1/deliveries/{delivery['id']}/retry")
    assert again.status_code == 200 and again.json()["id"] == delivery["id"]
    await wait_until(lambda: alarm_id in place.receiver.delivered)

    async def conflict() -> bool:
        return (await bearer.post(f"/api/v1/deliveries/{delivery['id']}/retry")).status_code == 409

    await wait_until(conflict)
    assert (await bearer.post("/api/v1/deliveries/4711/retry")).status_code == 404


async def test_health_has_causes_with_their_next_step(place: Any, bearer: httpx.AsyncClient, wait_until: Any) -> None:
    place.site.problems["reload"] = "The reload was refused. Two faults."
    answer = (await bearer.get("/api/v1/health")).json()
    assert answer["state"] == "degraded"
    assert set(answer["warnings"][0]) == {"code", "severity", "title", "text", "next_step", "clears_when"}


async def test_a_problem_is_told_once(place: Any, bearer: httpx.AsyncClient) -> None:
    problems = place.site.problems
    problems["reload"] = "The changed configuration is not used: agent.toml: sinks[3].bogus: unknown key."
    problems["restart"] = "Changes wait"
    warnings = (await bearer.get("/api/v1/health")).json()["warnings"]
    told = {warning["code"]: (warning["title"], warning["text"]) for warning in warnings}
    details = "agent.toml: sinks[3].bogus: unknown key."
    assert told["reload"] == ("The changed configuration is not used", details)
    assert told["restart"] == ("Changes wait", "")


async def test_an_account_that_a_receiver_does_not_take_is_no_fair_weather(
    place: Any, bearer: httpx.AsyncClient
) -> None:
    """The receiver answers, the other accounts get through: without a word of its own nobody would look."""
    dispatcher = next(iter(place.site.dispatchers.values()))
    dispatcher.state = "up"
    fault = Fault(FaultClass.PROTOCOL, "It answers NAK.")
    dispatcher._waiting = {f"{number}": (float("inf"), fault) for number in range(5550, 5557)}
    answer = (await bearer.get("/api/v1/health")).json()
    [warning] = [each for each in answer["warnings"] if each["code"] == f"sink-{dispatcher.name}-kept"]
    assert answer["state"] == "failing"
    assert warning["text"].startswith("5550, 5551, 5552, 5553, 5554 and 2 more: It answers NAK.")
    assert (await bearer.get("/api/v1/status")).json()["sinks"][0]["kept"] == sorted(dispatcher._waiting)


async def test_reload_is_asked_for_once(place: Any, bearer: httpx.AsyncClient) -> None:
    assert (await bearer.post("/api/v1/reload")).status_code == 200
    assert place.reloads == 1
    place.site.problems["reload"] = "agent.toml: sources[0].url: is required and missing"
    refused = await bearer.post("/api/v1/reload")
    assert refused.status_code == 409 and "url" in refused.text


async def test_a_console_link_is_made_on_the_control_socket_only(
    place: Any, local: httpx.AsyncClient, bearer: httpx.AsyncClient
) -> None:
    made = await local.post("/api/v1/console-link")
    assert made.status_code == 201
    assert made.json()["url"].startswith("https://console.example/login/")
    assert (await bearer.post("/api/v1/console-link")).status_code == 404


async def test_the_control_socket_asks_for_no_token(place: Any, local: httpx.AsyncClient) -> None:
    assert (await local.get("/api/v1/status")).json()["site"] == "test-01"
