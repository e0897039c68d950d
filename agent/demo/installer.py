"""A small simulated installer: registers three clients with zones and users through the Patriot client API."""

from typing import Any

from agent.http import HttpClient

CLIENTS: dict[int, dict[str, Any]] = {
    9998: {
        "info": {"Name": "Båtbyggeriet Sørøya AS", "Location": "Kaiveien 4", "area": "Fredrikstad"},
        "zones": {1: "Gate", 2: "Quay", 3: "Boat hall", 4: "Slipway"},
        "users": {1: "Kari Demo"},
    },
    1234: {
        "info": {"Name": "Smith & Daughters <Ltd>", "Location": "Industrigata 12", "NoSigsMon": "None"},
        "zones": {1: "Entrance", 2: "Store"},
        "users": {1: "Ola Demo", 2: "Per Demo"},
    },
    5678: {"info": {"Name": "Pumpestasjon Ørje"}, "zones": {11: "Water level"}, "users": {}},
}


async def register(address: str, api_key: str) -> list[int]:
    """Register `CLIENTS` at the API's `address`; their ids. Raises on any answer but the documented ones."""
    client = HttpClient(address, headers={"Authorization": f"Bearer {api_key}"})
    try:
        for client_id, wanted in CLIENTS.items():
            await _send(client, "/clients", {"client_id": client_id, "info": wanted["info"]}, {200, 201})
            for zone_id, name in wanted["zones"].items():
                zone = {"client_id": client_id, "zone_id": zone_id, "Zone_area": name, "ModuleNo": 0}
                await _send(client, "/clients/zones", zone, {201})
            for number, name in wanted["users"].items():
                user = {"User_Name": name, "UserNo": number, "Type": "U", "CallOrder": number}
                await _send(client, "/clients/users", {"client_id": client_id, "user": user}, {201, 409}, "POST")
    finally:
        await client.aclose()
    return list(CLIENTS)


async def _send(client: HttpClient, path: str, body: dict[str, Any], expected: set[int], method: str = "PUT") -> None:
    response = await client.request(method, path, json=body)
    if response.status_code not in expected:
        raise RuntimeError(f"{method} {path} answered {response.status_code}: {response.text[:500]}")
