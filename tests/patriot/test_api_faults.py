"""What is not as described: keys, methods, headers, bodies."""

import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from agent.patriot import auth

BODY = {"client_id": 9998, "info": {"Name": "Ola"}}
ROUTES = {
    "/clients": "DELETE, GET, PATCH, PUT",
    "/clients/import": "GET",
    "/clients/zones": "DELETE, GET, PUT",
    "/clients/zones/list": "POST",
    "/clients/users": "DELETE, GET, POST, PUT",
    "/clients/users/single": "GET",
    "/clients/users/list": "POST",
    "/clients/users/get": "POST",
    "/docs": "GET, HEAD",
    "/openapi.json": "GET, HEAD",
}


def faults(response: httpx.Response) -> list[tuple[str, str]]:
    """("body.info.Name", type) of each; the answer never holds more than place, words and kind."""
    assert response.status_code == 422, (response.status_code, response.text)
    detail = response.json()["detail"]
    assert detail and all(set(fault) == {"loc", "msg", "type"} for fault in detail)
    return [(".".join(map(str, fault["loc"])), fault["type"]) for fault in detail]


async def put(api: Any, **info: Any) -> httpx.Response:
    response: httpx.Response = await api.call("PUT", "/clients", {"client_id": 1, "info": {"Name": "A", **info}})
    return response


async def until(condition: Callable[[], bool]) -> None:
    """A line is written after its answer has gone."""
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110  # a log sets no event
            await trio.sleep(0.005)


class TestAuthentication:
    async def test_comes_before_everything_else(self, api: Any) -> None:
        async with httpx.AsyncClient(base_url=api.url, trust_env=False, verify=False, timeout=30) as stranger:
            for authorization in (
                None,
                "",
                "Bearer",
                "Bearer nobody",
                "Bearer secret-gone",
                "Bearer secret-expired",
                "Basic secret-alarm24",
                "secret-alarm24",
                "Bearer secret-alarm24x",
                "Bearer secret-alarm24 secret-x",
            ):
                headers = {} if authorization is None else {"Authorization": authorization}
                for method, path, content in (
                    ("GET", "/clients", None),
                    ("PUT", "/clients", b"{"),
                    ("TRACE", "/nowhere", None),
                    ("DELETE", "/docs/", None),
                ):
                    response = await stranger.request(method, path, content=content, headers=headers)
                    assert response.status_code == 401, (authorization, method, path)
                    assert response.headers["WWW-Authenticate"] == "Bearer"
                    assert set(response.json()) == {"detail"}

    async def test_two_keys_at_once_are_none(self, api: Any) -> None:
        both = [("Authorization", "Bearer secret-alarm24"), ("Authorization", "Bearer secret-x")]
        async with httpx.AsyncClient(base_url=api.url, trust_env=False, verify=False, timeout=30) as stranger:
            response = await stranger.get("/clients", headers=both)
        assert response.status_code == 401

    async def test_the_scheme_has_no_case(self, api: Any) -> None:
        response = await api.call("GET", "/clients", Authorization="bEARER  secret-alarm24")
        assert faults(response) == [("header.X-Client-Id", "missing")]

    async def test_refusals_have_a_pace_and_only_they_wait(self, autojump_clock: trio.testing.MockClock) -> None:
        pace = auth.Pace()
        begun = trio.current_time()
        for _ in range(auth.BURST):
            await pace.wait()
        assert trio.current_time() == pytest.approx(begun)
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(pace.wait)
        assert trio.current_time() - begun == pytest.approx(10 / auth.REFUSALS_PER_S)
        async with trio.open_nursery() as nursery:
            for _ in range(10_000):
                nursery.start_soon(pace.wait)
        assert trio.current_time() - begun < 1, "nobody is held for long"

    async def test_the_description_is_open(self, api: Any) -> None:
        async with httpx.AsyncClient(base_url=api.url, trust_env=False, verify=False, timeout=30) as stranger:
            assert (await stranger.get("/docs")).status_code == 200
            assert (await stranger.get("/openapi.json")).status_code == 200

    async def test_a_websocket_handshake_is_refused_like_any_request(self, api: Any) -> None:
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        async with httpx.AsyncClient(base_url=api.url, trust_env=False, verify=False, timeout=30) as stranger:
            assert (await stranger.get("/clients", headers=upgrade)).status_code == 401
        assert (await api.http.get("/clients", headers=upgrade)).status_code == 404


async def test_another_method_is_405_and_names_those_there_are(api: Any) -> None:
    for path, allow in ROUTES.items():
        absent = {"POST", "PUT", "PATCH", "DELETE"} - set(allow.split(", "))
        for method in ("OPTIONS", "TRACE", "PROPFIND", *absent):
            response = await api.call(method, path)
            assert response.status_code == 405, (method, path)
            assert response.headers["Allow"] == allow


async def test_an_unknown_path_is_404(api: Any) -> None:
    for path in ("/", "/clients/", "/clients/9998", "/zones", "/redoc", "/clients/users/single/1", "//clients"):
        assert (await api.call("GET", path)).status_code == 404, path


async def status_of(api: Any, head: bytes, body: bytes = b"") -> int:
    """The status that a caller gets who stays on the line, however early it comes."""
    host, port = api.url.removeprefix("http://").split(":")
    with trio.fail_after(20):
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(b"PUT /clients HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n" + body)
            return int((await stream.receive_some(4096)).split()[1])


async def test_a_large_body_is_413_with_a_key_and_401_without(api: Any) -> None:
    key = b"Authorization: Bearer secret-alarm24\r\n"
    declared = b"Content-Length: 1048577"
    assert await status_of(api, key + declared) == 413
    assert await status_of(api, declared) == 401
    chunked = b"Transfer-Encoding: chunked"
    too_large = b"100001\r\n" + b" " * 0x100001 + b"\r\n"
    assert await status_of(api, key + chunked, too_large) == 413
    assert await status_of(api, key + b"Content-Length: 1048576", b" " * 1048576) == 422


async def test_a_header_that_is_no_client_id_is_422(api: Any) -> None:
    for value in ("", "0", "-1", "+1", "1.0", "1e3", "09998", "9 998", "1_000", "x", "1" * 17, "１"):
        response = await api.http.get("/clients", headers={b"X-Client-Id": value.encode()})
        assert [place for place, _ in faults(response)] == ["header.X-Client-Id"], value


async def test_every_faulty_header_is_named(api: Any) -> None:
    response = await api.call("GET", "/clients/users/single", X_User_No=1000)
    assert [place for place, _ in faults(response)] == ["header.X-Client-Id", "header.X-User-No"]


BODIES = [
    (b"", "missing"),
    (b"{", "json_invalid"),
    (b"{'client_id': 1}", "json_invalid"),
    (b'{"client_id": NaN, "info": {}}', "json_invalid"),
    (b'{"client_id": -Infinity, "info": {}}', "json_invalid"),
    (b'{"client_id": ' + b"9" * 5000 + b"}", "json_invalid"),
    (b"[" * 100_000, "json_invalid"),
    (b'{"info":' * 20_000, "json_invalid"),
    (b'\xff\xfe{"', "json_invalid"),
    (b'{"client_id": 1, "info": {"\\ud800": 1}}', "json_invalid"),
    (b'{"client_id": 1, "client_id": 1, "info": {"Name": "A"}}', "duplicate_field"),
    (b'{"client_id": 1, "info": {"Name": "A", "Name": "A"}}', "duplicate_field"),
    (json.dumps({"client_id": 1, "info": dict.fromkeys(map(str, range(50_000)), 1)}).encode(), "too_many_fields"),
    (b"null", "model_attributes_type"),
    (b"[]", "model_attributes_type"),
    (b'"text"', "model_attributes_type"),
]


async def test_a_body_that_is_no_object_of_json_is_422(api: Any) -> None:
    for content, kind in BODIES:
        response = await api.raw("PUT", "/clients", content, Content_Type="application/json")
        assert [found for _, found in faults(response)] == [kind], content[:60]


async def test_a_field_that_stands_twice_is_named(api: Any) -> None:
    response = await api.raw("PUT", "/clients", b'{"client_id": 1, "info": {"Name": "A", "Alias": "", "Alias": ""}}')
    assert faults(response) == [("body.Alias", "duplicate_field")]


async def test_a_body_is_json_whatever_it_is_called(api: Any) -> None:
    for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense", ""):
        response = await api.raw("PUT", "/clients", json.dumps(BODY).encode(), Content_Type=kind)
        assert response.status_code in (200, 201), kind


async def test_every_fault_is_listed_with_its_place(api: Any) -> None:
    body = {
        "client_id": "9998",
        "extra": 1,
        "info": {
            "Installer": "me",
            "GlobCallOuts": "TLF01BASE01",
            "Alias": None,
            "SinceDays": "1",
            "ResetNosigsIgnored": 0,
            "InstallDateTime": "yesterday",
            "NoSigsMon": "all",
        },
    }
    response = await api.call("PUT", "/clients", body)
    assert sorted(faults(response)) == [
        ("body.client_id", "int_type"),
        ("body.extra", "extra_forbidden"),
        ("body.info.Alias", "string_type"),
        ("body.info.GlobCallOuts", "extra_forbidden"),
        ("body.info.InstallDateTime", "date_not_iso"),
        ("body.info.Installer", "extra_forbidden"),
        ("body.info.Name", "missing"),
        ("body.info.NoSigsMon", "int_or_none_word"),
        ("body.info.ResetNosigsIgnored", "bool_type"),
        ("body.info.SinceDays", "int_type"),
    ]
    assert "yesterday" not in response.text and "TLF01BASE01" not in response.text


RANGES: list[tuple[str, list[Any], list[Any]]] = [
    ("Name", ["A", "x" * 255], ["", "x" * 256, 5, None, ["A"], {}]),
    ("Alias", ["", "x" * 255], ["x" * 256, True]),
    ("SpecRequest", ["", "x" * 4000], ["x" * 4001, 1]),
    ("SPPage", ["x" * 4000], ["x" * 4001]),
    ("NoSigsMon", [0, 1, 9999, "None"], [-1, 10_000, "none", "1", True, None, 1.5, "", [1]]),
    ("SinceDays", [0, 9999, 1.0], [-1, 10_000, 0.5, "0", True, None, 10**400, 1e300]),
    ("SinceHrs", [0, 23], [24, -1]),
    ("SinceMins", [0, 59], [60, -1]),
    ("ResetNosigsIgnored", [True, False], [0, 1, "true", None]),
    (
        "InstallDateTime",
        ["2023-02-20", "2024-02-29", "2023-02-20T10:00", "2023-02-20T10:00:00Z", "2023-02-20T10:00:00.5+01:00"],
        ["", "2023-02-29", "20.02.2023", "2023-13-01", "2023-2-1", "2023-02-20T25:00", 20230220, "2023-W08-1"],
    ),
]


async def test_types_and_ranges(api: Any) -> None:
    for field, good, bad in RANGES:
        for value in good:
            response = await put(api, **{field: value})
            assert response.status_code in (200, 201), (field, value, response.text)
            assert response.json()["info"][field] == value
        for value in bad:
            response = await put(api, **{field: value})
            assert [place for place, _ in faults(response)] == [f"body.info.{field}"], value


async def test_client_ids_have_1_to_16_digits(api: Any) -> None:
    for value in (1, 10**16 - 1):
        created = await api.call("PUT", "/clients", {"client_id": value, "info": {"Name": "A"}})
        assert created.status_code == 201
        assert (await api.call("GET", "/clients", X_Client_Id=value)).json()["client_id"] == value
    for value in (0, -1, 10**16):
        refused = await api.call("PUT", "/clients", {"client_id": value, "info": {"Name": "A"}})
        assert [place for place, _ in faults(refused)] == ["body.client_id"], value


async def test_zone_and_user_numbers_are_1_to_999(api: Any) -> None:
    for method, path, field in (
        ("PUT", "/clients/zones", "zone_id"),
        ("DELETE", "/clients/zones", "zone_id"),
        ("POST", "/clients/users/get", "user_no"),
        ("DELETE", "/clients/users", "user_no"),
    ):
        more = {"Zone_area": "x"} if method == "PUT" else {}
        for number in (0, 1000, -1, "1", True):
            response = await api.call(method, path, {"client_id": 1, field: number, **more})
            assert [place for place, _ in faults(response)] == [f"body.{field}"], number


async def test_text_that_xml_cannot_carry_is_422_wherever_it_stands(api: Any) -> None:
    places = [
        ("/clients", '{"client_id":1,"info":{"Name":%s}}', "body.info.Name"),
        ("/clients", '{"client_id":1,"info":{"Name":"A","SPPage":%s}}', "body.info.SPPage"),
        ("/clients/zones", '{"client_id":1,"zone_id":1,"Zone_area":%s}', "body.Zone_area"),
        ("/clients/users", '{"client_id":1,"user":{"User_Name":%s,"UserNo":1}}', "body.user.User_Name"),
        (
            "/clients/users",
            '{"client_id":1,"user":{"User_Name":"A","UserNo":1,"Instructions":%s}}',
            "body.user.Instructions",
        ),
    ]
    for text in ("a\0b", "\x0b", "\x1f", "\ufffe", "\uffff", "\ud800", "x\udc00"):
        for path, body, place in places:
            response = await api.raw("PUT", path, (body % json.dumps(text)).encode())
            assert [found for found, _ in faults(response)] == [place], text.encode("unicode-escape")


class TestRequestLog:
    @pytest.fixture(autouse=True)
    def _hear(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "varde.api_requests")

    async def test_a_line_a_request_without_personal_data(self, api: Any, caplog: pytest.LogCaptureFixture) -> None:
        await api.call("PUT", "/clients", {"client_id": 77, "info": {"Name": "Synnøve", "BusPhone": "69310000"}})
        await api.call("GET", "/Synnøve/69310000?Name=Synnøve", X_Client_Id=77)
        await api.call("GET", "/clients", Authorization="Bearer secret-guessed")
        await until(lambda: len(api.requests) == 3)
        lines = [record.getMessage() for record in caplog.records if record.name == "varde.api_requests"]
        assert len(lines) == 3
        assert lines[0].startswith("key=Alarm24 method=PUT route=/clients status=201 ms=")
        assert lines[0].endswith(" from=127.0.0.1")
        assert lines[1].startswith("key=Alarm24 method=GET route=unmatched status=404 ")
        assert lines[2].startswith("key=- method=GET route=/clients status=401 ")
        for word in ("Synn", "69310000", "secret"):
            assert word not in caplog.text
        assert api.requests == [("PUT", "/clients", 201), ("GET", "unmatched", 404), ("GET", "/clients", 401)]

    async def test_labels_are_never_the_callers_words(self, api: Any) -> None:
        await api.call("BREW", "/coffee")
        await until(lambda: api.requests == [("OTHER", "unmatched", 404)])

    async def test_a_proxy_that_is_not_trusted_is_not_believed(
        self, api: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        await api.call("GET", "/clients", X_Forwarded_For="203.0.113.9")
        await until(lambda: bool(caplog.records))
        assert caplog.records[-1].getMessage().endswith(" from=127.0.0.1")
