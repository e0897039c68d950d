"""The folder of the control socket, whatever the umask of who starts the agent."""

import os
import stat
from pathlib import Path

from agent.serving import listen_unix


def test_the_sockets_folder_is_not_for_everybody(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        listener = listen_unix(tmp_path / "run" / "control.sock")
    finally:
        os.umask(before)
    listener.socket.close()
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "run" / "control.sock").stat().st_mode) == 0o660
