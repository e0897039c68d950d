"""Every endpoint, verb and status of the document, over real HTTP."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from lxml import etree

from agent.patriot import registry as registry_module
from agent.patriot import views
from agent.patriot.keys import Keys
from agent.patriot.registry import Registry
from agent.store import Store

ALL_FIELDS = {
    "Name": "Ola Nordmann",
    "Alias": "",
    "Location": "Produksjonsveien 13",
    "area_code": "1604",
    "area": "Fredrikstad",
    "BusPhone": "69310000",
    "Email": "post@ostsik.no",
    "OKPassword": "franzjager",
    "SpecRequest": "Dette skal gjøres ved alarm på denne kunden.",
    "NoSigsMon": 1,
    "SinceDays": 1,
    "SinceHrs": 0,
    "SinceMins": 30,
    "ResetNosigsIgnored": True,
    "ResetNosigsDays": 7,
    "ResetNosigsHrs": 0,
    "ResetNosigsMins": 0,
    "InstallDateTime": "2023-02-20",
    "PanelName": "Ajax",
    "PanelSite": "Stue",
    "KeypadLocation": "Inngang",
    "SPPage": "Ekstra informasjon som kan være relevant.",
}
CLIENT = {"client_id": 9998, "info": ALL_FIELDS}
USER = {
    "User_Name": "User Number 1",
    "MobileNo": "+4712345678",
    "MobileNoOrder": 1,
    "Email": "user@email.com",
    "Type": "U",
    "UserNo": 1,
    "Instructions": "Optional",
    "CallOrder": 0,
}
ZONE = {"client_id": 9998, "zone_id": 1, "Zone_area": "Inngang", "ModuleNo": 0}
ONE = {"client_id": 9998}
ID = {"X_Client_Id": 9998}


@pytest.fixture
async def client(api: Any) -> Any:
    """The API with client 9998 registered."""
    assert (await api.call("PUT", "/clients", CLIENT)).status_code == 201
    return api


def xml(registry: Registry) -> Any:
    return etree.fromstring((registry.clients_dir / "Alarm24" / "9998.xml").read_bytes()).find("Row")


def loc(response: httpx.Response) -> list[list[Any]]:
    assert response.status_code == 422, response.text
    detail = response.json()["detail"]
    assert all(set(fault) == {"loc", "msg", "type"} and fault["msg"] and fault["type"] for fault in detail)
    return [fault["loc"] for fault in detail]


async def test_put_creates_then_replaces(api: Any, registry: Registry) -> None:
    created = await api.call("PUT", "/clients", CLIENT)
    assert created.status_code == 201
    assert created.json() == {"client_id": 9998, "info": ALL_FIELDS, "zones": {}, "users": {}}
    assert [element.tag for element in xml(registry)][:3] == ["__id", "Name", "Alias"]
    assert xml(registry).findtext("__id") == "9998BASE11"
    replaced = await api.call("PUT", "/clients", {"client_id": 9998, "info": {"Name": "Per"}})
    assert replaced.status_code == 200
    assert (await api.call("GET", "/clients", **ID)).json()["info"] == {"Name": "Per"}


async def test_patch_merges(client: Any) -> None:
    patched = await client.call("PATCH", "/clients", {"client_id": 9998, "info": {"Location": "Ny gate 99"}})
    assert patched.status_code == 200
    assert patched.json()["info"] == {**ALL_FIELDS, "Location": "Ny gate 99"}
    empty = await client.call("PATCH", "/clients", {"client_id": 9998, "info": {}})
    assert empty.status_code == 200 and empty.json() == patched.json()
    absent = await client.call("PATCH", "/clients", {"client_id": 1, "info": {}})
    assert absent.status_code == 404


async def test_delete_has_no_body(client: Any, registry: Registry) -> None:
    deleted = await client.call("DELETE", "/clients", ONE)
    assert deleted.status_code == 204 and deleted.content == b""
    assert not (registry.clients_dir / "Alarm24" / "9998.xml").exists()
    assert (await client.call("GET", "/clients", **ID)).status_code == 404
    assert (await client.call("DELETE", "/clients", ONE)).status_code == 404


async def test_zones(client: Any, registry: Registry) -> None:
    for zone_id, name in ((2, "Stue"), (1, "Inngang")):
        put = await client.call("PUT", "/clients/zones", {"client_id": 9998, "zone_id": zone_id, "Zone_area": name})
        assert put.status_code == 201
    again = await client.call("PUT", "/clients/zones", ZONE)
    assert again.status_code == 201
    assert again.json() == {"client_id": 9998, "zone": {"Zone_No": 1, "Zone_area": "Inngang", "ModuleNo": 0}}
    expected = {
        "client_id": 9998,
        "zones": [
            {"Zone_No": 1, "Zone_area": "Inngang", "ModuleNo": 0},
            {"Zone_No": 2, "Zone_area": "Stue", "ModuleNo": 0},
        ],
    }
    assert (await client.call("GET", "/clients/zones", **ID)).json() == expected
    assert (await client.call("POST", "/clients/zones/list", ONE)).json() == expected
    assert [zone.text for zone in xml(registry).iterfind("Zones/Zone/Zone_area")] == ["Inngang", "Stue"]
    deleted = await client.call("DELETE", "/clients/zones", {"client_id": 9998, "zone_id": 1})
    assert deleted.status_code == 204 and deleted.content == b""
    assert (await client.call("DELETE", "/clients/zones", {"client_id": 9998, "zone_id": 1})).status_code == 404
    whole = (await client.call("GET", "/clients", **ID)).json()
    assert whole["zones"] == {"2": {"Zone_No": 2, "Zone_area": "Stue", "ModuleNo": 0}}


async def test_users(client: Any, registry: Registry) -> None:
    body = {"client_id": 9998, "user": USER}
    created = await client.call("POST", "/clients/users", body)
    assert created.status_code == 201 and created.json() == body
    twice = await client.call("POST", "/clients/users", body)
    assert twice.status_code == 409 and "Retry-After" not in twice.headers
    assert (await client.call("GET", "/clients/users/single", X_User_No=1, **ID)).json() == body
    assert (await client.call("POST", "/clients/users/get", {"client_id": 9998, "user_no": 1})).json() == body
    listed = {"client_id": 9998, "users": [USER]}
    assert (await client.call("GET", "/clients/users", **ID)).json() == listed
    assert (await client.call("POST", "/clients/users/list", ONE)).json() == listed
    assert (await client.call("GET", "/clients", **ID)).json()["users"] == {"1": USER}

    smaller = {"client_id": 9998, "user": {"User_Name": "Changed", "UserNo": 1}}
    replaced = await client.call("PUT", "/clients/users", smaller)
    assert replaced.status_code == 200
    assert replaced.json()["user"] == {"User_Name": "Changed", "Type": "U", "UserNo": 1, "CallOrder": 0}
    absent = await client.call("PUT", "/clients/users", {"client_id": 9998, "user": {**USER, "UserNo": 2}})
    assert absent.status_code == 404
    assert [user.text for user in xml(registry).iterfind("Users/User/UserNo")] == ["1", "199"]

    gone = {"client_id": 9998, "user_no": 1}
    deleted = await client.call("DELETE", "/clients/users", gone)
    assert deleted.status_code == 204 and deleted.content == b""
    assert (await client.call("DELETE", "/clients/users", gone)).status_code == 404
    assert (await client.call("POST", "/clients/users/get", gone)).status_code == 404
    assert (await client.call("GET", "/clients/users/single", X_User_No=1, **ID)).status_code == 404


async def test_user_199_is_the_installers(client: Any) -> None:
    user = {"client_id": 9998, "user": {**USER, "UserNo": 199}}
    for method in ("POST", "PUT"):
        assert loc(await client.call(method, "/clients/users", user)) == [["body", "user", "UserNo"]]
    number = {"client_id": 9998, "user_no": 199}
    assert (await client.call("POST", "/clients/users/get", number)).status_code == 404
    assert (await client.call("DELETE", "/clients/users", number)).status_code == 404
    assert (await client.call("GET", "/clients/users/single", X_User_No=199, **ID)).status_code == 404
    assert (await client.call("GET", "/clients/users", **ID)).json()["users"] == []


async def test_import_state(client: Any, sql: Callable[..., Any]) -> None:
    answer = await client.call("GET", "/clients/import", **ID)
    assert answer.json() == {
        "client_id": 9998,
        "import_id": "9998BASE11",
        "status": "new",
        "last_batch": None,
        "detail": "",
    }
    await sql(
        "UPDATE clients SET state = 'import_failed', detail = 'No such port', last_batch = '2026-01-01T11:59:00Z'"
    )
    answer = (await client.call("GET", "/clients/import", **ID)).json()
    assert (answer["status"], answer["detail"]) == ("import_failed", "No such port")
    assert answer["last_batch"] == "2026-01-01T11:59:00Z"


ABSENT = [
    ("GET", "/clients", None),
    ("PATCH", "/clients", {"client_id": 9998, "info": {"area": "x"}}),
    ("DELETE", "/clients", ONE),
    ("GET", "/clients/import", None),
    ("GET", "/clients/zones", None),
    ("POST", "/clients/zones/list", ONE),
    ("PUT", "/clients/zones", ZONE),
    ("DELETE", "/clients/zones", {"client_id": 9998, "zone_id": 1}),
    ("GET", "/clients/users", None),
    ("GET", "/clients/users/single", None),
    ("POST", "/clients/users/list", ONE),
    ("POST", "/clients/users", {"client_id": 9998, "user": USER}),
    ("POST", "/clients/users/get", {"client_id": 9998, "user_no": 1}),
    ("PUT", "/clients/users", {"client_id": 9998, "user": USER}),
    ("DELETE", "/clients/users", {"client_id": 9998, "user_no": 1}),
]


async def test_a_client_that_does_not_exist_is_404_everywhere(api: Any) -> None:
    for method, path, body in ABSENT:
        headers = {} if body else {**ID, "X_User_No": 1}
        response = await api.call(method, path, body, **headers)
        assert response.status_code == 404, (method, path)
        assert isinstance(response.json()["detail"], str)


async def test_each_key_sees_its_own_clients(client: Any) -> None:
    other = {"Authorization": "Bearer secret-x"}
    assert (await client.call("GET", "/clients", **ID, **other)).status_code == 404
    assert (
        await client.call("PUT", "/clients", {"client_id": 9998, "info": {"Name": "B"}}, **other)
    ).status_code == 201
    assert (await client.call("DELETE", "/clients", ONE, **other)).status_code == 204
    assert (await client.call("GET", "/clients", **ID)).json()["info"]["Name"] == "Ola Nordmann"


async def test_a_locked_client_is_409_with_retry_after(client: Any, store: Store) -> None:
    await views.lock_client(store, "Alarm24", 9998, 30)
    changes = [("PUT", "/clients", CLIENT)] + [
        (method, path, body) for method, path, body in ABSENT if body and not path.endswith(("list", "get"))
    ]
    for method, path, body in changes:
        response = await client.call(method, path, body)
        assert response.status_code == 409, (method, path)
        assert 1 <= int(response.headers["Retry-After"]) <= 30
    assert (await client.call("GET", "/clients", **ID)).status_code == 200
    await views.unlock_client(store, "Alarm24", 9998)
    assert (await client.call("PUT", "/clients", CLIENT)).status_code == 200


async def test_text_of_every_kind_goes_out_and_back(api: Any, registry: Registry) -> None:
    text = "æøå ÆØÅ & < > ]]> \" ' 😀 𝄞 \t linje\nlinje\r\n"
    info = {"Name": text, "SPPage": "å" * 4000, "Alias": "🙂" * 255}
    assert (await api.call("PUT", "/clients", {"client_id": 9998, "info": info})).status_code == 201
    assert (await api.call("GET", "/clients", **ID)).json()["info"] == info
    assert xml(registry).findtext("Name") == text
    assert xml(registry).findtext("SPPage") == "å" * 4000


async def test_a_disk_that_takes_nothing_is_503(
    client: Any, monkeypatch: pytest.MonkeyPatch, registry: Registry
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(registry_module.xmlfiles, "write", full)
    response = await client.call("PUT", "/clients", CLIENT)
    assert response.status_code == 503 and response.headers["Retry-After"]
    (registry.clients_dir / "Alarm24" / "9998.xml").unlink()
    assert (await client.call("GET", "/clients", **ID)).status_code == 200


async def test_a_key_edited_away_is_401_without_a_restart(client: Any, keys: Keys, nursery: trio.Nursery) -> None:
    nursery.start_soon(keys.run)
    disable(keys.path)
    with trio.fail_after(20):
        while (await client.call("GET", "/clients", **ID)).status_code != 401:  # noqa: ASYNC110  # polled by contract
            await trio.sleep(0.02)


def disable(path: Path) -> None:
    entries = json.loads(path.read_text())
    entries[0]["enabled"] = False
    path.write_text(json.dumps(entries))


async def test_64_writers_at_once_on_one_client_and_across_many(client: Any) -> None:
    statuses: list[int] = []

    async def put_zone(number: int) -> None:
        body = {"client_id": 9998, "zone_id": number, "Zone_area": f"Z{number}"}
        statuses.append((await client.call("PUT", "/clients/zones", body)).status_code)

    async def put_client(number: int) -> None:
        body = {"client_id": number, "info": {"Name": f"N{number}"}}
        statuses.append((await client.call("PUT", "/clients", body)).status_code)

    async with trio.open_nursery() as nursery:
        for number in range(1, 65):
            nursery.start_soon(put_zone, number)
            nursery.start_soon(put_client, number)
    assert statuses == [201] * 128
    zones = (await client.call("POST", "/clients/zones/list", ONE)).json()["zones"]
    assert [zone["Zone_area"] for zone in zones] == [f"Z{number}" for number in range(1, 65)]
    for number in range(1, 65):
        assert (await client.call("GET", "/clients", X_Client_Id=number)).json()["info"] == {"Name": f"N{number}"}
