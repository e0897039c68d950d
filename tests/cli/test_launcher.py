"""The command of a checkout, as scripts/setup writes it."""

import re
import subprocess
import sys
from pathlib import Path

SETUP = Path(__file__).parents[2] / "scripts" / "setup"


def test_modules_of_the_current_folder_are_not_run(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise SystemExit('not ours')\n")
    words = re.search(r'/python" (.*?) "\$@"', SETUP.read_text())
    assert words is not None
    command = [sys.executable, *words[1].split(), "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "varde" in done.stdout, done.stderr
