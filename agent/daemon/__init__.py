"""The whole process: `main.py` on one screen, `wiring.py` makes the parts, `reload.py` changes them while they run."""

from agent.daemon.main import CannotStart, run_daemon

__all__ = ["CannotStart", "run_daemon"]
