import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from agent.patriot import keyedit
from agent.patriot.keys import Keys


def stored(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
    return found


def authenticates(path: Path, key: str) -> bool:
    keys = Keys(path)
    keys.reload()
    return keys.authenticate(key) is not None


def test_an_added_key_works_and_is_stored_as_its_digest(key_file: Path) -> None:
    before = stored(key_file)
    key = keyedit.add(key_file, "Ny AS", "BASE20", {"installer": {"User_Name": "Ny AS"}})
    assert authenticates(key_file, key)
    assert key not in key_file.read_text()
    assert stored(key_file)[:-1] == before
    assert stored(key_file)[-1]["installer"] == {"User_Name": "Ny AS"}


def test_two_added_keys_differ(key_file: Path) -> None:
    assert keyedit.add(key_file, "A", "P1", {}) != keyedit.add(key_file, "B", "P2", {})


def test_a_rotated_key_ends_the_old_secret_and_keeps_the_rest(key_file: Path) -> None:
    before = stored(key_file)[0]
    key = keyedit.rotate(key_file, "Alarm24")
    assert authenticates(key_file, key) and not authenticates(key_file, "secret-alarm24")
    after = stored(key_file)[0]
    assert after.pop("key_sha256") and "key" not in after
    assert after == {name: value for name, value in before.items() if name != "key"}


def test_a_disabled_key_is_refused_and_stays_in_the_file(key_file: Path) -> None:
    keyedit.disable(key_file, "Alarm24")
    assert not authenticates(key_file, "secret-alarm24")
    assert stored(key_file)[0]["enabled"] is False


@pytest.mark.parametrize(
    ("name", "port", "word"),
    [("Alarm24", "P", "already"), ("Ny", "1BASE11", "same <__id>"), ("a/b", "P", "folder"), ("Ny", "P P", "port")],
)
def test_what_would_be_refused_is_not_written(key_file: Path, name: str, port: str, word: str) -> None:
    before = key_file.read_bytes()
    with pytest.raises(keyedit.CannotEdit, match=word):
        keyedit.add(key_file, name, port, {})
    assert key_file.read_bytes() == before
    assert list(key_file.parent.iterdir()) == [key_file]


def test_a_key_that_is_not_there_is_named_with_those_that_are(key_file: Path) -> None:
    for edit in (keyedit.rotate, keyedit.disable):
        with pytest.raises(keyedit.CannotEdit, match=r"'Nobody'.*'Alarm24'"):
            edit(key_file, "Nobody")


def test_a_broken_file_is_left_for_its_owner_to_mend(key_file: Path) -> None:
    key_file.write_text('[{"key_name": "A",]')
    with pytest.raises(keyedit.CannotEdit, match="line 1"):
        keyedit.rotate(key_file, "A")
    assert key_file.read_text() == '[{"key_name": "A",]'


def test_an_entry_that_was_refused_before_hinders_nothing(key_file: Path) -> None:
    key_file.write_text(json.dumps([*stored(key_file), {"key_name": "Bad"}]))
    assert authenticates(key_file, keyedit.rotate(key_file, "Alarm24"))


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660])
def test_the_mode_stays_whatever_the_umask(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    old = os.umask(0o077)
    try:
        keyedit.rotate(key_file, "Alarm24")
    finally:
        os.umask(old)
    assert stat.S_IMODE(key_file.stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_stays_or_the_folder_gives_the_group(key_file: Path) -> None:
    os.chown(key_file, 1234, 2345)
    keyedit.rotate(key_file, "Alarm24")
    assert (key_file.stat().st_uid, key_file.stat().st_gid) == (1234, 2345)
    key_file.unlink()
    os.chown(key_file.parent, 0, 2345)
    keyedit.add(key_file, "A", "P", {})
    assert (key_file.stat().st_uid, key_file.stat().st_gid) == (0, 2345)
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o640


def test_a_link_stays_a_link(key_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link = folder / "keys.json"
    link.symlink_to(key_file)
    keyedit.disable(link, "Alarm24")
    assert link.is_symlink() and stored(key_file)[0]["enabled"] is False


def test_many_edits_at_once_are_all_kept(key_file: Path) -> None:
    threads = [threading.Thread(target=keyedit.add, args=(key_file, f"N{n}", f"P{n}X", {})) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {entry["key_name"] for entry in stored(key_file)} >= {f"N{n}" for n in range(12)}
