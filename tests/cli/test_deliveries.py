"""`varde deliveries` as it is typed, against the answers of the agent API."""

import json

import pytest
from click.testing import CliRunner

from agent.cli import deliveries as command
from agent.cli import root


def row(number, state="pending", sink="receiver", reason=None):
    return {
        "id": number,
        "alarm_id": number + 100,
        "sink": sink,
        "state": state,
        "attempts": 2,
        "reason": reason,
        "next_attempt_at": "2026-03-01T12:00:00.000Z" if state == "pending" else None,
        "acknowledged_at": None,
    }


class Api:
    """The three calls that the command uses."""

    def __init__(self):
        self.rows = []
        self.retried = []
        self.sinks = [{"name": "receiver", "pending": 0, "peak": 0, "per_second": 0.0}]

    def __call__(self, ctx, method, path, json=None, *, params=None):
        if path == "/api/v1/status":
            return {"sinks": self.sinks}
        if method == "POST":
            number = int(path.split("/")[4])
            self.retried.append(number)
            next(each for each in self.rows if each["id"] == number)["state"] = "pending"
            return {}
        found = [
            each
            for each in self.rows
            if each["id"] > params["after"]
            and all(each[key] == params.get(key, each[key]) for key in ("state", "sink"))
        ][: params["limit"]]
        return {"deliveries": found, "next": found[-1]["id"] if found else params["after"]}


@pytest.fixture
def api(monkeypatch):
    made = Api()
    monkeypatch.setattr(command, "call", made)
    return made


def run(*arguments):
    return CliRunner().invoke(root, ["deliveries", *arguments])


def test_what_waits_and_what_was_set_aside(api):
    api.rows = [row(1, "acknowledged"), row(2), row(3, "rejected", reason="does not understand the event (DUH)")]
    shown = run()
    assert shown.exit_code == 0
    assert "DUH" in shown.output and "102" in shown.output and "101" not in shown.output


def test_nothing_is_said_plainly(api):
    assert "Everything is delivered." in run().output


def test_filters_and_json(api):
    api.rows = [row(1), row(2, "rejected"), row(3, "rejected", sink="cloud")]
    answer = json.loads(run("--json", "--state", "rejected", "--sink", "cloud").output)
    assert [each["id"] for each in answer["deliveries"]] == [3] and answer["next"] == 3


def test_how_far_a_queue_is(api):
    api.rows = [row(1)]
    api.sinks = [{"name": "receiver", "pending": 2500, "peak": 10_000, "per_second": 500.0}]
    output = run().output
    assert "2,500 waiting, 7,500 of 10,000 through (75%)" in output and "about 5 s to go" in output


def test_an_unknown_sink_names_the_known_ones(api):
    shown = run("--sink", "nobody")
    assert shown.exit_code == 1 and "receiver" in shown.output


def test_one_is_sent_again(api):
    api.rows = [row(1, "rejected")]
    assert "1 delivery is sent again" in run("retry", "1").output
    assert api.retried == [1]


def test_all_that_were_set_aside_are_sent_again_once(api, monkeypatch):
    monkeypatch.setattr(command, "PAGE", 2)
    api.rows = [row(number, "rejected") for number in range(1, 6)] + [row(9), row(10, "rejected", sink="cloud")]
    assert json.loads(run("retry", "--all-rejected", "--sink", "receiver", "--json").output) == {
        "retried": [1, 2, 3, 4, 5]
    }
    assert api.retried == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("arguments", [("retry",), ("retry", "1", "--all-rejected"), ("retry", "x"), ("--state", "x")])
def test_wrong_usage(api, arguments):
    assert run(*arguments).exit_code == 2
