"""Batches against a folder as the share: what goes out, what is carried, what becomes of each client."""

import json
import logging
import os
import stat

import pytest

from agent.faults import Fault

FOREIGN = "<Clients><Row><__id>{0}</__id><Name>{1}</Name></Row></Clients>"


async def test_a_client_goes_to_the_share_and_its_file_is_cleaned_up(box):
    await box.put(9998, "Blåbær & <sønn> ]]> 🔥")
    assert (await box.run()).clients == 1
    assert box.lies_there() == {"9998BASE11": "Blåbær & <sønn> ]]> 🔥"}
    assert box.waiting() == []
    assert await box.state(9998) == "pending_import"
    ready = box.settings.paths.ready
    assert ready.read_bytes() == (box.folder / "clients.xml").read_bytes()
    assert stat.S_IMODE(ready.stat().st_mode) == 0o640
    assert [path.name for path in box.folder.iterdir()] == ["clients.xml"]


async def test_client_state_json_has_its_documented_form_in_site_time(box):
    await box.put(1)
    await box.run()
    expected = {"1BASE11": {"status": "pending_import", "last_batch": "2025-01-01T12:01:00"}}
    assert json.loads(box.settings.paths.client_state.read_text()) == expected
    box.success("1BASE11")
    await box.look()
    assert json.loads(box.settings.paths.client_state.read_text())["1BASE11"]["status"] == "imported"


async def test_results_are_read_between_batches(box):
    for client in (1, 2, 3):
        await box.put(client)
    await box.run()
    box.results("1BASE11 Completed processing client", "2BASE11 Ukjent område", encoding="utf-16")
    await box.look()
    assert [await box.state(client) for client in (1, 2, 3)] == ["imported", "import_failed", "pending_import"]
    assert (await box.row(2))["detail"] == "2BASE11 Ukjent område"
    assert (await box.row(1))["imported_revision"] == 1


async def test_with_nothing_to_send_the_share_is_only_read(box):
    await box.put(1)
    await box.run()
    before = {path.name: path.stat().st_mtime_ns for path in box.folder.iterdir()}
    batch = await box.run()
    assert (batch.id, batch.clients) == (None, 0)
    assert {path.name: path.stat().st_mtime_ns for path in box.folder.iterdir()} == before


async def test_what_is_not_answered_is_carried_into_the_next_file(box):
    await box.put(1, "one")
    await box.put(2, "two")
    await box.run()
    box.success("1BASE11")
    await box.put(3, "three")
    batch = await box.run()
    assert (batch.clients, batch.carried) == (1, 1)
    assert box.lies_there() == {"2BASE11": "two", "3BASE11": "three"}
    assert box.rotated() == ["clients_20250101_120200.xml"]


async def test_what_is_not_answered_goes_out_by_itself_after_some_runs(box):
    await box.put(1, "one")
    await box.run()
    assert [(await box.run()).clients for _ in range(4)] == [0, 0, 1, 0]
    assert box.lies_there() == {"1BASE11": "one"}
    assert len(box.rotated()) == 1


async def test_a_file_that_was_read_and_not_answered_goes_out_again(box):
    await box.put(1, "one")
    await box.run()
    (box.folder / "clients.xml").unlink()
    assert [(await box.run()).clients for _ in range(3)] == [0, 0, 1]
    assert box.lies_there() == {"1BASE11": "one"}


async def test_a_file_that_was_rotated_away_unimported_goes_out_again(box):
    await box.put(1, "one")
    await box.run()
    (box.folder / "clients.xml").write_text(FOREIGN.format("9BASE99", "other"))
    await box.run()
    assert box.lies_there() == {"1BASE11": "one", "9BASE99": "other"}


async def test_rows_of_somebody_else_are_carried_unless_patriot_has_spoken(box):
    (box.folder / "clients.xml").write_text(
        "<Clients>"
        + "".join(f"<Row><__id>{n}BASE99</__id><Name>æ{n}</Name></Row>" for n in (1, 2, 3))
        + "<Row><Name>nobody</Name></Row></Clients>"
    )
    box.results("1BASE99 Completed processing client", "3BASE99 failed")
    await box.put(7, "ours")
    batch = await box.run()
    assert (batch.clients, batch.carried) == (1, 1)
    assert box.lies_there() == {"2BASE99": "æ2", "7BASE11": "ours"}
    box.success("2BASE99", "7BASE11")
    await box.put(8, "more")
    await box.run()
    assert box.lies_there() == {"8BASE11": "more"}


async def test_an_old_success_line_does_not_make_somebody_elses_new_row_imported(box):
    box.success("1BASE99")
    await box.look()
    (box.folder / "clients.xml").write_text(FOREIGN.format("1BASE99", "second revision"))
    newest = (box.folder / "clients_Import_Results.txt").stat().st_mtime_ns + 10**9
    os.utime(box.folder / "clients.xml", ns=(newest, newest))
    await box.look()
    box.success("5BASE99", append=True)
    await box.put(7, "ours")
    await box.run()
    assert box.lies_there() == {"1BASE99": "second revision", "7BASE11": "ours"}


async def test_results_older_than_the_file_say_nothing_of_it(box):
    box.success("1BASE99", "2BASE99")
    (box.folder / "clients.xml").write_text(FOREIGN.format("1BASE99", "put there after the results"))
    newest = (box.folder / "clients_Import_Results.txt").stat().st_mtime_ns + 10**9
    os.utime(box.folder / "clients.xml", ns=(newest, newest))
    await box.put(7, "ours")
    await box.run()
    assert set(box.lies_there()) == {"1BASE99", "7BASE11"}


async def test_two_agents_on_one_share_lose_nothing_of_each_other(make_box):
    one, two = make_box("one"), make_box("two")
    two.keys.by_name("Alarm24")
    (two.home / "keys.json").write_text(
        json.dumps([{"key_name": "Alarm24", "key": "other-secret", "enabled": True, "port": "BASE22"}])
    )
    two.keys.reload()
    for number in range(1, 5):
        await one.put(number, f"one {number}")
        await two.put(number, f"two {number}")
        await one.run()
        await two.run(after_s=61)
    expected = {f"{n}BASE11": f"one {n}" for n in range(1, 5)} | {f"{n}BASE22": f"two {n}" for n in range(1, 5)}
    assert one.lies_there() == expected
    await one.put(1, "one newer")
    await one.run(after_s=62)
    await two.put(9, "two 9")
    await two.run(after_s=63)
    assert two.lies_there() == expected | {"1BASE11": "one newer", "9BASE22": "two 9"}
    two.success(*two.lies_there())
    for agent in (one, two):
        await agent.look()
    assert {await one.state(n) for n in range(1, 5)} | {await two.state(n) for n in (1, 2, 3, 4, 9)} == {"imported"}


async def test_a_success_line_counts_only_for_what_lay_there_when_it_appeared(box):
    await box.put(1, "first")
    await box.run()
    box.success("1BASE11")
    await box.look()
    await box.put(1, "second")
    assert await box.state(1) == "new"
    await box.look()
    await box.run()
    await box.look()
    assert await box.state(1) == "pending_import"
    box.success("1BASE11", append=True)
    await box.look()
    assert (await box.state(1), (await box.row(1))["imported_revision"]) == ("imported", 2)


async def test_results_written_anew_with_the_same_words_count(box):
    await box.put(1, "first")
    await box.run()
    box.success("1BASE11")
    await box.look()
    await box.put(1, "second")
    await box.run()
    box.success("1BASE11")
    await box.look()
    assert await box.state(1) == "imported"


async def test_a_client_that_changes_while_its_file_is_away_stays_new(box):
    await box.put(1, "first")
    await box.run()
    await box.put(1, "second")
    box.success("1BASE11")
    await box.look()
    row = await box.row(1)
    assert (row["state"], row["imported_revision"], row["revision"]) == ("new", 1, 2)
    await box.run()
    assert box.lies_there() == {"1BASE11": "second"}


async def test_a_failure_read_half_written_is_put_right(box):
    await box.put(1)
    await box.run()
    (box.folder / "clients_Import_Results.txt").write_bytes(b"1BASE11 Completed proc")
    await box.look()
    assert await box.state(1) == "import_failed"
    box.success("1BASE11")
    await box.look()
    assert (await box.state(1), (await box.row(1))["detail"]) == ("imported", "")


async def test_at_most_so_many_clients_the_oldest_change_first(make_box):
    box = make_box(max_clients_per_run=2)
    for client in (5, 4, 3, 2, 1):
        await box.put(client, str(client))
        path = box.settings.paths.clients / "Alarm24" / f"{client}.xml"
        os.utime(path, ns=(10**18 - client * 10**9,) * 2)
    await box.run()
    assert set(box.lies_there()) == {"4BASE11", "5BASE11"}
    assert len(box.waiting()) == 3
    await box.run()
    await box.run()
    assert len(box.lies_there()) == 5
    assert box.waiting() == []


async def test_files_of_others_go_out_like_ours(box):
    folder = box.settings.paths.clients / "Other" / "deep"
    folder.mkdir(parents=True)
    (folder / "x.xml").write_text(FOREIGN.format("77BASE77", "foreign"))
    (folder / "ignored.txt").write_text("no")
    batch = await box.run()
    assert batch.clients == 1
    assert box.lies_there() == {"77BASE77": "foreign"}
    assert not (folder / "x.xml").exists() and (folder / "ignored.txt").exists()
    assert "77BASE77" in json.loads(box.settings.paths.client_state.read_text())
    assert [(await box.run()).clients for _ in range(3)] == [0, 0, 1]


async def test_unusable_files_stay_and_are_named_once(box, caplog, tmp_path):
    await box.put(1)
    folder = box.settings.paths.clients / "Alarm24"
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    bad = {
        "broken.xml": b"<Clients><Row><__id>2BASE11</__id>",
        "empty.xml": b"",
        "no-row.xml": b"<html><body>hello</body></html>",
        "no-id.xml": b"<Clients><Row><Name>x</Name></Row></Clients>",
        "entity.xml": f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{secret}">]>'.encode()
        + FOREIGN.format("3BASE11", "&x;").encode(),
        "bomb.xml": b'<!DOCTYPE a [<!ENTITY x "boom"><!ENTITY y "&x;&x;">]>' + FOREIGN.format("4B", "&y;").encode(),
        "undeclared.xml": FOREIGN.format("5BASE11", "&x;").encode(),
    }
    for name, data in bad.items():
        (folder / name).write_bytes(data)
    with (folder / "huge.xml").open("wb") as file:
        file.truncate(65 * 1024 * 1024)
    (folder / "link.xml").symlink_to(secret)
    os.mkfifo(folder / "pipe.xml")
    with caplog.at_level(logging.WARNING, "varde.xml_combine"):
        await box.run()
        await box.run()
    assert box.lies_there() == {"1BASE11": "Ola"}
    assert set(box.waiting()) == {*bad, "huge.xml", "link.xml", "pipe.xml"}
    said = [record.getMessage() for record in caplog.records if "is not sent" in record.getMessage()]
    assert len(said) == len(bad) + 1
    assert {file["path"].rpartition("/")[2] for file in box.batches.unusable_files()} == {*bad, "huge.xml"}
    (folder / "broken.xml").write_bytes(FOREIGN.format("2BASE11", "mended").encode())
    await box.run()
    assert box.lies_there() == {"1BASE11": "Ola", "2BASE11": "mended"}


async def test_the_last_row_of_an_id_wins(box):
    folder = box.settings.paths.clients / "Other"
    folder.mkdir(parents=True)
    for number, name in enumerate(("older", "newer")):
        path = folder / f"{name}.xml"
        path.write_text(FOREIGN.format("1BASE77", name))
        os.utime(path, ns=(10**18 + number, 10**18 + number))
    await box.run()
    assert box.lies_there() == {"1BASE77": "newer"}


async def test_a_file_with_more_rows_than_one_batch_takes(make_box):
    box = make_box(max_clients_per_run=2)
    folder = box.settings.paths.clients / "Other"
    folder.mkdir(parents=True)
    rows = "".join(f"<Row><__id>{n}BASE77</__id><Name>{n}</Name></Row>" for n in range(5))
    (folder / "many.xml").write_text(f"<Clients>{rows}</Clients>")
    sizes = []
    for _ in range(3):
        await box.run()
        sizes.append(len(box.lies_there()))
    assert sizes == [2, 4, 5]
    assert box.waiting() == []


async def test_import_errors_are_logged_without_patriots_words(box, caplog):
    for client in (1, 2, 3):
        await box.put(client)
    await box.run()
    box.results("1BASE11 Completed processing client", "2BASE11 Ola Nordmann finnes ikke")
    (box.folder / "clients.xml").write_text(
        (box.folder / "clients.xml").read_text().replace("</Clients>", "<Row><__id>9BASE99</__id></Row></Clients>")
    )
    await box.put(4)
    with caplog.at_level(logging.DEBUG, "varde"):
        await box.run()
    lines = {record.getMessage() for record in caplog.records if record.name == "varde.import_errors"}
    assert lines == {"id=2BASE11 import failed", "id=3BASE11 no result", "id=9BASE99 no result"}
    assert "Nordmann" not in caplog.text


async def test_a_taken_rotation_name_gets_a_suffix(box):
    await box.put(1)
    await box.run()
    (box.folder / "clients_20250101_120200.xml").write_text("older")
    await box.put(2)
    await box.run()
    assert box.rotated() == ["clients_20250101_120200.xml", "clients_20250101_120200_2.xml"]
    assert (box.folder / "clients_20250101_120200.xml").read_text() == "older"


async def test_a_change_during_the_upload_keeps_its_file(box):
    """The registry writes the second revision after the first was read and before the clean-up."""
    await box.put(1, "first")
    shipment = box.batches._shipment
    send = shipment._send

    async def change_first(*arguments):
        await box.put(1, "second")
        return await send(*arguments)

    shipment._send = change_first
    await box.run()
    assert (box.lies_there(), box.waiting()) == ({"1BASE11": "first"}, ["1.xml"])
    row = await box.row(1)
    assert (row["state"], row["sent_revision"], row["revision"]) == ("new", 1, 2)
    shipment._send = send
    await box.run()
    assert (box.lies_there(), box.waiting()) == ({"1BASE11": "second"}, [])


async def test_a_deletion_during_the_upload_is_listed_for_the_central_office(box):
    await box.put(1, "first")
    shipment = box.batches._shipment
    send = shipment._send

    async def delete_first(*arguments):
        await box.delete(1)
        return await send(*arguments)

    shipment._send = delete_first
    await box.run()
    sent = await box.store.read(lambda c: c.execute("SELECT import_id, sent FROM removed_clients").fetchall())
    assert [tuple(row) for row in sent] == [("1BASE11", 1)]


async def test_a_deleted_client_is_not_carried_and_does_not_come_back(box):
    await box.put(1, "gone")
    await box.put(2, "stays")
    await box.run()
    await box.delete(1)
    await box.put(3, "new")
    await box.run()
    assert box.lies_there() == {"2BASE11": "stays", "3BASE11": "new"}
    for _ in range(8):
        await box.run()
    assert "1BASE11" not in box.lies_there()


async def test_another_agent_comes_between_reading_and_rotating(box):
    """Its file is not the one that was read: nothing of it may be lost."""
    await box.put(1, "ours")
    (box.folder / "clients.xml").write_text(FOREIGN.format("8BASE99", "read"))
    share = box.batches._share
    write = share.write_new

    async def then_another(name, source):
        await write(name, source)
        share.write_new = write
        (box.folder / "clients.xml").unlink()
        (box.folder / "clients.xml").write_text(FOREIGN.format("9BASE99", "put in between"))

    share.write_new = then_another
    batch = await box.run()
    assert box.lies_there() == {"1BASE11": "ours", "9BASE99": "put in between"}
    assert batch.carried == 1
    assert not list(box.folder.glob("*.tmp"))


async def test_another_agent_takes_the_name_after_the_rotation(box):
    await box.put(1, "ours")
    (box.folder / "clients.xml").write_text(FOREIGN.format("8BASE99", "read"))
    share = box.batches._share
    rename = share.rename

    async def then_another(old, new):
        await rename(old, new)
        share.rename = rename
        (box.folder / "clients.xml").write_text(FOREIGN.format("9BASE99", "put in between"))

    share.rename = then_another
    await box.run()
    assert box.lies_there() == {"1BASE11": "ours", "8BASE99": "read", "9BASE99": "put in between"}


async def test_somebody_tidies_the_uploaded_file_away(box):
    await box.put(1, "ours")
    share = box.batches._share
    write = share.write_new

    async def then_tidied(name, source):
        await write(name, source)
        share.write_new = write
        (box.folder / name).unlink()

    share.write_new = then_tidied
    batch = await box.batches.run_once("test")
    assert batch.outcome == "rejected" and "taken away" in batch.detail
    assert (await box.run()).clients == 1


async def test_a_broken_file_on_the_share_is_rotated_and_what_is_whole_of_it_carried(box, caplog):
    (box.folder / "clients.xml").write_text("<Clients><Row><__id>1BASE99</__id></Row><Row><__id>2BAS")
    await box.put(1, "ours")
    await box.run()
    assert set(box.lies_there()) == {"1BASE99", "1BASE11"}
    assert "what stands after that is not carried over" in caplog.text


async def test_on_failure_everything_stays_and_goes_out_later(box):
    await box.put(1, "one")
    away = box.folder.with_name("away")
    box.folder.rename(away)
    for _ in range(3):
        batch = await box.batches.run_once("test")
        assert (batch.outcome, batch.id) == ("unreachable", 1)
    assert box.batches.share_status()["state"] == "down"
    assert box.metrics.share_up._value.get() == 0
    assert (box.waiting(), await box.state(1)) == (["1.xml"], "new")
    away.rename(box.folder)
    assert (await box.run()).clients == 1
    assert box.batches.share_status()["state"] == "up"
    assert box.lies_there() == {"1BASE11": "one"}
    assert (await box.batches.last())["id"] == 2


async def test_the_boxs_own_disk_is_not_the_shares_fault(box):
    await box.put(1)
    await box.run()
    await box.put(2)
    box.settings.paths.ready.unlink()
    (box.settings.paths.ready / "x").mkdir(parents=True)
    batch = await box.batches.run_once("test")
    assert batch.outcome == "rejected" and "on this box" in batch.detail
    assert box.batches.share_status()["state"] == "up"


async def test_without_a_share(make_box):
    box = make_box()
    box.batches = type(box.batches)(box.store, box.settings.model_copy(update={"share": None}), None, box.metrics)
    with pytest.raises(Fault, match="No share is configured"):
        await box.batches.run_once("test")
    assert box.batches.share_status() is None and box.batches.next_at() is None
    assert await box.batches.last() is None


async def test_metrics_follow(box):
    await box.put(1)
    await box.put(2)
    await box.run()
    box.success("1BASE11")
    await box.look()
    get = box.metrics.registry.get_sample_value
    assert get("varde_batches_total", {"outcome": "ok"}) == 1
    assert get("varde_batch_clients") == 2
    assert get("varde_clients", {"state": "imported"}) == 1
    assert get("varde_clients", {"state": "pending_import"}) == 1
    assert get("varde_share_up") == 1
    assert get("varde_share_last_success_timestamp_seconds") == box.clock.timestamp()
