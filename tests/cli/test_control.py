"""Finding the daemon, also through a file that was broken since it started."""

import gc
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.cli import root

BROKEN = "[combine]\nminute = [\n"


@pytest.mark.filterwarnings("ignore:unclosed <socket")  # httpcore forgets the socket that could not be connected
def test_a_broken_file_still_tells_where_the_daemon_listens(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(f'[paths]\nrun_dir = "{tmp_path}"\n{BROKEN}')
    (tmp_path / "control.sock").touch()
    result = CliRunner().invoke(root, ["status", "--config", str(tmp_path / "agent.toml")])
    assert result.exit_code == 3 and str(tmp_path / "control.sock") in result.stderr
    del result
    gc.collect()


def test_without_a_daemon_a_broken_file_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(f'[paths]\nrun_dir = "{tmp_path}"\n{BROKEN}')
    result = CliRunner().invoke(root, ["status", "--config", str(tmp_path / "agent.toml")])
    assert result.exit_code == 78 and "is not TOML" in result.stderr
