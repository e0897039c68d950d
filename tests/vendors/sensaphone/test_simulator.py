"""Every request example of the API overview, as it is printed there, against the simulator.

Printed, an address has its values in literal braces; the first JSON example lacks a quotation mark, which is put
right here, and the arrows' explanations are no part of the JSON. `ACCTID` and `SESSIONID` stand for the laboratory's.
"""

import json
from typing import Any

import pytest
import trio

from agent.vendors.sensaphone.simulator import SensaphoneSimulator

SESSION = "0123-4567-8901"
OPEN = {"acctid": 987654, "session": SESSION, "resource": "device"}
JSON_NAME = {**OPEN, "request_type": "read", "device": [{"device_id": 1234, "name": None}]}
JSON_ZONES = {
    **OPEN,
    "request_type": "read",
    "device": [
        {"device_id": 1234, "name": None, "zones": [{"zone_id": 112233}], "this fake property": "is ignored"},
    ],
}
JSON_UPDATE = {
    **OPEN,
    "request_type": "update",
    "device": [{"device_id": 1234, "name": "My Device", "zone": [{"zone_id": 112233, "name": 1234}]}],
}


async def raw(simulator: SensaphoneSimulator, method: str, path: str, body: Any = None) -> dict[str, Any]:
    """One request, written to the socket as printed: an HTTP library would encode the braces."""
    simulator.open_session(SESSION)
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    host, _, port = simulator.url.removeprefix("http://").partition(":")
    with trio.fail_after(20):
        stream = await trio.open_tcp_stream(host, int(port))
        async with stream:
            await stream.send_all(head.encode() + content)
            answer = b"".join([chunk async for chunk in stream])
    assert answer.startswith(b"HTTP/1.1 200")
    return dict(json.loads(answer.partition(b"\r\n\r\n")[2]))


EXAMPLES = [
    ("GET", "/device/{1234}/name", {"device": [{"device_id": 1234, "name": "My Device"}]}),
    ("POST", "/device/{1234}/zone/{112233}/alarmschedule", None),
    (
        "GET",
        "/device/{1234}/zone/{112233}/name",
        {"device": [{"device_id": 1234, "zone": [{"zone_id": 112233, "name": "Freezer"}]}]},
    ),
    ("PUT", "/user/{6778}/name/{John%20Doe}", {"user": [{"user_id": 6778, "name": "John Doe"}]}),
    ("DELETE", "/user/{6778}", {"user": [{"user_id": 6778}]}),
    ("PUT", "/device/{1234}/name/{My%20Device}", {"device": [{"device_id": 1234, "name": "My Device"}]}),
    (
        "PUT",
        "/device/{1234}/zone/{112233}/name/{1234}",
        {"device": [{"device_id": 1234, "zone": [{"zone_id": 112233, "name": "1234"}]}]},
    ),
]


@pytest.mark.parametrize(("method", "path", "response"), EXAMPLES, ids=[f"{m} {p}" for m, p, _ in EXAMPLES])
async def test_uri_mode(simulator: SensaphoneSimulator, method: str, path: str, response: Any) -> None:
    answer = await raw(simulator, method, f"/api/v1/{{987654}}/{{{SESSION}}}{path}")
    assert answer["result"]["code"] == 0
    assert response is None or answer["response"] == response


async def test_log_in_by_uri(simulator: SensaphoneSimulator) -> None:
    answer = await raw(simulator, "POST", f"/api/v1/login/{{agent@example.test}}/{{{simulator.password}}}")
    assert answer["response"]["acctid"] == 987654


async def test_json_mode_read(simulator: SensaphoneSimulator) -> None:
    answer = await raw(simulator, "POST", "/api/v1/device", JSON_NAME)
    assert answer["response"] == {"device": [{"device_id": 1234, "name": "My Device"}]}


async def test_json_mode_with_a_whole_zone_and_an_unknown_property(simulator: SensaphoneSimulator) -> None:
    device = (await raw(simulator, "POST", "/api/v1/device", JSON_ZONES))["response"]["device"][0]
    assert set(device) == {"device_id", "name", "zone"}
    assert device["zone"][0]["zone_id"] == 112233 and device["zone"][0]["alarm_zone"]


async def test_account_and_session_may_stand_in_the_address_of_json_mode(simulator: SensaphoneSimulator) -> None:
    body = {"request_type": "read", "device": [{"device_id": 1234, "name": None}]}
    answer = await raw(simulator, "POST", f"/api/v1/{{987654}}/{{{SESSION}}}/device", body)
    assert answer["response"] == {"device": [{"device_id": 1234, "name": "My Device"}]}


async def test_json_mode_update_with_one_property_that_fails(simulator: SensaphoneSimulator) -> None:
    answer = await raw(simulator, "POST", "/api/v1/device", JSON_UPDATE)
    assert answer["result"]["success"] is True
    device = answer["result"]["properties"]["device"][0]
    assert device["name"] == {"success": True, "message": "OK", "code": 0}
    wrong = {"success": False, "message": "A string type is required", "code": 123}
    assert device["zone"][0] == {"zone_id": 112233, "name": wrong}
    assert answer["response"]["device"][0]["name"] == "My Device"


async def test_the_three_versions_of_one_answer(simulator: SensaphoneSimulator) -> None:
    names = []
    for version in ("v1", "v2", "v3"):
        answer = await raw(simulator, "GET", f"/api/{version}/{{987654}}/{{{SESSION}}}/device/{{1234}}/name")
        names.append(answer["response"]["device"][0]["name"])
    assert names[0] == "My Device" and names[2] == {"is_pending": False}
    assert (names[1]["value"], names[1]["type"], names[1]["is_null"]) == ("My Device", "string", False)


@pytest.mark.parametrize(
    ("body", "path", "code"),
    [
        ({**JSON_NAME, "session": ""}, "/api/v1/device", 1),
        ({**JSON_NAME, "session": "old"}, "/api/v1/device", 2),
        (JSON_NAME, "/api/v1/nothing", 3),
        (JSON_NAME, "/elsewhere", 3),
        ("no object", "/api/v1/device", 4),
        ({"request_type": "create", "user_name": "x"}, "/api/v1/login", 5),
        ({"request_type": "create", "user_name": "agent@example.test", "password": "x"}, "/api/v1/login", 6),
    ],
)
async def test_codes(simulator: SensaphoneSimulator, body: Any, path: str, code: int) -> None:
    assert (await raw(simulator, "POST", path, body))["result"]["code"] == code
