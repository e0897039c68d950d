"""`varde check` looks at what the agent will need of this box."""

from pathlib import Path

from agent import checks
from agent.settings import load


def test_a_log_directory_that_cannot_be_made_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "agent.toml").write_text(f'[paths]\nstate_dir = "{tmp_path}"\nlog_dir = "{tmp_path}/file/log"\n')
    found = {check.id: check for check in checks.box(load(tmp_path / "agent.toml", {}), None)}
    assert found["log-directory"].result == "warning" and "/file/log" in found["log-directory"].detail
    assert found["state-directory"].result == "passed"


def test_a_log_directory_that_can_be_made_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(f'[paths]\nstate_dir = "{tmp_path}"\nlog_dir = "{tmp_path}/log"\n')
    assert "log-directory" not in {check.id for check in checks.box(load(tmp_path / "agent.toml", {}), None)}
