"""The client against the simulated service: modes, versions, sessions and codes."""

import httpx
import pytest
import trio
from pydantic import SecretStr

from agent.faults import Fault, FaultClass
from agent.vendors.lab import Ill
from agent.vendors.sensaphone import resources
from agent.vendors.sensaphone.answers import ApiFault, answer_of
from agent.vendors.sensaphone.client import SensaphoneClient
from agent.vendors.sensaphone.resources import RESOURCES
from agent.vendors.sensaphone.simulator import SensaphoneSimulator

IDS = {
    "device": 1234,
    "zone": 112233,
    "user": 6778,
    "contact": 31,
    "default_schedule": 123400,
    "device_schedule": 123405,
    "alarmschedule": 1122330,
    "schedule": 1122335,
}


@pytest.mark.parametrize("resource", [name for name in RESOURCES if name != "login"])
async def test_every_resource_is_read_in_json_mode(client: SensaphoneClient, resource: str) -> None:
    ids = {name: IDS[name] for name in resource.split("/")[:-1] if name in resources.LISTS}
    if resource.startswith(("contact/", "user/")):
        ids |= {"schedule": 310 if "contact" in resource else 320} if "schedule/" in resource else {}
    answer = await client.call("read", resource, **ids)
    found = answer.data
    for name in resource.split("/"):
        assert name in found, f"{resource}: no {name}"
        found = found[name][0] if isinstance(found[name], list) and found[name] else found[name]


@pytest.mark.parametrize(
    ("verb", "resource"),
    [("create", "dashboard"), ("delete", "zone"), ("delete", "device/zone"), ("read", "alarm"), ("read", "")],
)
async def test_what_the_service_does_not_do_never_leaves(
    simulator: SensaphoneSimulator, client: SensaphoneClient, verb: str, resource: str
) -> None:
    with pytest.raises(ValueError, match=r"Sensaphone\.net"):
        await client.call(verb, resource)  # type: ignore[arg-type]
    assert not simulator.laboratory.requests


async def test_create_update_and_delete(client: SensaphoneClient) -> None:
    made = (await client.call("create", "user", {"name": "Jo"})).data["user"][0]["user_id"]
    await client.call("update", "user", {"name": "Jo Natt"}, user=made)
    assert (await client.call("read", "user", {"name": None}, user=made)).data["user"] == [
        {"user_id": made, "name": "Jo Natt"}
    ]
    await client.call("delete", "user", user=made)
    with pytest.raises(ApiFault):
        await client.call("read", "user", user=made)


async def test_uri_mode_encodes_the_braces(simulator: SensaphoneSimulator, client: SensaphoneClient) -> None:
    await client.uri("update", "device", "name", "Nøst / kai", device=1234)
    answer = await client.uri("read", "device", "name", device=1234)
    assert answer.data == {"device": [{"device_id": 1234, "name": "Nøst / kai"}]}
    line = simulator.laboratory.requests[-1]
    assert line.endswith("/device/%7B1234%7D/name") and "{" not in line
    made = await client.uri("create", "device/zone/alarm_zone/alarmschedule", device=1234, zone=112233)
    assert made.data["device"][0]["zone"][0]["alarm_zone"]["alarmschedule"][0]["alarmschedule_id"] >= 900_001
    with pytest.raises(ValueError, match="never empty"):
        await client.uri("read", "device", device="")


async def test_neither_session_nor_password_stands_in_an_address(
    simulator: SensaphoneSimulator, client: SensaphoneClient
) -> None:
    await client.dashboard()
    await client.devices()
    await client.renew()
    await client.acknowledge_offline(1234)
    await client.data_log([112233])
    lines = " ".join(simulator.laboratory.requests)
    assert not any(session in lines for session in simulator.sessions)
    assert simulator.password not in lines and simulator.username not in lines
    assert {line.split()[0] for line in simulator.laboratory.requests} == {"POST"}


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_v1_and_v2_are_the_same_to_the_caller(simulator: SensaphoneSimulator, version: str) -> None:
    simulator.answer_version = version
    simulator.alarm(112233, 7)
    simulator.device(1234)["description"] = ""
    made = SensaphoneClient(simulator.url, simulator.username, SecretStr(simulator.password))
    device = (await made.dashboard()).data["dashboard"]["device"][0]
    assert (device["device_id"], device["is_online"], device["description"]) == (1234, True, "")
    assert device["zone"][0]["alarm_zone"]["alarm_condition"] == [7]
    await made.aclose()


async def test_v3_has_no_values_and_says_what_is_pending() -> None:
    body = {"result": {"success": True, "code": 0}, "response": {"device": [{"name": {"is_pending": True}}]}}
    answer = answer_of(httpx.Response(200, json=body), "the service", "device")
    assert answer.data == {"device": [{"name": None}]}
    assert answer.pending == {"device/0/name"}


async def test_the_overview_shows_answers_without_an_envelope() -> None:
    bare = {
        "device": [{"device_id": 1234, "name": {"is_null": False, "is_empty": False, "value": "x", "type": "string"}}]
    }
    answer = answer_of(httpx.Response(200, json=bare), "the service", "device")
    assert answer.data == {"device": [{"device_id": 1234, "name": "x"}]}


@pytest.mark.parametrize("code", [1, 2])
async def test_a_dead_session_is_replaced_once_and_the_request_repeated(
    simulator: SensaphoneSimulator, client: SensaphoneClient, code: int
) -> None:
    await client.dashboard()
    simulator.refuse(code)
    assert "device" in (await client.dashboard()).data["dashboard"]
    assert simulator.logins == 2
    simulator.refuse(code, times=2)
    with pytest.raises(ApiFault) as caught:
        await client.dashboard()
    assert (caught.value.code, simulator.logins) == (code, 3)


async def test_two_callers_with_a_dead_session_log_in_once(
    simulator: SensaphoneSimulator, client: SensaphoneClient
) -> None:
    await client.dashboard()
    simulator.expire_sessions()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.dashboard)
        nursery.start_soon(client.dashboard)
    assert simulator.logins == 2


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        (3, FaultClass.REJECTED),
        (4, FaultClass.REJECTED),
        (7, FaultClass.AUTHENTICATION),
        (8, FaultClass.REFUSED),
    ],
)
async def test_other_codes_are_not_tried_again(
    simulator: SensaphoneSimulator, client: SensaphoneClient, code: int, seen: FaultClass
) -> None:
    await client.dashboard()
    asked = simulator.laboratory.count("POST")
    simulator.refuse(code)
    with pytest.raises(ApiFault) as caught:
        await client.dashboard()
    assert (caught.value.fault_class, caught.value.code) == (seen, code)
    assert simulator.laboratory.count("POST") == asked + 1


@pytest.mark.parametrize(("change", "code"), [({"username": "nobody@example.test"}, 5), ({"password": "n&pe"}, 6)])
async def test_a_wrong_user_or_password_is_said_once_and_without_it(
    simulator: SensaphoneSimulator, change: dict[str, str], code: int
) -> None:
    user = {**simulator.credentials(), **change}
    made = SensaphoneClient(simulator.url, user["username"], SecretStr(user["password"]))
    with pytest.raises(ApiFault) as caught:
        await made.dashboard()
    assert (caught.value.code, caught.value.fault_class) == (code, FaultClass.AUTHENTICATION)
    assert simulator.logins == 1 and user["password"] not in str(caught.value)
    assert "Check username and password" in str(caught.value)
    await made.aclose()


async def test_the_session_is_renewed_early_and_without_a_log_in(
    simulator: SensaphoneSimulator, client: SensaphoneClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await client.session()
    assert session.renew_at - trio.current_time() <= simulator.session_life_s / 2
    monkeypatch.setattr(trio, "current_time", lambda: session.renew_at + 1)
    renewed = await client.session()
    assert renewed.renew_at > session.renew_at and renewed.key == session.key
    assert simulator.logins == 1
    simulator.expire_sessions()
    monkeypatch.setattr(trio, "current_time", lambda: renewed.renew_at + 1)
    await client.dashboard()
    assert simulator.logins == 2


async def test_a_property_that_failed_is_surfaced_in_a_success(client: SensaphoneClient) -> None:
    body = {"device": [{"device_id": 1234, "name": "Kai", "zone": [{"zone_id": 112233, "name": 1234}]}]}
    answer = await client.submit("update", "device", body)
    assert [(failure.path, failure.code) for failure in answer.failures] == [("device/0/zone/0/name", 123)]
    assert "A string type is required" in str(answer.failures[0])


async def test_history_counts_from_the_newest_row(simulator: SensaphoneSimulator, client: SensaphoneClient) -> None:
    for value in ("1", "2", "3"):
        simulator.alarm(112233, value=value)
    points = (await client.log_points(1234)).data["history"]["data_log_points"]["log_points"]
    assert {"zone_id": 112233, "log_point": 112233} in points
    log = (await client.data_log([112233], offset=1, count=1)).data["history"]["data_log"]
    assert [row["value"] for row in log] == ["2"]
    assert (await client.event_log()).data["history"] == {"event_log": []}
    assert (await client.audit_log()).data["history"] == {"audit_log": []}


@pytest.mark.parametrize(
    ("ill", "details", "seen"),
    [
        (Ill.HTML, {"status": 404}, FaultClass.PROTOCOL),
        (Ill.HTML, {"status": 502}, FaultClass.REFUSED),
        (Ill.STATUS, {"status": 503, "retry_after_s": 7}, FaultClass.REFUSED),
        (Ill.WRONG_JSON, {}, FaultClass.PROTOCOL),
        (Ill.GARBAGE, {}, FaultClass.PROTOCOL),
        (Ill.RESET, {}, FaultClass.REFUSED),
    ],
)
async def test_what_is_no_answer_of_the_service_is_a_fault(
    simulator: SensaphoneSimulator, client: SensaphoneClient, ill: Ill, details: dict[str, int], seen: FaultClass
) -> None:
    await client.dashboard()
    simulator.laboratory.inject(ill, **details)
    with pytest.raises(Fault) as caught:
        await client.dashboard()
    assert caught.value.fault_class is seen
    assert caught.value.retry_after_s == details.get("retry_after_s")


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        "x",
        None,
        {"result": None},
        {"result": {}},
        {"result": {"success": "yes?"}},
        {"result": {"success": True, "code": "abc"}, "response": []},
    ],
)
def test_garbage_never_raises_anything_but_a_fault(body: object) -> None:
    try:
        answer = answer_of(httpx.Response(200, json=body), "the service", "dashboard")
    except Fault as fault:
        assert fault.fault_class is FaultClass.PROTOCOL
    else:
        assert answer.data == {}
