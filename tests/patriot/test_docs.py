"""The description and its page, as a software house reads them."""

import json
import re
from typing import Any

import pytest

from agent.patriot.api import build_routes
from agent.patriot.row import INFO_FIELDS

CALLS = {
    "/clients": {"get", "put", "patch", "delete"},
    "/clients/import": {"get"},
    "/clients/zones": {"get", "put", "delete"},
    "/clients/zones/list": {"post"},
    "/clients/users": {"get", "post", "put", "delete"},
    "/clients/users/single": {"get"},
    "/clients/users/list": {"post"},
    "/clients/users/get": {"post"},
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = build_routes(None).openapi()
    return found


def test_every_call_is_described_with_every_status_it_sends(document: dict[str, Any]) -> None:
    assert {path: set(methods) for path, methods in document["paths"].items()} == CALLS
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            statuses = set(operation["responses"])
            assert {"401", "422"} <= statuses, (method, path)
            assert ("413" in statuses) == ("requestBody" in operation)
            changes = method in ("put", "patch", "delete") or (method, path) == ("post", "/clients/users")
            assert ({"409", "503"} <= statuses) == changes
            assert operation["description"]
    assert set(document["paths"]["/clients"]["put"]["responses"]) >= {"200", "201"}
    assert "404" not in document["paths"]["/clients"]["put"]["responses"]


def test_the_key_is_described(document: dict[str, Any]) -> None:
    (name,) = document["security"][0]
    scheme = document["components"]["securitySchemes"][name]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")


def test_every_field_has_type_range_meaning_and_example(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert tuple(schemas["Info"]["properties"]) == INFO_FIELDS
    assert schemas["Info"]["required"] == ["Name"] and "required" not in schemas["InfoChange"]
    for name in ("Info", "Zone", "User", "ZonePut", "UserOnly", "ZoneOnly", "ClientOnly"):
        assert schemas[name]["additionalProperties"] is False
        for field, schema in schemas[name]["properties"].items():
            assert schema["description"] and "examples" in schema, (name, field)
            for option in schema.get("anyOf", [schema]):
                limits = {"string": ("maxLength", "pattern"), "integer": ("maximum",), "boolean": ("type",)}
                assert any(limit in option for limit in limits.get(option.get("type", ""), ("const",))), (name, field)
    assert schemas["ClientOnly"]["properties"]["client_id"]["maximum"] == 9999999999999999


async def test_the_page_shows_each_call_and_asks_nobody_else(api: Any) -> None:
    response = await api.http.get("/docs")
    page = response.text
    assert response.headers["content-type"].startswith("text/html")
    for path, methods in CALLS.items():
        for method in methods:
            anchor = f'id="{method}{path.replace("/", "-")}"'
            assert anchor in page
    assert page.count("Authorization: Bearer &lt;API_KEY&gt;") > sum(map(len, CALLS.values()))
    assert api.url + "/clients" in page
    for field in INFO_FIELDS:
        assert f"<code>info.{field}</code>" in page
    links = re.findall(r"""(?:src|href|url\()\s*=?\s*["']?([^"'\s>)]+)""", page)
    assert links and all(link.startswith(("#", "/openapi.json")) for link in links)
    assert "default-src 'none'" in response.headers["content-security-policy"]


async def test_the_examples_of_the_page_work_as_they_stand(api: Any) -> None:
    """Each curl line's body is sent in the order of the page that creates before it reads."""
    page = (await api.http.get("/docs")).text
    bodies: dict[tuple[str, str], Any] = {}
    for command in re.findall(r"<pre>curl ([^<]+(?:<[^/][^<]*)*)</pre>", page):
        text = command.replace("&#34;", '"').replace("&lt;", "<").replace("&gt;", ">")
        found = re.search(r"-X (\w+) \S+?(/clients\S*)", text)
        body = re.search(r"-d '(.*)'", text, re.DOTALL)
        if found and body:
            bodies[found.group(1), found.group(2)] = json.loads(body.group(1))
    order = [
        ("PUT", "/clients", 201),
        ("PATCH", "/clients", 200),
        ("PUT", "/clients/zones", 201),
        ("POST", "/clients/zones/list", 200),
        ("DELETE", "/clients/zones", 204),
        ("POST", "/clients/users", 201),
        ("PUT", "/clients/users", 200),
        ("POST", "/clients/users/list", 200),
        ("POST", "/clients/users/get", 200),
        ("DELETE", "/clients/users", 204),
        ("DELETE", "/clients", 204),
    ]
    assert set(bodies) == {(method, path) for method, path, _ in order}
    for method, path, status in order:
        response = await api.call(method, path, bodies[method, path])
        assert response.status_code == status, (method, path, response.text)


async def test_a_callers_host_is_no_markup(api: Any) -> None:
    page = (await api.http.get("/docs", headers={"Host": "x<script>alert(1)</script>"})).text
    assert "<script" not in page
