"""The client against the simulated gateway and identity provider."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent import serving
from agent.faults import Fault, FaultClass
from agent.vendors.lab import Ill
from agent.vendors.milestone import records
from agent.vendors.milestone.client import MilestoneClient, MilestoneFault, gt
from agent.vendors.milestone.ntlm import Acceptor, md4
from agent.vendors.milestone.simulator import Filters, MilestoneSimulator

New = Callable[..., MilestoneClient]


async def test_a_password_full_of_signs_is_encoded(simulator: MilestoneSimulator, client: MilestoneClient) -> None:
    await client.login()
    assert simulator.logins == 1
    assert list(simulator.laboratory.requests) == ["POST /API/IDP/connect/token"]


@pytest.mark.parametrize("discloses", [True, False])
async def test_a_windows_user_goes_straight_to_the_identity_provider(
    simulator: MilestoneSimulator, new_client: New, discloses: bool
) -> None:
    simulator.windows, simulator.discloses_idp = True, discloses
    client = new_client(grant="windows")
    assert len(await client.cameras()) == 3
    requests = list(simulator.laboratory.requests)
    assert requests[:4] == ["GET /api/.well-known/uris"] + ["POST /IDP/connect/token"] * 3
    simulator.revoke_tokens()
    await client.cameras()
    assert simulator.logins == 2


async def test_a_configured_identity_provider_is_not_looked_for(simulator: MilestoneSimulator, new_client: New) -> None:
    simulator.windows = True
    for idp_url in (f"{simulator.url}/IDP", f"{simulator.url}/IDP/connect/token"):
        await new_client(grant="windows", idp_url=idp_url).login()
    assert simulator.laboratory.count("GET /api/.well-known") == 0 and simulator.logins == 2
    simulator.windows = False
    await new_client(idp_url=f"{simulator.url}/IDP").login()


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("wrong", [{"username": "SITE\\nobody"}, {"password": "n&pe"}])
async def test_a_wrong_user_or_password(
    simulator: MilestoneSimulator, new_client: New, windows: bool, wrong: dict[str, str]
) -> None:
    simulator.windows = windows
    client = new_client(grant="windows" if windows else "basic", **wrong)
    with pytest.raises(Fault) as caught:
        await client.cameras()
    assert caught.value.fault_class is FaultClass.AUTHENTICATION
    assert "Check username and password" in str(caught.value)
    assert "n&pe" not in str(caught.value) and simulator.password not in str(caught.value)


async def test_a_windows_user_at_a_provider_without_ntlm(simulator: MilestoneSimulator, new_client: New) -> None:
    with pytest.raises(Fault) as caught:  # the gateway does not pass the handshake through
        await new_client(grant="windows", idp_url=f"{simulator.url}/API/IDP").login()
    assert caught.value.fault_class is FaultClass.AUTHENTICATION
    for body in (b"", b"<html>"):
        simulator.laboratory.inject(Ill.STATUS, status=401, times=1, body=body)
        with pytest.raises(Fault) as caught:
            await new_client(grant="windows", idp_url=f"{simulator.url}/IDP").login()
        assert caught.value.fault_class is FaultClass.AUTHENTICATION


@pytest.mark.parametrize("challenge", ["NTLM", "NTLM ????", "NTLM AAAA", "Basic"])
async def test_a_broken_handshake_is_a_fault(
    simulator: MilestoneSimulator, new_client: New, challenge: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Acceptor, "step", lambda self, token: (False, challenge.removeprefix("NTLM").strip() or None))
    simulator.windows = True
    with pytest.raises(Fault) as caught:
        await new_client(grant="windows").login()
    assert caught.value.fault_class in (FaultClass.PROTOCOL, FaultClass.AUTHENTICATION)


async def test_an_identity_provider_without_tls_is_refused_where_the_gateway_has_it(new_client: New) -> None:
    client = new_client(url="https://vms.example.test", grant="windows")

    async def uris() -> dict[str, Any]:
        return {"IdentityProvider": "http://vms.example.test/IDP"}

    client.uris = uris  # type: ignore[method-assign]
    with pytest.raises(Fault, match="without TLS"):
        await client.login()


def test_the_simulators_digest_is_md4() -> None:
    assert md4(b"").hex() == "31d6cfe0d16ae931b73c59d7e0c089c0"
    assert md4(b"message digest").hex() == "d9130a8164549fe818874806e1c7014b"
    assert md4(b"1234567890" * 8).hex() == "e33b4ddc9c38f2199c3e7b164fcc0536"


async def test_the_token_is_renewed_at_four_fifths_of_its_life(
    client: MilestoneClient, simulator: MilestoneSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.login()
    began = trio.current_time()
    monkeypatch.setattr(trio, "current_time", lambda: began + 0.79 * 3600)
    await client.login()
    assert simulator.logins == 1
    monkeypatch.setattr(trio, "current_time", lambda: began + 0.81 * 3600)
    await client.login()
    assert simulator.logins == 2


async def test_a_401_is_answered_by_one_new_token_and_the_same_page(
    simulator: MilestoneSimulator, client: MilestoneClient
) -> None:
    await client.alarms(0, 10)
    simulator.revoke_tokens()
    await client.alarms(7, 10)
    assert list(simulator.laboratory.requests)[-3:] == [
        "GET /api/rest/v1/alarms?page=7&size=10",
        "POST /API/IDP/connect/token",
        "GET /api/rest/v1/alarms?page=7&size=10",
    ]
    simulator.laboratory.inject(Ill.STATUS, path="/api/rest", status=401)
    with pytest.raises(MilestoneFault) as caught:
        await client.alarms(0, 10)
    assert (caught.value.fault_class, simulator.logins) == (FaultClass.AUTHENTICATION, 3)


async def test_two_requests_with_a_dead_token_log_in_once(
    simulator: MilestoneSimulator, client: MilestoneClient
) -> None:
    await client.states()
    simulator.revoke_tokens()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.states)
        nursery.start_soon(client.priorities)
    assert simulator.logins == 2


async def test_trigger_get_list_and_update(simulator: MilestoneSimulator, client: MilestoneClient) -> None:
    camera = (await client.cameras())[1]
    assert (camera.name, camera.enabled) == ("Yard", True)
    made = await client.trigger("Perimeter", "Line crossed", camera.id)
    assert (made.camera, made.state and made.state.level) == (camera.id, records.NEW)
    assert (await client.alarm(made.id)).message == "Line crossed"
    assert [row.id for row in await client.alarms(0, 10)] == [made.id]
    states = {state.level: state.id for state in await client.states()}
    assert set(states) == {1, 4, 9, 11} and {p.level for p in await client.priorities()} == {1, 2, 3}
    await client.update(made.id, state=states[11], priority=None, comment=None)
    closed = await client.alarm(made.id)
    assert closed.state and closed.state.level == records.CLOSED
    assert {row["name"] for row in await client.messages()} >= {"Line crossed"}


async def test_uris_need_no_log_in(simulator: MilestoneSimulator, client: MilestoneClient) -> None:
    assert (await client.uris())["ProductVersion"] == "25.2.1"
    assert simulator.logins == 0


@pytest.mark.parametrize("bare", [False, True])
async def test_both_shapes_of_error(simulator: MilestoneSimulator, client: MilestoneClient, bare: bool) -> None:
    simulator.bare_errors = bare
    simulator.filters = Filters.REFUSED
    with pytest.raises(MilestoneFault) as caught:
        await client.alarms(0, 1, {"lastUpdatedTime": gt(datetime.now(UTC))})
    assert (caught.value.status, caught.value.said) == (400, "Unknown parameter: lastUpdatedTime")
    with pytest.raises(MilestoneFault) as caught:
        await client.alarm("nothing")
    assert (caught.value.status, caught.value.fault_class) == (404, FaultClass.REJECTED)


@pytest.mark.parametrize(
    ("ill", "details", "seen", "said"),
    [
        (Ill.HTML, {"status": 404}, FaultClass.REJECTED, "404: a web page"),
        (Ill.HTML, {"status": 502}, FaultClass.REFUSED, "502: a web page"),
        (Ill.STATUS, {"status": 503, "retry_after_s": 9}, FaultClass.REFUSED, "503"),
        (Ill.STATUS, {"status": 403}, FaultClass.AUTHENTICATION, "role"),
        (Ill.HTML, {"status": 200}, FaultClass.PROTOCOL, "not usable JSON"),
        (Ill.WRONG_JSON, {}, FaultClass.PROTOCOL, "without an array"),
        (Ill.WRONG_JSON, {"body": b'{"error": {"httpCode": "404", "details": null}}'}, FaultClass.REJECTED, "404"),
        (Ill.WRONG_JSON, {"body": b'{"array": null}'}, FaultClass.PROTOCOL, "without an array"),
        (Ill.GARBAGE, {}, FaultClass.PROTOCOL, "HTTP"),
    ],
)
async def test_error_pages_and_garbage(
    simulator: MilestoneSimulator, client: MilestoneClient, ill: Ill, details: Any, seen: FaultClass, said: str
) -> None:
    await client.login()
    simulator.laboratory.inject(ill, path="/api/rest", **details)
    with pytest.raises(Fault) as caught:
        await client.alarms(0, 1)
    assert caught.value.fault_class is seen and said in str(caught.value)
    assert caught.value.retry_after_s == details.get("retry_after_s")


@pytest.mark.parametrize(
    ("ill", "details", "seen"),
    [
        (Ill.HTML, {"status": 404}, FaultClass.PROTOCOL),
        (Ill.STATUS, {"status": 503}, FaultClass.REFUSED),
        (Ill.WRONG_JSON, {}, FaultClass.PROTOCOL),
        (Ill.WRONG_JSON, {"body": b'{"error": "invalid_grant"}'}, FaultClass.AUTHENTICATION),
        (Ill.WRONG_JSON, {"body": b'{"access_token": "line\\nbreak"}'}, FaultClass.PROTOCOL),
    ],
)
async def test_an_identity_provider_in_trouble(
    simulator: MilestoneSimulator, client: MilestoneClient, ill: Ill, details: Any, seen: FaultClass
) -> None:
    simulator.laboratory.inject(ill, path="/API/IDP", **details)
    with pytest.raises(Fault) as caught:
        await client.login()
    assert caught.value.fault_class is seen


@pytest.mark.parametrize("alarm_id", ["", ".", "..", "../alarmStates"])
async def test_an_id_never_leads_elsewhere(
    simulator: MilestoneSimulator, client: MilestoneClient, alarm_id: str
) -> None:
    with pytest.raises(MilestoneFault) as caught:
        await client.alarm(alarm_id)
    assert caught.value.status == 404


async def test_cameras_beyond_one_page(simulator: MilestoneSimulator, client: MilestoneClient) -> None:
    template = simulator.cameras[0]
    simulator.cameras += [{**template, "id": f"camera-{number}"} for number in range(1200)]
    assert len(await client.cameras()) == 1203
    simulator.ignores_page = True
    assert len(await client.cameras()) == 500


def test_instants_of_three_and_seven_digits() -> None:
    seen = [records.moment(text) for text in ("2026-03-01T21:14:05.120Z", "2026-03-01T22:14:05.1200009+01:00")]
    assert seen == [datetime(2026, 3, 1, 21, 14, 5, 120000, tzinfo=UTC)] * 2
    wrong = ("", None, 7, "soon", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+02:00", [], "9999-12-31T23:59:59-14:00")
    assert [records.moment(text) for text in wrong] == [None] * len(wrong)


@pytest.mark.parametrize(
    ("value", "level"), [({"level": 4}, 4), ({"level": "4"}, 4), (4, 4), ("4", 4), ("abc", None), ({}, None)]
)
def test_a_level_is_read_from_object_string_or_number(value: Any, level: int | None) -> None:
    found = records.level(value)
    assert found is not None and found.level == level


@pytest.mark.parametrize("row", [{}, {"id": None}, {"id": []}, {"id": ""}])
def test_a_row_without_an_id_is_no_alarm(row: dict[str, Any]) -> None:
    assert records.alarm_record(row) is None


def test_a_row_of_wrong_types_is_still_an_alarm() -> None:
    row = {"id": 7, "name": [], "time": {}, "state": [], "data": 5, "source": 9, "priority": None}
    record = records.alarm_record(row)
    assert record is not None and (record.id, record.name, record.time, record.state) == ("7", "", None, None)


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, Path]:
    """A private authority's certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "XProtect")])
    now = datetime.now(UTC)
    import ipaddress

    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = tmp_path / "ca.pem", tmp_path / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


async def test_a_private_authority_is_trusted_by_ca_file_only(
    authority: tuple[Path, Path], new_client: New, nursery: trio.Nursery, simulator: MilestoneSimulator
) -> None:
    certificate, key = authority
    listener = serving.listen_tcp("127.0.0.1", 0, tls_certificate=certificate, tls_key=key)
    stop = trio.Event()
    await nursery.start(serving.serve, simulator.laboratory.app, listener, stop)
    assert len(await new_client(url=listener.url, ca_file=certificate).cameras()) == 3
    with pytest.raises(Fault, match="not trusted"):
        await new_client(url=listener.url).cameras()
    stop.set()
