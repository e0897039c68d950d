"""Every row of the bench still runs, at its smallest, by the command itself. What the figures are is for the bench."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROWS = [
    "poll-cpu", "poll-lateness", "alarm-latency", "backlog", "dc09", "put-clients", "combine", "upload", "idle",
    "ten-million", "pages", "live", "package",
]  # fmt: skip


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """The results of a whole run at the smallest sizes, and what it printed."""
    folder = tmp_path_factory.mktemp("bench")
    results = folder / "results.json"
    command = [sys.executable, "-m", "measuring", "--tiny", "--json", str(results), "--dir", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    environment.pop("VARDE_BENCH_ALARMS", None)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=110)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return json.loads(results.read_text()), done.stdout


def test_every_row_gives_figures(bench: tuple[dict[str, Any], str]) -> None:
    document, shown = bench
    assert document["failures"] == {}
    measured = {figure["row"] for figure in document["figures"]}
    # Packages are there only where they have been built.
    assert measured | {"package"} == set(ROWS)
    assert all(figure["value"] > 0 or figure["unit"] == "ms" for figure in document["figures"])
    assert all(figure["name"] in shown for figure in document["figures"])


def test_a_figure_outside_its_limit_is_said(bench: tuple[dict[str, Any], str]) -> None:
    document, shown = bench
    for figure in document["figures"]:
        said = f"outside its limit: {figure['row']}, {figure['name']}" in shown
        assert said or figure["within"] is not False


def test_an_unknown_row_is_refused() -> None:
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    command = [sys.executable, "-m", "measuring", "nonsense"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 2
    assert "no such row: nonsense" in done.stderr
