"""Every request example of the vendor's reference, sent to the simulator by a plain HTTP client.

Ids, paths and odd spellings are the reference's own: plural paths, a fob's node named `locations`, booleans as
strings, doors unlocked by name.
"""

from typing import Any

import httpx
import pytest

from agent.vendors.lockt.simulator import LocktSimulator

GETS = [
    "about",
    "accesslevel",
    "accesslevel?name=Security",
    "credential",
    "credential?user_id=12345",
    "credential?card_num=8001",
    "credential?id=335",
    "credentialsummary",
    "delegates",
    "delegate",
    "door",
    "door?user_id=12345",
    "door?id_num=ZZ123",
    "doorstate",
    "doorstate?low_battery=40",
    "events",
    "events?id=17249",
    "fob",
    "fob?id=443",
    "fob?id_num=10000",
    "fob?card_num=10000",
    "fob?name=Fob",
    "location",
    "locationtype",
    "maintenance",
    "object?listtypes",
    "object?type=location",
    "ping",
    "schedule",
    "settings",
    "site",
    "time",
    "user",
    "user?id=1693",
    "user?idnum=ABC123-98765",
    "user?id_num=ABC123-98765",
    "user?missingcreds",
    "user?installers",
    "user?privileged",
]

LENIENT: dict[str, Any] = {"validate_fails_batch": "false"}
STRICT: dict[str, Any] = {"validate_fails_batch": "true"}
PERSON = {"phone": "33344455555", "credential_key": "", "access_effective": "", "access_expires": "", "enabled": "true"}
TOBY = {"id": 4432, "id_num": "ABC123", "last_name": "Peters", "first_name": "Toby", "email": "toby.peters@web.place"}
DANA = {"id": 7612, "id_num": "DEF567", "last_name": "Wilson", "first_name": "Dana", "email": "dana.wilson@web.place"}
USER_OPTIONS = {"update_existing": "true", "validate_fails_batch": "false", "replace_privileges": "true"}
LEVELS = [{"id": 123}, {"id": 789}]
SEPTEMBER = {"access_effective": "2022-09-07 22:20:00", "access_expires": "2022-09-07 22:53:00"}
JUNE = {"access_effective": "2022-06-10 05:00:00", "access_expires": "2022-06-10 08:00:00"}
MAY = {"access_effective": "2022-05-05 05:00:00", "access_expires": "2022-05-25 08:00:00"}

WRITES: list[tuple[str, str, Any, dict[str, Any]]] = [
    (
        "POST",
        "accesslevel",
        {
            "accesslevels": [
                {"name": "Access Level l", "doors": [{"id": 12345, "schedule_id": 789}]},
                {"name": "Access Level 2", "doors": [{"id": 23456, "schedule_id": 678}]},
            ]
        },
        {"inserted": 2},
    ),
    (
        "POST",
        "accesslevel",
        {
            "accesslevels": [
                {"name": "Access Level 1", "doors": [{"id": 12345, "schedule_id": 789}]},
                {
                    "name": "Access Level 2",
                    "doors": [{"id": 23456, "schedule_id": 567}, {"id": 12345, "schedule_id": 789}],
                },
            ],
            "options": STRICT,
        },
        {"inserted": 2},
    ),
    ("DELETE", "accesslevel", {"accesslevels": [{"id": 3456}, {"id": 6578}], "options": LENIENT}, {"deleted": 2}),
    ("DELETE", "accesslevels", {"acecsslevels": [{"id": 3456}, {"id": 6578}], "options": STRICT}, {"deleted": 2}),
    ("POST", "delegates?purge", None, {"deleted": 0}),
    (
        "POST",
        "delegate",
        {
            "delegates": [
                {"from_user_id": "613950", "to_user_id": "614111", **SEPTEMBER, "doors": [{"id": 187}, {"id": 446}]}
            ]
        },
        {"submitted": 1, "processed": 1},
    ),
    (
        "POST",
        "delegate",
        {"delegates": [{"from_user_id": 613950, "to_user_id": 614111, **SEPTEMBER, "doors": [{"id": 187}]}]},
        {"processed": 1},
    ),
    ("DELETE", "credential", {"credentials": [{"id": 237809}, {"id": 236578}], "options": LENIENT}, {"deleted": 2}),
    (
        "POST",
        "door",
        {"doors": [{"name": "Door 1", "location_id": 4325}, {"name": "Door 2"}], "options": LENIENT},
        {"inserted": 2, "errors": 0},
    ),
    ("DELETE", "door", {"doors": [{"id": 32871}, {"id": 45612}], "options": STRICT}, {"deleted": 2}),
    ("POST", "fob", {"fobs": [{"name": "Fob 1", "id_num": "ABC123", "card_num": 5599, **MAY}]}, {"inserted": 1}),
    (
        "POST",
        "fob",
        {
            "fobs": [
                {"name": "Fob 1", "id_num": "ABC123", "card_num": "5599", "access_effective": "", "access_expires": ""}
            ]
        },
        {"inserted": 1},
    ),
    ("PUT", "fob", {"fobs": [{"id": "613297", "user_id": "613188", **JUNE}]}, {"submitted": 1}),
    ("PUT", "fob", {"fobs": [{"id": 12345, "user_id": 87654}]}, {"submitted": 1}),
    ("DELETE", "fob", {"fobs": [{"id": 7134}, {"id": 6398}], "options": STRICT}, {"deleted": 2}),
    ("DELETE", "fob", {"locations": [{"id": 7134}, {"id": 6398}], "options": STRICT}, {"deleted": 2}),
    (
        "POST",
        "location",
        {
            "locations": [
                {"name": "Main Campus", "locationtype": 175},
                {"name": "Back Warehouse", "locationtype": 192},
            ],
            "options": STRICT,
        },
        {"inserted": 2},
    ),
    (
        "POST",
        "user",
        {
            "users": [
                {**TOBY, **PERSON, "card_num": "8769", "pin": "1234", "accesslevels": LEVELS},
                {**DANA, **PERSON, "card_num": "8769", "pin": "4567", "accesslevels": LEVELS},
            ],
            "options": USER_OPTIONS,
        },
        {"updated": 2, "errors": 0},
    ),
    (
        "POST",
        "user",
        {
            "users": [{**TOBY, **PERSON, "card_num": "5588"}, {**DANA, **PERSON, "card_num": "9900"}],
            "options": {**USER_OPTIONS, **STRICT},
        },
        {"updated": 2},
    ),
    (
        "PUT",
        "user",
        {
            "users": [
                {
                    "id": "618395",
                    "enabled": True,
                    "access_effective": "",
                    "access_expires": "2022-09-20 08:00:00",
                    "card_num": "123456",
                    "accesslevels": [{"id": 188}],
                }
            ],
            "options": {**STRICT, "replace_privileges": "true"},
        },
        {"updated": 1},
    ),
    ("PUT", "user", {"users": [{"id": "618395", "card_num": "123456"}], "options": STRICT}, {"updated": 1}),
    ("PUT", "user", {"users": [{"id": "618395", "accesslevels": [{"id": 188}]}], "options": STRICT}, {"updated": 1}),
    ("PUT", "user", {"users": [{"id": 4432, "card_num": "5588"}], "options": STRICT}, {"updated": 1}),
    ("DELETE", "user", {"users": [{"id": 4432}, {"id": 7612}], "options": LENIENT}, {"deleted": 2}),
]


@pytest.fixture
async def caller(simulator: LocktSimulator) -> Any:
    keys = simulator.credentials()
    headers = {"Content-type": "application/json", "apiuser": keys["api_user"], "apikey": keys["api_key"]}
    url = simulator.url + "/api/v1/"
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=20) as client:
        yield client


@pytest.mark.parametrize("path", GETS)
async def test_a_list_example(caller: httpx.AsyncClient, path: str) -> None:
    response = await caller.get(path)
    assert response.status_code == 200
    data = response.json()["data"]
    assert isinstance(data, dict if path == "about" else list)


@pytest.mark.parametrize(("method", "path", "body", "expected"), WRITES)
async def test_a_write_example(
    caller: httpx.AsyncClient, method: str, path: str, body: Any, expected: dict[str, int]
) -> None:
    response = await caller.request(method, path, json=body)
    assert response.status_code == 200, response.text
    assert response.json()["data"].items() >= expected.items()


async def test_the_unlock_examples(caller: httpx.AsyncClient) -> None:
    doors = [{"name": "Door 1", "location_id": 4325}, {"name": "Door 2"}]
    assert (await caller.post("door", json={"doors": doors})).status_code == 200
    by_name = await caller.post("unlock", json={"doors": doors, "options": LENIENT})
    assert [row["unlocked"] for row in by_name.json()["data"]] == [True, True]
    by_id = await caller.post("unlock", json={"doors": [{"id": 12345}], "options": STRICT})
    assert by_id.json()["data"] == [
        {"id": 12345, "name": "Gate 1", "unlocked": True, "status": "unlocked", "errors": []}
    ]


async def test_the_examples_of_what_is_turned_down(caller: httpx.AsyncClient, simulator: LocktSimulator) -> None:
    simulator.site.refuse_past = True
    reverse = {"access_effective": "2022-09-08 11:00:00", "access_expires": "2022-09-07 12:00:00"}
    record = {"from_user_id": "613950", "to_user_id": "614111", **reverse, "doors": [{"id": 1876}]}
    response = await caller.post("delegate", json={"delegates": [record]})
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert error["input_data"] == record
    assert error["error"][0] == "Door id 1876 is not available to delegate"
    past = await caller.put("user", json={"users": [{"id": 300, "access_expires": "2022-09-07 12:00:00"}]})
    assert "cannot be in past" in past.json()["errors"][0]["error"][0]
    await caller.post("door", json={"doors": [{"name": "Door 1"}]})
    again = await caller.post("door", json={"doors": [{"name": "Door 1"}]})
    assert again.json()["errors"] == [{"error": ["Door Name Already Exists: Door 1"], "input_data": {"name": "Door 1"}}]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"users": []}', b'{"users": [1]}', b'{"doors": [{}]}'])
async def test_nothing_usable_was_sent(caller: httpx.AsyncClient, body: bytes) -> None:
    response = await caller.post("user", content=body)
    assert response.status_code == 400
    assert response.json()["data"]["error"].startswith("No data found")


async def test_every_request_needs_its_headers(caller: httpx.AsyncClient) -> None:
    assert (await caller.get("ping", headers={"apikey": "x"})).status_code == 401
    assert (await caller.get("ping", headers={"Content-Type": "text/plain"})).status_code == 400
    assert (await caller.get("nothing")).status_code == 404
    assert (await caller.put("door", json={})).status_code == 404
