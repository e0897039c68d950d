"""Logs: journald or stderr for people, the three documented files, and the last lines in memory for the console.

A line on stderr is `level room message`, under systemd with the priority journald reads from `<n>`. The files are
rotated by size within this one process, so no line is lost between two of them.
"""

import logging
import logging.handlers
import os
import sys
import time
from collections import deque
from pathlib import Path

from agent.settings.models import Log

FILES = {
    "varde.api_requests": "api_requests.log",
    "varde.xml_combine": "xml_combine.log",
    "varde.import_errors": "import_errors.log",
}
_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_ring: deque[str] = deque(maxlen=500)


def tail(lines: int = 200) -> list[str]:
    """The newest lines of the log, oldest first."""
    return list(_ring)[-lines:]


def set_up(settings: Log, log_dir: Path | None) -> str | None:
    """Send everything below the logger "varde" where it belongs; what could not be done as a sentence, else None.

    `log_dir` None: no files. Called again after a reload it replaces what it made before.
    """
    level = logging.getLevelName(settings.level.upper())
    root = logging.getLogger("varde")
    # The level is about what journald gets; the documented files and the console's tail are always complete.
    root.setLevel(min(level, logging.INFO))
    root.propagate = False
    _replace(root, [_stderr(level), _Ring()])
    problem = None
    for name, file in FILES.items():
        logger = logging.getLogger(name)
        # Every request is a line in its file; journald gets what somebody has to see.
        logger.propagate = name != "varde.api_requests"
        handlers: list[logging.Handler] = []
        if log_dir is not None:
            try:
                handlers = [_file(log_dir / file, settings)]
            except OSError as error:
                problem = f"{log_dir / file} cannot be written ({error.strerror}); those lines go to the journal only."
        _replace(logger, handlers)
    return problem


def _replace(logger: logging.Logger, handlers: list[logging.Handler]) -> None:
    for old in list(logger.handlers):
        logger.removeHandler(old)
        old.close()
    for handler in handlers:
        logger.addHandler(handler)


def _stderr(level: int) -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(level)
    handler.setFormatter(_Line(journald="JOURNAL_STREAM" in os.environ))
    return handler


def _file(path: Path, settings: Log) -> logging.Handler:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    handler = _PrivateFile(path, maxBytes=settings.max_bytes, backupCount=settings.keep, encoding="utf-8")
    handler.setFormatter(_Line(journald=False))
    return handler


class _PrivateFile(logging.handlers.RotatingFileHandler):
    """A rotated file that only the agent and its group read."""

    def _open(self):  # type: ignore[no-untyped-def]  # the base class returns a private union of streams
        stream = super()._open()
        os.fchmod(stream.fileno(), 0o640)
        return stream


class _Line(logging.Formatter):
    """`2026-11-29T20:14:38Z info polling source=yard up`; a message never spans lines except for a traceback."""

    converter = staticmethod(time.gmtime)

    def __init__(self, *, journald: bool) -> None:
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%SZ")
        self.journald = journald

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage().replace("\n", "\\n").replace("\r", "\\r")
        room = record.name.removeprefix("varde.")
        line = f"{record.levelname.lower()} {room} {message}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        if self.journald:
            priority = _PRIORITY.get(record.levelno, 6)
            return "\n".join(f"<{priority}>{part}" for part in line.splitlines())
        return f"{self.formatTime(record, self.datefmt)} {line}"


class _Ring(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_Line(journald=False))

    def emit(self, record: logging.LogRecord) -> None:
        _ring.extend(self.format(record).splitlines()[:30])
