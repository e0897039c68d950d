"""`varde lockt …` as it is typed, against a simulated cloud in a thread of its own."""

import csv
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from agent.cli import root
from agent.cli.lockt import LISTINGS
from agent.vendors.lockt.simulator import LocktSimulator


@pytest.fixture
def simulator() -> Iterator[LocktSimulator]:
    """Served by another thread, because each command runs its own event loop."""
    made = LocktSimulator()
    served = threading.Event()
    token: list[trio.lowlevel.TrioToken] = []

    async def serve() -> None:
        token.append(trio.lowlevel.current_trio_token())
        async with trio.open_nursery() as nursery:
            await nursery.start(made.serve)
            served.set()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    assert served.wait(30)
    yield made
    token[0].run_sync_soon(made.laboratory.stop.set)
    thread.join(30)


@pytest.fixture
def config(simulator: LocktSimulator, tmp_path: Path) -> Path:
    file = tmp_path / "agent.toml"
    file.write_text(entry(simulator, "hall"))
    return file


def entry(simulator: LocktSimulator, name: str) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in simulator.settings(name).items()]
    return "\n".join(["[[sources]]", *lines, ""])


def varde(*words: Any) -> Result:
    return CliRunner().invoke(root, ["lockt", *map(str, words)], catch_exceptions=False)


@pytest.mark.parametrize("name", LISTINGS)
def test_every_list_as_table_json_and_csv(simulator: LocktSimulator, config: Path, name: str) -> None:
    simulator.raise_event()
    table = varde(name, "--config", config)
    assert table.exit_code == 0, table.output
    as_json = json.loads(varde(name, "--json", "--config", config).stdout)
    rows = list(csv.DictReader(io.StringIO(varde(name, "--csv", "--config", config).stdout)))
    assert len(as_json) == len(rows)
    assert as_json or name in ("delegates", "maintenance")
    assert all(None not in row.values() for row in rows)


def test_a_list_shows_what_is_there(simulator: LocktSimulator, config: Path) -> None:
    output = varde("doors", "--config", config).stdout
    assert "Gate 1" in output and "BEST Switch™ API" in output
    (user,) = csv.DictReader(io.StringIO(varde("users", "--id-num", "ZZ123", "--csv", "--config", config).stdout))
    assert (user["id"], user["accesslevels"], user["enabled"]) == ("1693", "Level 1", "true")


def test_pins_and_keys_are_shown_on_request_only(simulator: LocktSimulator, config: Path) -> None:
    shown = varde("users", "--json", "--config", config).stdout
    assert '"pin"' not in shown and "XXXX-XXXX" not in shown
    assert '"pin": "1234"' in varde("users", "--json", "--secrets", "--config", config).stdout


def test_a_blank_filter_is_wrong_usage(simulator: LocktSimulator, config: Path) -> None:
    result = varde("users", "--id-num", " ", "--config", config)
    assert result.exit_code == 2
    assert "blank" in result.stderr
    assert not simulator.laboratory.requests


def test_a_source_is_chosen_by_name(simulator: LocktSimulator, config: Path) -> None:
    config.write_text(entry(simulator, "hall") + entry(simulator, "annex"))
    several = varde("site", "--config", config)
    assert several.exit_code == 2 and "hall, annex" in several.stderr
    assert varde("site", "--source", "annex", "--config", config).exit_code == 0
    assert varde("site", "--source", "cellar", "--config", config).exit_code == 2


def test_without_a_lockt_source(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("")
    result = varde("doors", "--config", file)
    assert result.exit_code == 1 and "No source of kind lockt" in result.stderr


def test_a_broken_configuration_is_78(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("[")
    assert varde("doors", "--config", file).exit_code == 78


def test_a_fault_is_said_in_one_line_with_its_remedy(simulator: LocktSimulator, config: Path) -> None:
    config.write_text(config.read_text().replace(simulator.credentials()["api_key"], "wrong-key"))
    result = varde("doors", "--config", config)
    assert result.exit_code == 1
    assert "Check api_user and api_key" in result.stderr and "wrong-key" not in result.output
    assert len(result.stderr.splitlines()) == 1


HEADING = "id_num;first_name;last_name;email;phone;pin;card_num\n"
GOOD = "N{0};Kari;Nordmann;kari{0}@example.no;99887766;4711;5000{0}\n"


def test_a_dry_run_says_what_would_be_rejected_and_writes_nothing(
    simulator: LocktSimulator, config: Path, tmp_path: Path
) -> None:
    file = tmp_path / "staff.csv"
    file.write_text(HEADING + GOOD.format(1) + GOOD.format(2).replace("@", "@@"))
    result = varde("load-users", file, "--dry-run", "--config", config)
    assert result.exit_code == 1
    assert "2 rows, 1 would go in, 1 would be rejected" in result.stdout
    assert "email is no address: kari2@@example.no" in result.stdout
    assert simulator.laboratory.count("POST") == 0 and len(simulator.site.users) == 10


def test_a_load_reports_each_rejected_row(simulator: LocktSimulator, config: Path, tmp_path: Path) -> None:
    file = tmp_path / "staff.csv"
    file.write_text(HEADING + "".join(GOOD.format(number) for number in range(120)) + GOOD.format(7))
    result = varde("load-users", file, "--config", config)
    assert result.exit_code == 1
    assert "121 rows: 120 inserted, 0 updated, 1 rejected." in result.stdout
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("122")]
    assert "id_num already exists in system: N7" in line
    assert "Loading users" in result.stderr and "121/121" in result.stderr


def test_a_clean_load_is_0_and_may_be_repeated_as_an_update(
    simulator: LocktSimulator, config: Path, tmp_path: Path
) -> None:
    file = tmp_path / "staff.csv"
    file.write_text(HEADING + GOOD.format(1))
    assert varde("load-users", file, "--config", config).exit_code == 0
    again = varde("load-users", file, "--update-existing", "--config", config)
    assert again.exit_code == 0 and "0 inserted, 1 updated" in again.stdout
    assert len(simulator.site.users) == 11


def test_a_load_that_breaks_off_says_which_rows_are_unsure(
    simulator: LocktSimulator, config: Path, tmp_path: Path
) -> None:
    file = tmp_path / "staff.csv"
    file.write_text(HEADING + GOOD.format(1))
    answer = simulator.site.answer
    simulator.site.answer = lambda method, *rest: (500, {}) if method == "POST" else answer(method, *rest)
    result = varde("load-users", file, "--config", config)
    assert result.exit_code == 1
    assert "line 2 on are not confirmed" in result.stderr


def test_an_unusable_file(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "staff.csv"
    file.write_text("name,mail\n")
    result = varde("load-users", file, "--config", config)
    assert result.exit_code == 1 and "Unknown column: name, mail" in result.stderr
