"""Values that devices send and that nobody could store or read."""

from typing import Any

import httpx
import pytest

from agent.faults import Fault, FaultClass
from agent.vendors import wire


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"NaN",
        b'{"a": Infinity}',
        b"[1e999]",
        b"[" * 40 + b"]" * 40,
        b"[" * 200_000,
        b"1" * 5000,
        b'"\xff"',
    ],
)
def test_what_is_no_usable_json_is_a_protocol_fault(body: bytes) -> None:
    with pytest.raises(Fault) as caught:
        wire.json_of(httpx.Response(200, content=body), "the device")
    assert caught.value.fault_class is FaultClass.PROTOCOL


def test_half_a_surrogate_pair_can_be_stored() -> None:
    value = wire.json_of(httpx.Response(200, content=b'{"na\\ud800me": ["\\udfff \xc3\xb8"]}'), "the device")
    assert value == {"na?me": ["? ø"]}


@pytest.mark.parametrize(
    ("value", "seen"),
    [(7, 7), ("7", 7), (" -7 ", -7), (7.0, 7), (7.5, None), (True, None), (None, None), ("x", None), (2**70, None)],
)
def test_whole(value: Any, seen: int | None) -> None:
    assert wire.whole(value) == seen


@pytest.mark.parametrize(
    ("value", "seen"), [(True, True), ("False", False), (1, True), (0, False), (2, None), ("", None), ([], None)]
)
def test_truth(value: Any, seen: bool | None) -> None:
    assert wire.truth(value) is seen


def test_text_is_one_bounded_line() -> None:
    assert wire.text(" a\r\nb " + "x" * 300) == "a b " + "x" * 196
    assert [wire.text(value) for value in (None, True, [], {}, 2.1, 10**5000)] == ["", "", "", "", "2.1", ""]


def test_retry_after() -> None:
    seen = [wire.retry_after_s(httpx.Response(503, headers={"Retry-After": v})) for v in ("7", "9999999999", "soon")]
    assert seen == [7.0, 3600.0, None]
