import json
from typing import Any

import pytest

from agent.patriot.keyfile import BrokenKeyFile, KeySet, parse, ports_collide

GOOD = {"key_name": "A", "key": "secret", "port": "BASE11", "installer": {"User_Name": "I", "Email": "i@x"}}


def parsed(*entries: Any) -> KeySet:
    return parse(json.dumps(list(entries)).encode())


def test_a_good_entry_has_everything() -> None:
    found = parsed({**GOOD, "xml": {"Installer": "I", "G": {"X": [{"D": True}, {"D": "2"}]}}})
    assert not found.refused and not found.warnings
    (key,) = found.keys
    assert (key.name, key.port, key.enabled, key.valid_to) == ("A", "BASE11", True, None)
    assert key.injection.elements == {"Installer": "I", "G": {"X": [{"D": True}, {"D": "2"}]}}
    assert key.import_id(9998) == "9998BASE11"
    assert "secret" not in repr(key)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"key": ""}, "empty"),
        ({"key": "   "}, "empty"),
        ({"key": None}, "empty"),
        ({"key": 5}, "empty"),
        ({"key": " secret"}, "spaces"),
        ({"key": "a\nb"}, "header"),
        ({"key_sha256": "ab" * 32}, "exclude"),
        ({"key": None, "key_sha256": "zz"}, "64 hex"),
        ({"key": None, "key_sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}, "empty"),
        ({"key_name": ""}, "missing"),
        ({"key_name": ".."}, "folder"),
        ({"key_name": "a/b"}, "folder"),
        ({"key_name": "a\\b"}, "folder"),
        ({"key_name": ".hidden"}, "folder"),
        ({"key_name": "a\0"}, "folder"),
        ({"key_name": "å" * 101}, "longer"),
        ({"port": ""}, "port"),
        ({"port": "BASE 11"}, "port"),
        ({"port": 11}, "port"),
        ({"port": None}, "port"),
        ({"enabled": 1}, "enabled"),
        ({"enabled": "true"}, "enabled"),
        ({"valid_to": "soon"}, "valid_to"),
        ({"valid_to": 2030}, "valid_to"),
        ({"installer": "me"}, "installer"),
        ({"installer": {"Email": "x"}}, "User_Name"),
        ({"installer": {"User_Name": "\x01"}}, "User_Name"),
        ({"xml": []}, "xml"),
        ({"xml": {"Name": "x"}}, "xml.Name"),
        ({"xml": {"__id": "x"}}, "xml.__id"),
        ({"xml": {"a b": "x"}}, "'a b'"),
        ({"xml": {"XmlThing": "x"}}, "element name"),
        ({"xml": {"A": {"B": "\x02"}}}, "xml.A.B"),
        ({"xml": {"A": [["x"]]}}, "list inside a list"),
    ],
)
def test_an_entry_that_cannot_be_used_is_refused_by_name_and_the_others_work(change: Any, word: str) -> None:
    other = {"key_name": "Other", "key": "other", "port": "X9"}
    found = parsed({**GOOD, **change}, other)
    assert [key.name for key in found.keys] == ["Other"]
    (reason,) = found.refused
    assert reason.startswith("entry 1") and word in reason
    assert "secret" not in reason


@pytest.mark.parametrize(
    ("one", "other", "collide"),
    [
        ("BASE11", "BASE11", True),
        ("BASE11", "base11", True),
        ("1BASE", "BASE", True),
        ("BASE", "123456789012345BASE", True),
        # A client id has 16 digits at most, of which the shorter port's client would need one more.
        ("BASE", "1234567890123456BASE", False),
        ("BASE11", "BASE1", False),
        ("XBASE", "BASE", False),
        ("0BASE", "BASE", True),
        ("11", "1", True),
    ],
)
def test_ports_that_can_make_the_same_id(one: str, other: str, collide: bool) -> None:
    assert ports_collide(one, other) is collide
    assert ports_collide(other, one) is collide


def test_of_two_that_collide_the_first_enabled_one_stays() -> None:
    old = {**GOOD, "key_name": "Old", "key": "old", "enabled": False}
    found = parsed(old, {**GOOD, "key_name": "New", "port": "1BASE11"}, {**GOOD, "key_name": "Late", "key": "late"})
    assert [key.name for key in found.keys] == ["New"]
    assert sorted(reason.split("'")[1] for reason in found.refused) == ["Late", "Old"]


def test_names_and_secrets_are_there_once() -> None:
    found = parsed(GOOD, {**GOOD, "key": "b", "port": "X"}, {**GOOD, "key_name": "C", "port": "Y"})
    assert [key.name for key in found.keys] == ["A"]
    assert "same key_name" in found.refused[0] and 'the key of "A"' in found.refused[1]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "not JSON"),
        (b"[{]", "line 1"),
        (b"{}", "list"),
        (b"\xff\xfe[", "UTF-8"),
        (b"[" * 100_000, "nested"),
        (b"[" + b"1" * 5000 + b"]", "too long"),
        (b'[{"key": "a", "key": "b"}]', '"key" twice'),
    ],
)
def test_a_broken_file_says_why(data: bytes, word: str) -> None:
    with pytest.raises(BrokenKeyFile, match=word):
        parse(data)


def test_entries_that_are_no_objects_are_refused() -> None:
    found = parsed(None, 5, [], "x", GOOD)
    assert len(found.refused) == 4 and [key.name for key in found.keys] == ["A"]


def test_what_is_not_known_is_said_and_does_no_harm() -> None:
    found = parsed({**GOOD, "instaler": {}, "comment": "x"})
    assert len(found.keys) == 1 and not found.refused
    assert "'comment'" in found.warnings[0] and "'instaler'" in found.warnings[1]
