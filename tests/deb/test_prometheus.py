"""Alerts and dashboard: valid, tested, and about metrics that exist. `test_installed.py` runs them against an agent."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from agent.metrics import Metrics

ETC = Path(__file__).parents[2] / "etc"
RULES = ETC / "prometheus/varde.rules.yml"
DASHBOARD = ETC / "grafana/varde.json"


def promtool(*arguments: str | Path, **options: Any) -> str:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool")
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def queries() -> Iterator[str]:
    """Every query of the dashboard, with Grafana's variables filled in."""
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")


def existing(page: str) -> set[str]:
    return set(re.findall(r"^(varde_\w+?)(?:\{| )", page, re.MULTILINE))


@pytest.fixture
def page(tmp_path: Path) -> str:
    """/metrics of an agent with one source and one sink."""
    metrics = Metrics()
    metrics.add_source("yard", "davantis")
    metrics.add_sink("receiver")
    metrics.watch_disk(tmp_path)
    for method in ("GET", "PUT"):
        metrics.patriot_requests.labels(method, "/clients", "200")
    metrics.patriot_request_seconds.labels("/clients")
    return generate_latest(metrics.registry).decode()


def test_the_rules_are_valid_and_few() -> None:
    found = re.search(r"(\d+) rules found", promtool("check", "rules", RULES))
    assert found
    assert 8 <= int(found[1]) <= 12


def test_each_alert_comes_and_stays_away_as_meant() -> None:
    assert "SUCCESS" in promtool("test", "rules", "varde.rules.test.yml", cwd=ETC / "prometheus")


def test_each_alert_is_tested_and_says_what_to_do() -> None:
    text = RULES.read_text("utf-8")
    tests = (ETC / "prometheus/varde.rules.test.yml").read_text("utf-8")
    alerts = re.split(r"^      - alert: ", text, flags=re.MULTILINE)[1:]
    for alert in alerts:
        name = alert.split("\n")[0]
        assert name in tests, name
        assert "On the box: " in alert, name
        assert re.search(r"severity: (critical|warning)", alert), name


def test_the_scrape_example_is_valid(tmp_path: Path) -> None:
    shutil.copy(RULES, tmp_path)
    shutil.copy(ETC / "prometheus/scrape.example.yml", tmp_path / "prometheus.yml")
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml", cwd=tmp_path)


def test_rules_and_dashboard_are_about_metrics_that_exist(page: str) -> None:
    there = existing(page)
    asked = set(re.findall(r"\bvarde_\w+", " ".join([*queries(), RULES.read_text("utf-8").replace("varde.rules", "")])))
    assert asked - there == set()


def test_labels_in_queries_exist(page: str) -> None:
    """A misspelt label selects nothing, silently."""
    labels: dict[str, set[str]] = {}
    for name, text in re.findall(r"^(varde_\w+)\{(.*)\} ", page, re.MULTILINE):
        labels.setdefault(name, set()).update(re.findall(r'(\w+)="', text))
    for query in [*queries(), *re.findall(r"expr: (.*)", RULES.read_text("utf-8"))]:
        for name, selector in re.findall(r"(varde_\w+)\{([^}]*)\}", query):
            asked = set(re.findall(r"(\w+)\s*[=!]", selector)) - {"instance", "job"}
            assert asked <= labels.get(name, set()), query


def test_the_dashboard_s_queries_are_promql(tmp_path: Path) -> None:
    groups = [{"name": "dashboard", "rules": [{"record": f"q{i}", "expr": query} for i, query in enumerate(queries())]}]
    file = tmp_path / "queries.yml"  # JSON is YAML
    file.write_text(json.dumps({"groups": groups}), "utf-8")
    promtool("check", "rules", file)


def test_the_dashboard_s_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_the_metrics_page_is_clean(page: str) -> None:
    assert promtool("check", "metrics", input=page) == ""
