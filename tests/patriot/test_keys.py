import hashlib
import hmac
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from agent.patriot.keys import Keys


def write(path: Path, *entries: dict[str, Any]) -> None:
    path.write_text(json.dumps(list(entries)), "utf-8")


def look(keys: Keys) -> None:
    """One turn of `Keys.run`."""
    keys._take(keys._read())


A = {"key_name": "A", "key": "secret-a", "port": "P1"}
B = {"key_name": "B", "key": "secret-b", "port": "P2"}


def test_only_enabled_unexpired_keys_are_let_in(keys: Keys) -> None:
    found = keys.authenticate("secret-alarm24")
    assert found is not None and found.name == "Alarm24"
    assert keys.authenticate(b"secret-x") is not None
    for token in ("", "secret-gone", "secret-expired", "secret-alarm2", "secret-alarm24 ", "\ud800", "æ"):
        assert keys.authenticate(token) is None


def test_every_digest_is_compared_whoever_calls(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    genuine = hmac.compare_digest
    monkeypatch.setattr("agent.patriot.keys.hmac.compare_digest", lambda a, b: compared.append(1) or genuine(a, b))
    keys.authenticate("secret-alarm24")
    keys.authenticate("nobody")
    assert len(compared) == 2 * len(keys.all)


def test_a_digest_may_stand_in_place_of_a_key(key_file: Path) -> None:
    write(key_file, {"key_name": "A", "key_sha256": hashlib.sha256(b"hemmelig").hexdigest().upper(), "port": "P"})
    keys = Keys(key_file)
    keys.reload()
    assert keys.authenticate("hemmelig") is not None


def test_a_disabled_key_can_still_be_found_for_its_clients(keys: Keys) -> None:
    assert keys.by_name("Gone") is not None and keys.by_name("Nobody") is None


def test_a_missing_file_lets_nobody_in_and_says_so(tmp_path: Path) -> None:
    told: list[bool] = []
    keys = Keys(tmp_path / "none.json", told.append)
    keys.reload()
    assert keys.authenticate("secret-a") is None
    assert told == [False] and not keys.valid
    assert "No such file" in keys.problems[0]


def test_a_broken_edit_keeps_the_last_good_set(key_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    told: list[bool] = []
    write(key_file, A)
    keys = Keys(key_file, told.append)
    keys.reload()
    for broken in ("[{", "", "{}"):
        key_file.write_text(broken)
        keys.reload()
        assert keys.authenticate("secret-a") is not None
        assert not keys.valid and "last good set" in keys.problems[0]
    key_file.unlink()
    keys.reload()
    assert keys.authenticate("secret-a") is not None
    write(key_file, B)
    keys.reload()
    assert keys.authenticate("secret-a") is None and keys.authenticate("secret-b") is not None
    assert keys.valid and keys.problems == []
    assert told == [True, False, False, False, False, True]
    assert "secret" not in caplog.text


def test_a_refused_entry_is_a_problem_and_the_rest_is_in_force(key_file: Path) -> None:
    write(key_file, A, {**B, "port": "1P1"})
    keys = Keys(key_file)
    keys.reload()
    assert not keys.valid and "'B'" in keys.problems[0]
    assert keys.authenticate("secret-a") is not None and keys.authenticate("secret-b") is None


async def test_an_edit_takes_effect_by_itself(key_file: Path) -> None:
    write(key_file, A)
    keys = Keys(key_file)
    keys.reload()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keys.run)
        await wait_all_tasks_blocked()
        write(key_file, B)
        with trio.fail_after(20):
            await keys.wait_changed()
        assert keys.authenticate("secret-b") is not None
        nursery.cancel_scope.cancel()


def test_a_half_written_file_is_no_news_and_a_broken_one_is_said_once(
    key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "varde.keys")
    write(key_file, A)
    keys = Keys(key_file)
    keys.reload()
    whole = json.dumps([B])
    key_file.write_text(whole[:10])
    look(keys)
    key_file.write_text(whole)
    look(keys)
    assert keys.authenticate("secret-b") is not None and caplog.records == []
    key_file.write_text("[")
    for _ in range(10):
        look(keys)
    assert len(caplog.records) == 1 and not keys.valid


def test_the_same_size_and_time_is_seen_all_the_same(key_file: Path) -> None:
    write(key_file, A)
    keys = Keys(key_file)
    keys.reload()
    before = key_file.stat()
    key_file.write_text(key_file.read_text().replace("secret-a", "secret-c"))
    os.utime(key_file, ns=(before.st_atime_ns, before.st_mtime_ns))
    look(keys)
    assert keys.authenticate("secret-c") is not None
