"""Texts, numbers, flags and times, as Lockt writes them and as nobody should."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from agent.vendors.lockt.values import as_flag, as_number, as_stamp, as_text, as_whole, repaired

WORDS = ["Switch™ Bridge", "Grünerløkka", "Ålesund – ‘Øst’", "ÆØÅ æøå", "Дверь", "门", "🚪 exit", "Ÿ"]


@pytest.mark.parametrize("text", WORDS)
def test_broken_letters_are_repaired(text: str) -> None:
    broken = "".join(
        bytes([byte]).decode("cp1252") if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else chr(byte)
        for byte in text.encode()
    )
    assert repaired(broken) == text


@pytest.mark.parametrize("text", [*WORDS, "", "Kjøkken â„¢".replace("â„¢", "™"), "Ã", "â€", "naïve café", "Â 5"])
def test_whole_letters_stay(text: str) -> None:
    assert repaired(text) == text


def test_one_text_may_hold_both() -> None:
    assert repaired("Kjøkken Switchâ„¢") == "Kjøkken Switch™"


@given(some.text())
def test_any_text_can_be_written_down(text: str) -> None:
    as_text(text).encode()


@pytest.mark.parametrize("value", [None, [], {}, object()])
def test_what_is_no_text_is_empty(value: object) -> None:
    assert as_text(value) == ""


@pytest.mark.parametrize(("value", "number"), [(7, 7), ("7", 7), (" -1 ", -1), (7.0, 7)])
def test_whole_numbers(value: object, number: int) -> None:
    assert as_whole(value) == number


@pytest.mark.parametrize("value", ["", " ", None, True, "7.5", 7.5, "１", 2**70, float("inf"), [], "9" * 30])
def test_what_is_no_whole_number(value: object) -> None:
    with pytest.raises(ValueError):
        as_whole(value)


@pytest.mark.parametrize("value", ["", None, True, "nan", "inf", 1e999, [], "1" * 50])
def test_what_is_no_number(value: object) -> None:
    with pytest.raises(ValueError):
        as_number(value)


@pytest.mark.parametrize("value", [True, "true", "True", 1, "1"])
def test_what_is_so(value: object) -> None:
    assert as_flag(value)


@pytest.mark.parametrize("value", [False, "false", 0, None, "", "yes", [], {}, 2, [1]])
def test_what_is_not_said_is_not_so(value: object) -> None:
    assert not as_flag(value)


def test_a_time_is_local_or_utc_by_its_form() -> None:
    utc, local = as_stamp("2026-07-01T12:00:00.000Z"), as_stamp("2026-07-01 14:00:00")
    assert utc and local
    assert (utc.is_local, local.is_local) == (False, True)
    oslo = ZoneInfo("Europe/Oslo")
    assert utc.at(oslo) == local.at(oslo) == datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["2026-07-01T12:00:00.1234567Z", "2026-07-01T12:00:00Z", "2026-07-01", "2026-07-01T12:00:00+02:00"]
)
def test_other_forms_of_a_time(text: str) -> None:
    assert as_stamp(text) is not None


@pytest.mark.parametrize(
    "value",
    ["", None, 7, "yesterday", "2026-13-01 00:00:00", "0001-01-01 00:00:00", "9999-12-31T23:59:59Z", "2026-07-01" * 9],
)
def test_what_is_no_time(value: object) -> None:
    assert as_stamp(value) is None
