"""Whatever is sent: nothing but the documented error, in bounded time, and the process lives."""

import contextlib
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
import trio
from harness import TOKEN
from hostile import LONG, Site, raise_alarm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from trio.testing import MockClock

from agent.faults import Fault
from agent.http import HttpClient
from agent.patriot import results
from agent.patriot.keyfile import BrokenKeyFile
from agent.patriot.keyfile import parse as parse_keys
from agent.patriot.rowstream import Unusable, rows_of
from agent.settings import load
from agent.settings.load import ConfigurationError
from agent.settings.sources import SourceSettings
from agent.sinks.dc09 import frame as dc09
from agent.sinks.dc09.receiver import BadFrame, decode
from agent.vendors import SOURCES, build, build_simulator
from agent.vendors.wire import json_of

EXAMPLES = 3000 if LONG else 120
fuzz = settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([10**400, -1, 0, 2**63, float("nan"), "1e999", "\ud800", "0", "2026-02-30T25:61:00", "ready"])
)
WORDS = """id idmachine idevent idcamera started snapshot_status access_token expires_in refresh_token fault detail
    errorcode data devices doors events code subcode battery result response device_id zone value timestamp array total
    list alarms time source name state current_utc_offset status success message sites zones alarm_state key acctid"""
KEYS = st.sampled_from(WORDS.split()) | st.text(max_size=8)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=25
)
DOCUMENTS = JSON.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
BODIES = DOCUMENTS | st.binary(max_size=200) | DOCUMENTS.map(lambda body: body[: len(body) // 2])


def damaged(sound: bytes) -> st.SearchStrategy[bytes]:
    """`sound` with a few bytes changed, a piece left out, a piece twice."""

    def damage(places: list[tuple[int, int, bytes]]) -> bytes:
        body = bytearray(sound)
        for at, length, fresh in places:
            body[at % (len(body) + 1) : (at % (len(body) + 1)) + length] = fresh
        return bytes(body)

    place = st.tuples(st.integers(0, 10_000), st.integers(0, 12), st.binary(max_size=6))
    return st.lists(place, max_size=5).map(damage)


FRAME = b'\n6A150025"SIA-DCS"0001R0L0#9998[#9998|NBA003^Gate^][IPerson]_20:14:38,11-29-2026\r'
ACK = dc09.wrap(b'"ACK"0001R0L0#9998[]')


@fuzz
@given(damaged(FRAME) | damaged(ACK) | st.binary(max_size=1200))
def test_dc09_frames(data: bytes) -> None:
    for key in (None, b"0123456789ABCDEF"):
        with contextlib.suppress(BadFrame):
            decode(data, key, datetime.now(UTC))


@fuzz
@given(st.lists(damaged(ACK) | damaged(ACK.replace(b"ACK", b"*ACK")) | st.binary(max_size=300), max_size=4))
def test_dc09_replies(pieces: list[bytes]) -> None:
    rest = b""
    for piece in pieces:
        found, rest = dc09.read_replies(rest + piece)
        assert len(rest) <= 10_000
        for reply in found:
            reply.acknowledges(1)


@fuzz
@given(
    st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode("utf-16", "surrogatepass")),
    st.binary(),
)
def test_results(old: bytes, more: bytes) -> None:
    text = results.news(old + more, 2.0, results.seen(old, 1.0))
    verdicts = results.verdicts(text, ["9998BASE11", "1 (x", ""])
    assert set(verdicts) <= {"9998BASE11", "1 (x", ""}


XML = b'<?xml version="1.0" encoding="UTF-8"?><Clients><Row><__id>9998BASE11</__id><Name>Ola</Name></Row></Clients>'
ENTITIES = b'<!DOCTYPE c [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY x SYSTEM "file:///etc/passwd">]><Clients><Row><__id>&x;&b;</__id></Row></Clients>'


@fuzz
@given(damaged(XML) | damaged(ENTITIES) | st.binary(max_size=300))
def test_xml_rows(data: bytes) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        with contextlib.suppress(Unusable):
            for row in rows_of(file):
                assert b"root:" not in row.xml, "no entity is followed"


@fuzz
@given(
    BODIES
    | damaged(
        b'[{"key_name": "A", "key": "kkkkkkkkkkkkkkkkkkkk", "enabled": true, "port": "BASE11", "xml": {"A": "b"}}]'
    )
)
def test_key_files(data: bytes) -> None:
    with contextlib.suppress(BrokenKeyFile):
        parse_keys(data)


TOML = b"""[site]
id = "a"
timezone = "Europe/Oslo"
[[sources]]
name = "y"
kind = "davantis"
url = "http://x"
username = "u"
zones = { "1" = 3 }
"""


@fuzz
@given(damaged(TOML))
def test_settings(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "agent.toml"
        file.write_bytes(data)
        with contextlib.suppress(ConfigurationError):
            load(file, {})


@fuzz
@given(BODIES)
def test_json_of_devices(body: bytes) -> None:
    with contextlib.suppress(Fault):
        json.dumps(json_of(httpx.Response(200, content=body), "device"), allow_nan=False).encode("utf-8")


def replaced(value: Any, route: list[int], fresh: Any) -> Any:
    """`value` with what lies at the end of `route` (the which-th child of each level) replaced."""
    if not route or not isinstance(value, (dict, list)) or not value:
        return fresh
    if isinstance(value, list):
        at = route[0] % len(value)
        return [replaced(item, route[1:], fresh) if place == at else item for place, item in enumerate(value)]
    name = sorted(value)[route[0] % len(value)]
    return {key: replaced(item, route[1:], fresh) if key == name else item for key, item in value.items()}


CHANGE = st.tuples(st.integers(0, 12), st.lists(st.integers(0, 50), min_size=1, max_size=5), JSON)


class Twisted:
    """A simulator's answers, some with a piece replaced; in place of `HttpClient.request`."""

    def __init__(self, app: Any, changes: list[tuple[int, list[int], Any]]) -> None:
        self.app = app
        self.changes = changes
        self.asked = 0

    async def request(self, http: HttpClient, method: str, path: str, **options: Any) -> httpx.Response:
        for name in ("max_bytes", "timeout_s"):
            options.pop(name, None)
        self.asked += 1
        assert self.asked < 2_000, "a poll comes to an end"
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://device", verify=False) as client:
            url = path if path.startswith("http") else http.url + path
            response = await client.request(method, url, **options)
        body = response.content
        for number, route, fresh in self.changes:
            if number == self.asked - 1:
                with contextlib.suppress(ValueError):
                    body = json.dumps(replaced(json.loads(body), route, fresh)).encode("utf-8", "surrogatepass")
        return httpx.Response(response.status_code, content=body, request=response.request)


@pytest.mark.parametrize("vendor", sorted(SOURCES))
def test_answers_of_devices(vendor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls of a device whose answers are nearly right: alarms that can be journalled, or a fault."""

    @settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(st.lists(CHANGE, min_size=1, max_size=4))
    def twist(changes: list[tuple[int, list[int], Any]]) -> None:
        trio.run(polls_of, vendor, changes, monkeypatch, clock=MockClock(autojump_threshold=0))

    twist()


async def polls_of(vendor: str, changes: list[tuple[int, list[int], Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = build_simulator(vendor)
    twisted = Twisted(simulator.laboratory.app, changes)
    monkeypatch.setattr(
        HttpClient, "request", lambda http, *values, **options: twisted.request(http, *values, **options)
    )
    entry = {**simulator.settings("device"), "url": "http://device", "start_from": "beginning"}
    source = build(TypeAdapter(SourceSettings).validate_python(entry))
    position = None
    try:
        for number in range(3):
            simulator.raise_event(simulator.kinds[number])
            with contextlib.suppress(Fault), trio.fail_after(600):
                poll = await source.poll(position)
                position = json.loads(json.dumps(poll.position))
                for alarm in poll.alarms:
                    json.dumps(dict(alarm.raw), allow_nan=False).encode("utf-8")
    finally:
        await source.aclose()


async def test_queries_of_the_agent_api(site: Site, chance: Random) -> None:
    """No 5xx, whatever is asked."""
    await site.add_device()
    await site.start()
    raise_alarm(site.devices["yard"], 1)
    await site.until(site.journalled, "there is something to ask about")
    dates = ["2026-11-29", "2026-11-29T10:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
    numbers = ["0", "-1", "1", str(2**63), str(10**30), "NaN", "1e3"]
    values = [*dates, *numbers, "", "yard", "person", "é", "\x00", "%", "' OR 1=1 --", "[]"]
    names = ["after", "limit", "source", "kind", "since", "until", "state", "sink", "x"]
    paths = [
        "alarms",
        "alarms/1",
        "deliveries",
        "audit",
        "sources",
        "batches",
        "clients",
        *(f"alarms/{v}" for v in ("x", 2**70)),
    ]
    url = await site.url("console")
    odd = set()
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as http:
        for _ in range(EXAMPLES):
            query = {name: chance.choice(values) for name in chance.sample(names, chance.randint(0, 3))}
            path = f"/api/v1/{chance.choice(paths)}"
            response = await http.get(path, params=query)
            if response.status_code >= 500:
                odd.add((path, str(query), response.text[:200]))
        for body in (
            b"",
            b"{",
            b"[]",
            b'{"action": 1}',
            b'{"action": "arm", "target": []}',
            b'{"action": "arm"}',
            b"\xff",
            b"[" * 100_000,
        ):
            response = await http.post("/api/v1/sources/yard/actions", content=body)
            if response.status_code >= 500:
                odd.add(("actions", str(body[:50]), response.text[:200]))
    assert not odd
    site.assert_no_defect_logged()
