"""Logs: one line each, complete files whatever the level, private, rotated without a line lost."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import logs
from agent.settings.models import Log


@pytest.fixture(autouse=True)
def afterwards() -> Iterator[None]:
    yield
    for name in ("varde", *logs.FILES):
        logger = logging.getLogger(name)
        logs._replace(logger, [])
        logger.propagate, logger.level = True, logging.NOTSET


def test_the_files_are_complete_whatever_the_level(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert logs.set_up(Log(level="error"), tmp_path / "log") is None
    logging.getLogger("varde.xml_combine").info("batch=1 clients=3")
    logging.getLogger("varde.polling").info("source=yard up")
    logging.getLogger("varde.polling").error("source=yard down")
    assert "batch=1 clients=3" in (tmp_path / "log" / "xml_combine.log").read_text()
    error = capfd.readouterr().err
    assert "source=yard down" in error and "source=yard up" not in error
    assert any("source=yard up" in line for line in logs.tail())


def test_a_message_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logs.set_up(Log(), None)
    logging.getLogger("varde.web").info("name=%s", "a\nerror store everything is lost")
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_requests_stay_out_of_the_journal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logs.set_up(Log(), tmp_path)
    logging.getLogger("varde.api_requests").info("GET /clients 200")
    assert capfd.readouterr().err == ""
    assert "GET /clients 200" in (tmp_path / "api_requests.log").read_text()


def test_rotation_loses_no_line_and_keeps_what_it_says(tmp_path: Path) -> None:
    logs.set_up(Log(max_bytes=10_000, keep=50), tmp_path)
    for index in range(2000):
        logging.getLogger("varde.import_errors").info("line %05d", index)
    files = list(tmp_path.glob("import_errors.log*"))
    found = sorted(line.rsplit(" ", 1)[1] for file in files for line in file.read_text().splitlines())
    assert found == [f"{index:05}" for index in range(2000)]
    assert len(files) > 5 and all(file.stat().st_size <= 10_000 for file in files)
    assert all(file.stat().st_mode & 0o777 == 0o640 for file in files)


def test_a_folder_that_cannot_be_written_is_told_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file where the folder should be")
    problem = logs.set_up(Log(), tmp_path / "log")
    assert problem is not None and "cannot be written" in problem
    logging.getLogger("varde.xml_combine").info("still here")


def test_the_journal_gets_priorities(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    logs.set_up(Log(), None)
    logging.getLogger("varde.store").critical("damaged")
    assert capfd.readouterr().err.startswith("<2>critical store damaged")
