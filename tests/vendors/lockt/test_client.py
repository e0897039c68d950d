"""The client against the simulated cloud: every endpoint of the table, and what must never leave."""

from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from pydantic import SecretStr, ValidationError

from agent.faults import Fault, FaultClass
from agent.vendors.lab import Ill
from agent.vendors.lockt import models
from agent.vendors.lockt import reference as lockt
from agent.vendors.lockt.client import LocktClient
from agent.vendors.lockt.errors import BatchResult, LocktBusy, LocktRejected, Unsendable
from agent.vendors.lockt.reference import Options, Parameter, Read, Write
from agent.vendors.lockt.simulator import LocktSimulator

READS = {name: row for name, row in vars(lockt).items() if isinstance(row, Read)}
WRITES = {name: row for name, row in vars(lockt).items() if isinstance(row, Write)}


def new_user(number: int, **changes: Any) -> models.NewUser:
    values: dict[str, Any] = {
        "id_num": f"N{number}",
        "first_name": "Kari",
        "last_name": "Nordmann",
        "email": f"kari{number}@example.no",
        "phone": "+47 99 88 77 66",
        "pin": "4711",
    }
    return models.NewUser(**{**values, **changes})


@pytest.mark.parametrize("name", READS)
async def test_every_list_answers_with_typed_records(simulator: LocktSimulator, client: LocktClient, name: str) -> None:
    simulator.raise_event()
    simulator.site.maintenance = [{"id": 1}]
    endpoint = READS[name]
    filters: dict[str, Any] = {"listtypes": True} if name == "OBJECT_TYPES" else {}
    filters |= {"type": "door"} if name == "OBJECT_PROPERTIES" else {}
    records = await client.read(endpoint, **filters)
    assert all(isinstance(record, endpoint.model) for record in records)
    assert records or name == "DELEGATES"


async def test_every_filter_is_sent_as_documented(simulator: LocktSimulator, client: LocktClient) -> None:
    simulator.site.users[300]["card_num"] = ""
    assert [user.id for user in await client.read(lockt.USERS, id=1693)] == [1693]
    assert [user.id for user in await client.read(lockt.USERS, id_num="ZZ123")] == [1693]
    assert [user.id for user in await client.read(lockt.USERS, missingcreds=True)] == [300]
    assert len(await client.read(lockt.USERS, privileged=True)) == 1
    assert len(await client.read(lockt.USERS, installers=True)) == 1
    assert [item.id for item in await client.read(lockt.CREDENTIALS, card_num="8001")] == [335]
    assert [item.id for item in await client.read(lockt.CREDENTIALS, id=335)] == [335]
    assert len(await client.read(lockt.CREDENTIALS, user_id=1693)) == 3
    assert [item.id for item in await client.read(lockt.FOBS, name="Fob 10")] == [443]
    assert [item.id for item in await client.read(lockt.ACCESS_LEVELS, name="Level 3")] == [208]
    assert [item.id for item in await client.read(lockt.DOOR_STATES, low_battery=70)] == [166]
    assert len(await client.read(lockt.DOORS, user_id=1693)) == 9
    assert len(await client.read(lockt.DOORS, id_num="Ø & 1")) == 9
    assert simulator.laboratory.requests[-1] == "GET /api/v1/door?id_num=%C3%98+%26+1"
    assert "GET /api/v1/user?missingcreds" in simulator.laboratory.requests


@pytest.mark.parametrize("blank", ["", " ", "\t"])
async def test_a_blank_parameter_is_refused_before_it_leaves(
    simulator: LocktSimulator, client: LocktClient, blank: str
) -> None:
    """Lockt would answer with everything it has."""
    for endpoint in READS.values():
        for name, kind in endpoint.filters.items():
            if kind is not Parameter.SWITCH:
                with pytest.raises(Unsendable):
                    await client.read(endpoint, **{name: blank})
    with pytest.raises(Unsendable):
        await client.read(lockt.USERS, id=True)
    with pytest.raises(Unsendable):
        await client.read(lockt.USERS, id="12 or 1")
    with pytest.raises(Unsendable):
        await client.read(lockt.USERS, idnum="ZZ123")
    with pytest.raises(Unsendable):
        await client.command(lockt.ANONYMIZE_USER, blank)
    with pytest.raises(ValidationError):
        models.Reference(id=blank)
    assert not simulator.laboratory.requests


async def test_the_simulator_has_the_vendors_known_issue(simulator: LocktSimulator) -> None:
    assert len(simulator.site.answer("GET", "user", {"id": ""}, None)[1]["data"]) == 10


async def test_records_are_written_changed_and_deleted(simulator: LocktSimulator, client: LocktClient) -> None:
    site = simulator.site
    door = models.DoorOnSchedule(id=166, schedule_id=543)
    cases: list[tuple[Write[Any], models.Sendable, str]] = [
        (lockt.CREATE_ACCESS_LEVELS, models.NewAccessLevel(name="Night", doors=(door,)), "inserted"),
        (lockt.CREATE_DOORS, models.NewDoor(name="Cellar"), "inserted"),
        (lockt.CREATE_FOBS, models.NewFob(name="Spare", id_num="S1", card_num="99"), "inserted"),
        (lockt.CREATE_LOCATIONS, models.NewLocation(name="Annex", locationtype=175), "inserted"),
        (lockt.CREATE_USERS, new_user(1), "inserted"),
        (lockt.REASSIGN_FOBS, models.FobAssignment(id=443, user_id=0), "updated"),
        (lockt.UPDATE_CREDENTIALS, models.CredentialUpdate(id=335, access_expires="2030-01-01 00:00:00"), "updated"),
        (lockt.UPDATE_USER, models.UserUpdate(id=300, enabled=False), "updated"),
        (lockt.DELETE_ACCESS_LEVELS, models.Reference(id=208), "deleted"),
        (lockt.DELETE_CREDENTIALS, models.Reference(id=335), "deleted"),
        (lockt.DELETE_DOORS, models.Reference(id=603), "deleted"),
        (lockt.DELETE_FOBS, models.Reference(id=7134), "deleted"),
        (lockt.DELETE_USERS, models.Reference(id=244), "deleted"),
    ]
    for endpoint, record, count in cases:
        result = await client.write(endpoint, [record])
        assert (getattr(result, count), result.complete) == (1, True), endpoint
    tested = {(endpoint.method, endpoint.path) for endpoint, _, _ in cases}
    all_writes = {(row.method, row.path) for row in WRITES.values()}
    assert all_writes - tested == {("POST", "delegate"), ("POST", "unlock")}
    assert site.users[300]["enabled"] is False and 244 not in site.users
    assert site.credentials.get(335) is None and 603 not in site.doors


async def test_an_update_sends_only_what_is_given(simulator: LocktSimulator, client: LocktClient) -> None:
    simulator.site.users[300]["custom1"] = "kept"
    await client.write(lockt.UPDATE_USER, [models.UserUpdate(id=300, custom2="new")])
    changed = simulator.site.users[300]
    assert (changed["custom1"], changed["custom2"], changed["enabled"]) == ("kept", "new", True)
    assert models.UserUpdate(id="300", card_num="-1").body() == {"id": 300, "card_num": "-1"}


async def test_delegates(simulator: LocktSimulator, client: LocktClient) -> None:
    times = {"access_effective": datetime(2020, 1, 1), "access_expires": datetime(2020, 1, 2)}  # noqa: DTZ001
    doors = (models.Reference(id=187),)
    record = models.NewDelegate(from_user_id=613950, to_user_id=614111, doors=doors, **times)
    assert (await client.write(lockt.CREATE_DELEGATE, [record, record])).processed == 2
    assert simulator.laboratory.count("POST /api/v1/delegate") == 2  # one object a call
    (delegate, _) = await client.read(lockt.DELEGATES)
    assert delegate.doors[0].name == "Room 3"
    assert delegate.access_expires and delegate.access_expires.is_local
    assert (await client.command(lockt.PURGE_DELEGATES)).deleted == 2
    assert simulator.laboratory.requests[-1] == "POST /api/v1/delegate?purge"


async def test_commands(simulator: LocktSimulator, client: LocktClient) -> None:
    assert (await client.command(lockt.ANONYMIZE_USER, 300)).processed == 1
    assert simulator.site.users[300]["email"] == ""
    assert (await client.command(lockt.EMAIL_LOW_BATTERY, 30)).complete
    with pytest.raises(LocktRejected):
        await client.command(lockt.ANONYMIZE_USER, 999)
    await client.ping()


async def test_options_are_said_outright_with_the_documented_defaults(client: LocktClient) -> None:
    assert Options().body(lockt.CREATE_USERS.options) == {
        "replace_privileges": "true",
        "update_existing": "false",
        "validate_fails_batch": "true",
    }
    assert Options(validate_fails_batch=False).body(lockt.CREATE_DOORS.options) == {"validate_fails_batch": "false"}
    assert Options().body(lockt.CREATE_FOBS.options) == {}


async def test_update_existing(simulator: LocktSimulator, client: LocktClient) -> None:
    user = new_user(1, id=300, last_name="Changed")
    ignored = await client.write(lockt.CREATE_USERS, [user])
    assert (ignored.submitted, ignored.inserted, ignored.updated) == (1, 0, 0)
    assert (await client.write(lockt.CREATE_USERS, [user], Options(update_existing=True))).updated == 1
    assert simulator.site.users[300]["last_name"] == "Changed"


@pytest.mark.parametrize(("replace", "expected"), [(True, [188]), (False, [123, 188])])
async def test_replace_privileges(
    simulator: LocktSimulator, client: LocktClient, replace: bool, expected: list[int]
) -> None:
    change = models.UserUpdate(id=300, accesslevels=(models.Reference(id=188),))
    await client.write(lockt.UPDATE_USER, [change], Options(replace_privileges=replace))
    assert simulator.site.users[300]["accesslevels"] == expected


async def test_batches_are_paged_in_blocks(simulator: LocktSimulator, client: LocktClient) -> None:
    seen: list[tuple[int, int]] = []
    result = await client.write(
        lockt.CREATE_USERS,
        [new_user(number) for number in range(250)],
        on_block=lambda sent, done: seen.append((sent, done.inserted)),
    )
    assert (result.submitted, result.inserted) == (250, 250)
    assert seen == [(100, 100), (200, 200), (250, 250)]


async def test_a_customers_smaller_limit_is_learnt(simulator: LocktSimulator, client: LocktClient) -> None:
    simulator.site.record_limit = 30
    result = await client.write(lockt.CREATE_USERS, [new_user(number) for number in range(70)])
    assert result.inserted == 70
    assert simulator.laboratory.count("POST /api/v1/user") == 4


async def test_posts_never_overlap(simulator: LocktSimulator, client: LocktClient) -> None:
    simulator.post_takes_s = 0.05
    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(client.write, lockt.CREATE_USERS, [new_user(number)])
        nursery.start_soon(client.unlock, 12345)
        nursery.start_soon(client.command, lockt.PURGE_DELEGATES)
    assert simulator.overlaps == 0
    assert simulator.laboratory.count("POST") == 6


async def test_the_simulator_refuses_posts_that_overlap(simulator: LocktSimulator, client: LocktClient) -> None:
    simulator.post_takes_s = 0.5
    other = LocktClient(simulator.url, **{**simulator.credentials(), "api_key": client._api_key}, timeout_s=20)
    outcomes: list[str] = []

    async def post(through: LocktClient) -> None:
        try:
            await through.unlock(12345)
            outcomes.append("done")
        except LocktBusy as busy:
            outcomes.append(f"busy {busy.retry_after_s:g}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(post, client)
        nursery.start_soon(post, other)
    await other.aclose()
    assert sorted(outcomes) == ["busy 1", "done"]


async def test_a_rejected_batch_names_each_record(simulator: LocktSimulator, client: LocktClient) -> None:
    users = [new_user(1), new_user(2, email="kari@@@no", card_num="A8914")]
    with pytest.raises(LocktRejected) as caught:
        await client.write(lockt.CREATE_USERS, users)
    error = caught.value
    assert error.fault_class is FaultClass.REJECTED
    assert error.sentences == ("Validation errors found. Batch has failed. Details provided.",)
    (record,) = error.rejected
    assert record.sentences == ("Invalid email address found: kari@@@no", "Non-Numeric card_num found: A8914")
    assert record.record["id_num"] == "N2"
    assert "kari" not in str(error), "a record's data must not reach the log"
    assert len(simulator.site.users) == 10


async def test_what_earlier_blocks_wrote_is_told(simulator: LocktSimulator, client: LocktClient) -> None:
    users = [new_user(number) for number in range(150)]
    users[120] = new_user(120, phone="x")
    with pytest.raises(LocktRejected) as caught:
        await client.write(lockt.CREATE_USERS, users)
    assert caught.value.done == BatchResult(submitted=100, inserted=100)


async def test_a_batch_may_go_in_partly(simulator: LocktSimulator, client: LocktClient) -> None:
    users = [new_user(1), new_user(2, phone="x")]
    result = await client.write(lockt.CREATE_USERS, users, Options(validate_fails_batch=False))
    assert (result.submitted, result.inserted, result.errors) == (2, 1, 1)
    assert not result.complete and len(result.rejected) == 1


async def test_a_partial_batch_under_the_error_shape_alone(simulator: LocktSimulator, client: LocktClient) -> None:
    body = b'{"result": ["Validation errors found."], "errors": [{"error": ["No"], "input_data": {"id_num": "N2"}}]}'
    simulator.laboratory.inject(Ill.STATUS, path="/api/v1/user", status=400, body=body)
    users = [new_user(1), new_user(2)]
    result = await client.write(lockt.CREATE_USERS, users, Options(validate_fails_batch=False))
    assert (result.submitted, result.processed, result.errors) == (2, 1, 1)
    with pytest.raises(LocktRejected):
        await client.write(lockt.CREATE_USERS, users, Options(validate_fails_batch=True))


async def test_the_sentence_shape(simulator: LocktSimulator, client: LocktClient) -> None:
    simulator.site.record_limit = 0
    with pytest.raises(LocktRejected, match="Batch size exceeds maximum of 0 objects") as caught:
        await client.write(lockt.CREATE_USERS, [new_user(1)])
    assert caught.value.rejected == ()


async def test_every_request_carries_its_headers(simulator: LocktSimulator) -> None:
    for wrong in ({"api_user": "x"}, {"api_key": "x"}):
        keys = {**simulator.credentials(), **wrong}
        client = LocktClient(simulator.url, keys["api_user"], SecretStr(keys["api_key"]), timeout_s=20)
        with pytest.raises(Fault) as caught:
            await client.read(lockt.DOORS)
        assert caught.value.fault_class is FaultClass.AUTHENTICATION
        await client.aclose()


async def test_a_key_that_no_header_can_carry_is_not_shown(simulator: LocktSimulator) -> None:
    client = LocktClient(simulator.url, "user", SecretStr("nøkkel→"), timeout_s=20)
    with pytest.raises(Fault) as caught:
        await client.ping()
    assert caught.value.fault_class is FaultClass.AUTHENTICATION
    assert "nøkkel" not in str(caught.value)
    await client.aclose()


async def test_times_are_tagged_by_their_form(simulator: LocktSimulator, client: LocktClient) -> None:
    simulator.site.now = lambda: datetime(2026, 1, 15, 12, tzinfo=UTC)
    system = await client.system_time()
    assert system is not None and system.datetime_utc and system.datetime_local
    assert not system.datetime_utc.is_local and system.datetime_local.is_local
    assert (system.timezone, system.offset) == ("Europe/Oslo", 1.0)


async def test_what_is_sent_is_local_time(client: LocktClient) -> None:
    local = models.FobAssignment(id=1, user_id=0, access_expires="2030-05-01T08:00:00")
    assert local.body()["access_expires"] == "2030-05-01 08:00:00"
    for utc in ("2030-05-01T08:00:00Z", "2030-05-01T08:00:00+02:00", datetime(2030, 5, 1, tzinfo=UTC)):
        with pytest.raises(ValidationError, match="local time"):
            models.FobAssignment(id=1, user_id=0, access_expires=utc)


async def test_broken_letters_are_repaired_and_kept_raw(simulator: LocktSimulator, client: LocktClient) -> None:
    doors = {door.id: door for door in await client.read(lockt.DOORS)}
    assert doors[12345].controller == "BEST Switch™ API"
    assert doors[12345].raw["controller"] == "BEST Switchâ„¢ API"


async def test_contradictory_names_are_one(simulator: LocktSimulator, client: LocktClient) -> None:
    """`unid` inside a user, and a credential's holder as an array of one."""
    (user,) = await client.read(lockt.USERS, id=1693)
    assert [(level.id, level.name) for level in user.accesslevels] == [(123, "Level 1")]
    (credential,) = await client.read(lockt.CREDENTIALS, id=335)
    assert credential.user is not None
    assert (credential.user.id, credential.user.name) == (1693, "Doe 3, Jo")
