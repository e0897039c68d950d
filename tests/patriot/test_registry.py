import hashlib
import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio
from lxml import etree

from agent.alarms.model import instant
from agent.patriot import registry as registry_module
from agent.patriot import views, xmlfiles
from agent.patriot.keyfile import ApiKey
from agent.patriot.keys import Keys
from agent.patriot.records import Duplicate, Locked, NotFound
from agent.patriot.registry import CannotWrite, Registry
from agent.store import Store

INFO = {"Name": "Ola"}
ZONE = {"Zone_No": 1, "Zone_area": "Stue", "ModuleNo": 0}
USER = {"User_Name": "Kari", "UserNo": 1, "Type": "U", "CallOrder": 0}

Sql = Callable[..., Any]


def file_of(registry: Registry, client_id: int = 9998, key_name: str = "Alarm24") -> Path:
    return registry.clients_dir / key_name / f"{client_id}.xml"


def name_in(registry: Registry, client_id: int = 9998) -> str | None:
    return etree.fromstring(file_of(registry, client_id).read_bytes()).findtext("Row/Name")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_change_is_a_revision_a_file_and_its_digest(registry: Registry, alarm24: ApiKey, sql: Sql) -> None:
    saved = await registry.put_client(alarm24, 9998, INFO)
    assert saved.created and saved.record.revision == 1 and saved.record.state == "new"
    data = file_of(registry).read_bytes()
    assert data == saved.xml
    assert await sql("SELECT xml_sha256 FROM clients") == [(hashlib.sha256(data).hexdigest(),)]
    await sql("UPDATE clients SET state = 'import_failed', detail = 'no', waited_runs = 2")
    again = await registry.put_client(alarm24, 9998, {"Name": "Per"})
    assert not again.created and again.record.revision == 2
    assert (again.record.state, again.record.detail) == ("new", "")
    assert await sql("SELECT waited_runs FROM clients") == [(0,)]
    assert name_in(registry) == "Per"


async def test_files_and_folders_have_their_modes_whatever_the_umask(registry: Registry, alarm24: ApiKey) -> None:
    old = os.umask(0o077)
    try:
        await registry.put_client(alarm24, 9998, INFO)
    finally:
        os.umask(old)
    path = file_of(registry)
    assert mode(path) == 0o640
    assert [mode(folder) for folder in (path.parent, path.parent.parent, path.parent.parent.parent)] == [0o750] * 3
    assert [entry.name for entry in path.parent.iterdir()] == ["9998.xml"]


async def test_put_keeps_zones_and_users_and_patch_merges(registry: Registry, alarm24: ApiKey) -> None:
    await registry.put_client(alarm24, 1, {"Name": "A", "Alias": "x"})
    await registry.put_zone(alarm24, 1, ZONE)
    await registry.create_user(alarm24, 1, USER)
    await registry.put_client(alarm24, 1, {"Name": "B"})
    record = await registry.patch_client(alarm24, 1, {"area": "Moss"})
    assert record.client.info == {"Name": "B", "area": "Moss"}
    assert record.client.zones == {1: ZONE} and record.client.users == {1: USER}
    same = await registry.patch_client(alarm24, 1, {})
    assert same.revision == record.revision


async def test_what_is_absent_is_not_found(registry: Registry, alarm24: ApiKey) -> None:
    for attempt in (
        registry.get(alarm24, 1),
        registry.patch_client(alarm24, 1, INFO),
        registry.delete_client(alarm24, 1),
        registry.put_zone(alarm24, 1, ZONE),
        registry.create_user(alarm24, 1, USER),
    ):
        with pytest.raises(NotFound):
            await attempt
    await registry.put_client(alarm24, 1, INFO)
    for attempt in (
        registry.delete_zone(alarm24, 1, 1),
        registry.replace_user(alarm24, 1, USER),
        registry.delete_user(alarm24, 1, 1),
    ):
        with pytest.raises(NotFound):
            await attempt
    await registry.create_user(alarm24, 1, USER)
    with pytest.raises(Duplicate):
        await registry.create_user(alarm24, 1, USER)


async def test_two_keys_have_two_clients_of_one_number(registry: Registry, keys: Keys, alarm24: ApiKey) -> None:
    other = keys.by_name("InstallerX")
    assert other is not None
    await registry.put_client(alarm24, 7, {"Name": "A"})
    await registry.put_client(other, 7, {"Name": "B"})
    await registry.delete_client(other, 7)
    assert (await registry.get(alarm24, 7)).client.info == {"Name": "A"}
    assert file_of(registry, 7).exists() and not file_of(registry, 7, "InstallerX").exists()


async def test_an_id_that_another_data_set_has_is_refused_at_write(registry: Registry, alarm24: ApiKey) -> None:
    """Only possible where the key file was changed since: the first data set keeps its id."""
    await registry.put_client(alarm24, 9998, INFO)
    colliding = ApiKey("Later", "98BASE11", b"")
    with pytest.raises(Duplicate):
        await registry.put_client(colliding, 99, INFO)
    assert not file_of(registry, 99, "Later").exists()


async def test_a_locked_client_refuses_changes_until_then(registry: Registry, store: Store, alarm24: ApiKey) -> None:
    await registry.put_client(alarm24, 1, INFO)
    await views.lock_client(store, "Alarm24", 1, 60)
    for attempt in (
        registry.put_client(alarm24, 1, INFO),
        registry.put_zone(alarm24, 1, ZONE),
        registry.delete_client(alarm24, 1),
    ):
        with pytest.raises(Locked) as raised:
            await attempt
        assert 0 < raised.value.retry_after_s <= 60
    await views.unlock_client(store, "Alarm24", 1)
    await registry.put_client(alarm24, 1, INFO)


async def test_a_deleted_client_that_was_sent_is_listed_and_counts_on(
    registry: Registry, store: Store, alarm24: ApiKey, sql: Sql
) -> None:
    await registry.put_client(alarm24, 1, INFO)
    await registry.delete_client(alarm24, 1)
    assert (await views.removed_clients(store))["removed"] == []
    saved = await registry.put_client(alarm24, 1, INFO)
    assert saved.created and saved.record.revision == 2
    await sql("UPDATE clients SET sent_revision = 2")
    await registry.delete_client(alarm24, 1)
    listed = (await views.removed_clients(store))["removed"]
    assert [(row["import_id"], row["key_name"], row["client_id"]) for row in listed] == [("1BASE11", "Alarm24", 1)]
    # A new life hides it, and its end shows it again: what Patriot has is still there.
    await registry.put_client(alarm24, 1, INFO)
    assert (await views.removed_clients(store))["removed"] == []
    await registry.delete_client(alarm24, 1)
    assert len((await views.removed_clients(store))["removed"]) == 1
    await views.removal_done(store, "1BASE11")
    assert (await views.removed_clients(store))["removed"] == []
    with pytest.raises(NotFound):
        await views.removal_done(store, "1BASE11")


@pytest.mark.parametrize(
    ("state", "sent", "imported", "written"),
    [
        ("new", 0, 0, True),
        ("pending_import", 1, 0, False),
        ("imported", 1, 1, False),
        ("import_failed", 1, 0, True),
    ],
)
async def test_reading_writes_a_missing_file_again_where_one_is_due(
    registry: Registry, alarm24: ApiKey, sql: Sql, state: str, sent: int, imported: int, written: bool
) -> None:
    await registry.put_client(alarm24, 9998, INFO)
    await sql("UPDATE clients SET state = ?, sent_revision = ?, imported_revision = ?", state, sent, imported)
    file_of(registry).unlink()
    await registry.get(alarm24, 9998)
    assert file_of(registry).exists() is written


class TestCrashes:
    """Each crash leaves what the disk held at that point; a new registry on the same store mends it."""

    async def reopened(self, registry: Registry, keys: Keys) -> Registry:
        again = Registry(registry.store, registry.clients_dir, keys)
        await again.reconcile(at_start=True)
        return again

    async def test_between_commit_and_first_file(self, registry: Registry, keys: Keys, alarm24: ApiKey) -> None:
        saved = await registry.put_client(alarm24, 9998, INFO)
        file_of(registry).unlink()
        await self.reopened(registry, keys)
        assert file_of(registry).read_bytes() == saved.xml

    async def test_between_commit_and_newer_file(self, registry: Registry, keys: Keys, alarm24: ApiKey) -> None:
        old = await registry.put_client(alarm24, 9998, INFO)
        new = await registry.put_client(alarm24, 9998, {"Name": "Per"})
        file_of(registry).write_bytes(old.xml)
        again = await self.reopened(registry, keys)
        assert file_of(registry).read_bytes() == new.xml
        assert (await again.get(alarm24, 9998)).revision == new.record.revision

    async def test_between_writing_and_renaming(self, registry: Registry, keys: Keys, alarm24: ApiKey) -> None:
        await registry.put_client(alarm24, 9998, INFO)
        half = file_of(registry).with_name(".9998.xml.tmp")
        half.write_bytes(b"<Clients><Ro")
        await self.reopened(registry, keys)
        assert not half.exists() and name_in(registry) == "Ola"

    async def test_between_deletion_and_its_file(
        self, registry: Registry, keys: Keys, alarm24: ApiKey, sql: Sql
    ) -> None:
        await registry.put_client(alarm24, 9998, INFO)
        data = file_of(registry).read_bytes()
        await registry.delete_client(alarm24, 9998)
        file_of(registry).write_bytes(data)
        await sql("UPDATE removed_clients SET file_removed = 0")
        await self.reopened(registry, keys)
        assert not file_of(registry).exists()
        assert await sql("SELECT file_removed FROM removed_clients") == [(1,)]

    async def test_a_file_sent_and_cleaned_up_stays_away(
        self, registry: Registry, keys: Keys, alarm24: ApiKey, sql: Sql
    ) -> None:
        await registry.put_client(alarm24, 9998, INFO)
        await sql("UPDATE clients SET state = 'pending_import', sent_revision = 1")
        file_of(registry).unlink()
        await self.reopened(registry, keys)
        assert not file_of(registry).exists()

    async def test_files_of_others_are_left_alone(self, registry: Registry, keys: Keys, alarm24: ApiKey) -> None:
        await registry.put_client(alarm24, 9998, INFO)
        foreign = [file_of(registry, 4711), file_of(registry).with_name("note.xml"), file_of(registry, 1, "Elsewhere")]
        for path in foreign:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"<Clients/>")
        await self.reopened(registry, keys)
        assert all(path.read_bytes() == b"<Clients/>" for path in foreign)

    async def test_many_are_mended_page_by_page(
        self, registry: Registry, keys: Keys, alarm24: ApiKey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(registry_module, "PAGE", 3)
        for client_id in range(1, 11):
            await registry.put_client(alarm24, client_id, INFO)
            if client_id % 2:
                file_of(registry, client_id).unlink()
        await self.reopened(registry, keys)
        assert all(name_in(registry, client_id) == "Ola" for client_id in range(1, 11))


def edit_keys(path: Path, **change: Any) -> None:
    entries = json.loads(path.read_text())
    entries[0] |= change
    path.write_text(json.dumps(entries))


def no_keys(path: Path) -> None:
    path.write_text("[]")


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110  # the file system sets no event
            await trio.sleep(0.01)


async def test_waiting_clients_follow_an_edit_of_their_key(
    registry: Registry, keys: Keys, alarm24: ApiKey, key_file: Path
) -> None:
    await registry.put_client(alarm24, 9998, INFO)
    edit_keys(key_file, installer={"User_Name": "Ny AS"}, xml={"Installer": "Ny AS"})
    keys.reload()
    await registry.reconcile()
    assert etree.fromstring(file_of(registry).read_bytes()).findtext("Row/Installer") == "Ny AS"
    record = await registry.get(alarm24, 9998)
    assert record.xml_sha256 == hashlib.sha256(file_of(registry).read_bytes()).hexdigest()


async def test_run_reconciles_when_the_keys_change(
    registry: Registry, keys: Keys, alarm24: ApiKey, key_file: Path, nursery: trio.Nursery
) -> None:
    await registry.put_client(alarm24, 9998, INFO)
    nursery.start_soon(registry.run)
    edit_keys(key_file, xml={"Installer": "Ny AS"})
    keys.reload()
    await until(lambda: b"Ny AS" in file_of(registry).read_bytes())


async def test_an_edited_port_is_another_client_to_patriot(
    registry: Registry, store: Store, keys: Keys, alarm24: ApiKey, key_file: Path, sql: Sql
) -> None:
    await registry.put_client(alarm24, 1, INFO)
    await sql("UPDATE clients SET state = 'imported', sent_revision = 1, imported_revision = 1")
    edit_keys(key_file, port="BASE99")
    keys.reload()
    await registry.reconcile()
    assert (await registry.get(alarm24, 1)).import_id == "1BASE11"
    saved = await registry.put_client(alarm24, 1, INFO)
    assert saved.record.import_id == "1BASE99" and saved.record.sent_revision == 0
    assert [row["import_id"] for row in (await views.removed_clients(store))["removed"]] == ["1BASE11"]


async def test_a_key_that_is_gone_leaves_its_files(
    registry: Registry, keys: Keys, alarm24: ApiKey, key_file: Path
) -> None:
    await registry.put_client(alarm24, 1, INFO)
    no_keys(key_file)
    keys.reload()
    await registry.reconcile()
    assert name_in(registry, 1) == "Ola"


async def test_a_file_the_disk_refuses_is_written_later(
    registry: Registry, alarm24: ApiKey, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = xmlfiles.write

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xmlfiles, "write", full)
    monkeypatch.setattr(registry_module, "RETRY_INTERVAL_S", 0.01)
    with pytest.raises(CannotWrite, match="No space left"):
        await registry.put_client(alarm24, 9998, INFO)
    monkeypatch.setattr(xmlfiles, "write", genuine)
    nursery.start_soon(registry.run)
    await until(file_of(registry).exists)


async def test_64_writers_on_one_client_lose_nothing(registry: Registry, alarm24: ApiKey) -> None:
    await registry.put_client(alarm24, 1, INFO)
    async with trio.open_nursery() as nursery:
        for number in range(1, 65):
            zone = {"Zone_No": number, "Zone_area": f"Z{number}", "ModuleNo": 0}
            nursery.start_soon(registry.put_zone, alarm24, 1, zone)
    record = await registry.get(alarm24, 1)
    assert record.revision == 65 and set(record.client.zones) == set(range(1, 65))
    data = file_of(registry, 1).read_bytes()
    assert hashlib.sha256(data).hexdigest() == record.xml_sha256
    assert len(etree.fromstring(data).findall("Row/Zones/Zone")) == 64
    assert registry._locks == {}


async def test_a_writer_that_is_cancelled_leaves_the_lock_free(registry: Registry, alarm24: ApiKey) -> None:
    async with registry._alone("Alarm24", 1):
        with trio.move_on_after(0):
            await registry.put_client(alarm24, 1, INFO)
    await registry.put_client(alarm24, 1, INFO)
    assert registry._locks == {} and name_in(registry, 1) == "Ola"


def test_what_a_put_asks_of_the_store_does_not_grow_with_it(store: Store) -> None:
    """Every statement on the way of a change finds its row by an index."""
    statements = (
        "SELECT * FROM clients WHERE key_name = ? AND client_id = ?",
        "UPDATE clients SET detail = '' WHERE key_name = ? AND client_id = ?",
        "SELECT revision FROM removed_clients WHERE import_id = ?",
        "SELECT key_name, client_id FROM removed_clients WHERE file_removed = 0",
    )
    for statement in statements:
        values = ("x",) * statement.count("?")
        plan = store.read_now(
            lambda c, s=statement, v=values: [row[3] for row in c.execute(f"EXPLAIN QUERY PLAN {s}", v)]
        )  # type: ignore[misc]
        assert all("USING" in step and "INDEX" in step for step in plan), plan


async def test_views_page_and_count(registry: Registry, store: Store, alarm24: ApiKey, sql: Sql) -> None:
    for client_id in (30, 10, 20):
        await registry.put_client(alarm24, client_id, INFO)
    await sql("UPDATE clients SET state = 'imported', locked_until = ? WHERE client_id = 10", instant_in_the_past())
    first = await views.list_clients(store, limit=2)
    assert [client["client_id"] for client in first["clients"]] == [30, 10]
    assert first["clients"][1]["status"] == "imported" and first["clients"][1]["locked_until"] is None
    rest = await views.list_clients(store, after=first["next"])
    assert [client["client_id"] for client in rest["clients"]] == [20]
    end = await views.list_clients(store, after=rest["next"])
    assert end == {"clients": [], "next": rest["next"]}
    only = await views.list_clients(store, "new")
    assert [client["client_id"] for client in only["clients"]] == [30, 20]
    assert "Ola" not in json.dumps([first, rest, only])
    assert await views.count_by_state(store) == {"new": 2, "pending_import": 0, "imported": 1, "import_failed": 0}


def instant_in_the_past() -> str:
    return instant(datetime(2020, 1, 1, tzinfo=UTC))


def files_with(folder: Path, text: str) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    return [path for path in files if text.encode() in path.read_bytes()]


async def test_erasing_leaves_no_trace_on_the_disk(
    registry: Registry, alarm24: ApiKey, sql: Sql, tmp_path: Path
) -> None:
    secret = "Synnøve Hemmelig"
    await registry.put_client(alarm24, 1, {"Name": secret, "SPPage": secret * 200})
    await registry.put_client(alarm24, 1, {"Name": secret})
    await registry.put_client(alarm24, 2, {"Name": "Stays"})
    await sql("UPDATE clients SET sent_revision = 1")
    await sql("INSERT INTO batches (who, started_at, outcome) VALUES ('', '', 'ok')")
    for number in (1, 2):
        await sql(
            "INSERT INTO batch_rows (batch_id, import_id, origin, row_sha256, row_xml) VALUES (1, ?, 'client', '', ?)",
            f"{number}BASE11",
            file_of(registry, number).read_bytes(),
        )
    ready = tmp_path / "clients.xml"
    rows = [etree.tostring(etree.parse(file_of(registry, number)).find("Row"), encoding="UTF-8") for number in (1, 2)]
    ready.write_bytes(b"<Clients>" + b"".join(rows) + b"</Clients>")
    await views.lock_client(registry.store, "Alarm24", 1, 60)

    answer = await views.erase_client(registry, "Alarm24", 1, ready)

    assert answer["at_patriot"] == ["1BASE11"]
    assert files_with(tmp_path, secret) == []
    assert not file_of(registry, 1).exists() and name_in(registry, 2) == "Stays"
    assert [row.findtext("__id") for row in etree.parse(ready).iter("Row")] == ["2BASE11"]
    assert await sql("SELECT import_id FROM batch_rows") == [("2BASE11",)]
    assert await sql("SELECT count(*) FROM removed_clients") == [(0,)]
    with pytest.raises(NotFound):
        await views.erase_client(registry, "Alarm24", 1, ready)
