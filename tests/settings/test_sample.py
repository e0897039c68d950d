"""The installed agent.toml tells the truth about every setting."""

import re
import tomllib
from pathlib import Path

from agent.settings import Settings, load
from agent.settings.describe import tables
from agent.settings.sample import sample

INSTALLED = Path(__file__).parents[2] / "etc" / "agent.toml"


def uncommented(text: str) -> str:
    """The file with every setting made real: prose stays a comment."""
    return re.sub(r"^# ", "", text, flags=re.MULTILINE)


def test_the_installed_file_is_the_one_written_from_the_settings() -> None:
    assert INSTALLED.read_text("utf-8") == sample(), "run: varde manual agent.toml > etc/agent.toml"


def test_as_installed_it_changes_no_default() -> None:
    assert load(INSTALLED, {}) == Settings()


def test_every_setting_is_in_the_file() -> None:
    text = INSTALLED.read_text("utf-8")
    for table in tables():
        for setting in table.settings:
            assert re.search(rf"^# {setting.key} = |[:,] {setting.key}(,|$)", text, re.MULTILINE), (table, setting.key)


def test_what_is_not_an_example_is_the_default() -> None:
    """Taking the sign away from every line but the examples leaves the settings as they were."""
    lines = INSTALLED.read_text("utf-8").splitlines()
    always = [line for line in lines if not line.startswith("## ") and not line.endswith("# example")]
    text = uncommented("\n".join(always).split("# [share]")[0])
    rest = "\n".join(always)
    text += uncommented(rest[rest.index("[console]") :])
    assert Settings(**tomllib.loads(text)) == Settings()


def test_with_every_line_made_real_it_still_loads(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(uncommented(INSTALLED.read_text("utf-8")), "utf-8")
    settings = load(file, {})
    assert [source.kind for source in settings.sources] == ["davantis", "lockt", "sensaphone", "milestone"]
    assert [sink.kind for sink in settings.sinks] == ["sia-dc09", "webhook", "mqtt", "milestone"]
    assert settings.share is not None


def test_every_setting_says_what_it_is() -> None:
    silent = [(t.name, s.key) for t in tables() for s in t.settings if not s.help and s.key != "kind"]
    assert silent == []


def test_every_setting_has_a_default_or_an_example() -> None:
    assert [(t.name, s.key) for t in tables() for s in t.settings if not s.shown] == []
