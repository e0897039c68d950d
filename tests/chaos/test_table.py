"""The table of `scripts/chaos` names tests that there are, and every test of this folder stands in it."""

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_scenario_is_there_and_none_is_forgotten() -> None:
    scenarios = runpy.run_path(str(ROOT / "scripts" / "chaos.py"), run_name="table")["SCENARIOS"]
    named = {test.partition("::")[0] for scenario in scenarios for test in scenario.tests}
    assert [name for name in named if not (ROOT / name).is_file()] == []
    here = {f"tests/chaos/{path.name}" for path in Path(__file__).parent.glob("test_*.py")}
    assert here - named == {"tests/chaos/test_table.py"}
