"""Taking over an existing installation: no pending client is lost, nothing is guessed."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.cli import root
from agent.store import Store

KEY = {
    "key_name": "Alarm24",
    "key": "an-old-secret-key",
    "enabled": True,
    "port": "BASE11",
    "installer": {"User_Name": "Installer", "Email": "i@example.test"},
    "xml": {"Installer": "Installer", "AltLookup": "True"},
}


def row(import_id: str, inner: str = "<Name>Båt &amp; Hav</Name><NoSigsMon>None</NoSigsMon>") -> str:
    installer = "<User><User_Name>Installer</User_Name><UserNo>199</UserNo></User>"
    user = "<User><User_Name>Kari</User_Name><UserNo>1</UserNo><Type>U</Type></User>"
    zone = "<Zones><Zone><Zone_No>3</Zone_No><Zone_area>Gate</Zone_area></Zone></Zones>"
    return (
        f"<Row><__id>{import_id}</__id>{inner}<Installer>Installer</Installer>{zone}"
        f"<Users>{user}{installer}</Users></Row>"
    )


class Old:
    """An installation as the document describes it, and ours that takes it over."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "patriot_api"
        self.config = directory / "agent.toml"
        self.state = directory / "state"
        self.config.write_text(
            f'[paths]\nstate_dir = "{self.state}"\nrun_dir = "{directory}/run"\n'
            f'[patriot]\nkeys_file = "{directory}/keys.json"\n'
        )
        (self.directory / "out" / "clients" / "Alarm24").mkdir(parents=True)
        (self.directory / "ready_for_import").mkdir()
        (self.directory / "keys.json").write_text(json.dumps([KEY]))

    def file(self, name: str, *rows: str) -> None:
        path = self.directory / "out" / "clients" / "Alarm24" / name
        path.write_text(f"<Clients>{''.join(rows)}</Clients>", "utf-8")

    def sent(self, rows: list[str], states: dict[str, str]) -> None:
        combined = self.directory / "ready_for_import" / "clients.xml"
        combined.write_text(f"<Clients>{''.join(rows)}</Clients>", "utf-8")
        document = {key: {"status": value, "last_batch": "2025-01-01T12:55:00"} for key, value in states.items()}
        (self.directory / "client_state.json").write_text(json.dumps(document))

    def migrate(self, *options: str) -> tuple[int, str]:
        result = CliRunner().invoke(root, ["migrate", str(self.directory), *options, "--config", str(self.config)])
        return result.exit_code, result.output

    def clients(self) -> dict[str, dict[str, object]]:
        store = Store.open(self.state / "varde.db")
        try:
            rows = store.read_now(lambda c: c.execute("SELECT * FROM clients").fetchall())
            return {one["import_id"]: dict(one) for one in rows}
        finally:
            store.close()

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.state / "out" / "clients").rglob("*.xml"))


@pytest.fixture
def old(tmp_path: Path) -> Old:
    return Old(tmp_path)


def test_a_waiting_file_becomes_a_registered_client_with_its_parts(old: Old) -> None:
    old.file("9998.xml", row("9998BASE11"))
    code, said = old.migrate()
    assert code == 0, said
    client = old.clients()["9998BASE11"]
    assert json.loads(str(client["info_json"])) == {"Name": "Båt & Hav", "NoSigsMon": "None"}
    assert json.loads(str(client["zones_json"])) == {"3": {"Zone_No": 3, "Zone_area": "Gate", "ModuleNo": 0}}
    assert list(json.loads(str(client["users_json"]))) == ["1"]
    assert client["state"] == "new" and old.files() == ["9998.xml"]


def test_a_pending_client_is_sent_again_from_the_combined_file(old: Old) -> None:
    states = {"1BASE11": "pending_import", "2BASE11": "imported"}
    old.sent([row("1BASE11"), row("2BASE11")], states)
    code, said = old.migrate()
    assert code == 0, said
    assert list(old.clients()) == ["1BASE11"]


def test_a_newer_file_wins_over_what_was_sent(old: Old) -> None:
    old.sent([row("1BASE11", "<Name>old</Name>")], {"1BASE11": "pending_import"})
    old.file("1.xml", row("1BASE11", "<Name>new</Name>"))
    old.migrate()
    assert json.loads(str(old.clients()["1BASE11"]["info_json"]))["Name"] == "new"


def test_a_pending_client_without_a_row_is_named(old: Old) -> None:
    old.sent([], {"7BASE11": "pending_import"})
    code, said = old.migrate()
    assert code == 1 and "7BASE11" in said


@pytest.mark.parametrize(
    "inner",
    ["<Name>x</Name><Unknown>kept</Unknown>", "<Name>x</Name><SinceDays>often</SinceDays>", "<Alias>no name</Alias>"],
)
def test_what_the_api_cannot_hold_goes_out_as_it_is(old: Old, inner: str) -> None:
    old.file("5.xml", row("5BASE11", inner))
    code, _ = old.migrate()
    assert code == 0 and old.clients() == {}
    [path] = (old.state / "out" / "clients").rglob("*.xml")
    assert inner in path.read_text("utf-8")


def test_an_id_of_no_key_goes_out_as_it_is(old: Old) -> None:
    old.file("5.xml", row("5OTHER99"))
    old.migrate()
    assert old.clients() == {} and old.files() == ["5OTHER99.xml"]


def test_a_broken_file_is_named_and_stops_nobody(old: Old) -> None:
    old.file("bad.xml", "<Row><__id>")
    old.file("9998.xml", row("9998BASE11"))
    _, said = old.migrate()
    assert "bad.xml" in said and list(old.clients()) == ["9998BASE11"]


def test_keys_are_added_and_never_replaced(old: Old, tmp_path: Path) -> None:
    ours = {**KEY, "key": "our-own-secret", "port": "BASE12"}
    (tmp_path / "keys.json").write_text(json.dumps([ours]))
    (old.directory / "keys.json").write_text(
        json.dumps([KEY, {**KEY, "key_name": "Other", "port": "BASE05", "key": "k2"}])
    )
    old.migrate()
    found = json.loads((tmp_path / "keys.json").read_text())
    assert [entry["key_name"] for entry in found] == ["Alarm24", "Other"] and found[0]["key"] == "our-own-secret"


def test_a_second_run_changes_nothing(old: Old) -> None:
    old.file("9998.xml", row("9998BASE11"))
    old.migrate()
    before = old.clients()
    code, said = old.migrate()
    assert code == 0 and "registered already" in said and old.clients() == before


def test_a_dry_run_only_tells(old: Old, tmp_path: Path) -> None:
    old.file("9998.xml", row("9998BASE11"))
    code, said = old.migrate("--dry-run")
    assert code == 0 and "would be registered" in said and "9998BASE11" in said
    assert old.clients() == {} and not (tmp_path / "keys.json").exists()


def test_the_old_installation_is_left_as_it_was(old: Old) -> None:
    old.file("9998.xml", row("9998BASE11"))
    before = {path: path.read_bytes() for path in old.directory.rglob("*") if path.is_file()}
    old.migrate()
    assert {path: path.read_bytes() for path in old.directory.rglob("*") if path.is_file()} == before


def test_a_running_agent_is_not_written_under(old: Old) -> None:
    old.file("9998.xml", row("9998BASE11"))
    store = Store.open(old.state / "varde.db")
    code, said = old.migrate()
    store.close()
    assert code == 1 and "in use" in said
    shutil.rmtree(old.state)
