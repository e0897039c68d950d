"""Frames byte for byte, and replies as odd as receivers make them."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sinks.dc09.frame import Line, Word, crc16, decrypt, random_pad, read_replies, wrap

VECTORS = {
    vector["id"]: vector for vector in json.loads((Path(__file__).parent / "vectors.json").read_text())["vectors"]
}
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEXTS = ("Vhttps://10.0.0.5/m/7f3a.jpg", "IPerson detected")
EVENTS = {
    "P1": ("9998", "SIA-DCS", 1, "NBA003", ()),
    "P2": ("9998", "SIA-DCS", 2, "NBA003^Gate^", TEXTS),
    "P3": ("9998", "ADM-CID", 3, "1130 00 003", ()),
    "P4": ("9998", "ADM-CID", 4, "3130 00 003", ()),
    "P7": ("9998", "SIA-DCS", 7, "NTA004", ("H02:59:58,01-02-2026",)),
    "E1": ("AAAA", "SIA-DCS", 1, "NBA003", ()),
    "E2": ("AAA2", "SIA-DCS", 1, "NBA003", ()),
    "E3": ("AAA3", "SIA-DCS", 1, "NBA003", ()),
    "E4": ("AAAA", "SIA-DCS", 2, "NBA003^Gate^", TEXTS),
    "E5": ("AAAA", "ADM-CID", 3, "1130 00 003", ()),
    "E7": ("AAAA", "SIA-DCS", 9, "NBA003^xxxxxxxxxxxx^", ()),
}


def pad(length):
    return b"PADPADPADPADPADP"[:length]


def line(vector, account):
    key = VECTORS[vector]["key_text"]
    return Line(account, key=key.encode() if key else None)


def frame(vector):
    return VECTORS[vector]["frame"].encode("ascii")


def test_the_crc_is_arc():
    assert crc16(b"123456789") == 0xBB3D


@pytest.mark.parametrize("vector", EVENTS)
def test_events_equal_the_vectors(vector):
    account, identifier, sequence, data, extended = EVENTS[vector]
    made = line(vector, account).event(identifier, sequence, data, extended, at=AT, pad=pad)
    assert made == frame(vector)
    assert line(vector, account).event_bytes(identifier, data, extended) == len(made)


@pytest.mark.parametrize("vector", [vector for vector in VECTORS if VECTORS[vector]["key_text"]])
def test_clear_texts_equal_the_vectors(vector):
    content = frame(vector).split(b"[", 1)[1].rstrip(b"\r")
    clear = decrypt(VECTORS[vector]["key_text"].encode(), content)
    assert clear.decode() == VECTORS[vector]["clear_before_encryption"]


def test_supervision_messages_equal_the_vectors():
    assert Line("9998").null(at=AT) == frame("P5")
    assert Line("9998").null(at=None) == frame("P6")
    assert line("E6", "AAAA").null(at=AT, pad=pad) == frame("E6")


def test_every_vector_is_tried():
    assert set(VECTORS) == {*EVENTS, "P5", "P6", "E6", "R1", "R2", "R3", "R4"}


def test_stamps_are_in_utc():
    from zoneinfo import ZoneInfo

    oslo = datetime(2026, 7, 1, 2, 0, 0, tzinfo=ZoneInfo("Europe/Oslo"))
    assert b"_00:00:00,07-01-2026\r" in Line("9998").null(at=oslo)


@given(st.integers(1, 16))
def test_a_pad_is_random_and_holds_no_sign_of_the_frame(length):
    made = random_pad(length)
    assert len(made) == length and not set(made) & set(b"|[]") and made.isascii()


def test_two_pads_differ():
    assert random_pad(16) != random_pad(16)


@pytest.mark.parametrize("key", [None, b"k" * 16, b"k" * 24, b"k" * 32])
@given(data=st.text("ABC^", max_size=60), extended=st.lists(st.text("xyz", max_size=90), max_size=3))
def test_the_length_is_known_beforehand(key, data, extended):
    sender = Line("9998", key=key)
    assert sender.event_bytes("SIA-DCS", data, extended) == len(sender.event("SIA-DCS", 1, data, extended, at=AT))


# --- replies ------------------------------------------------------------------------------------------------------


def words(received):
    replies, _ = read_replies(received)
    return [(reply.word, reply.sequence) for reply in replies]


@pytest.mark.parametrize(
    ("vector", "word", "sequence"),
    [("R1", Word.ACK, 1), ("R2", Word.ACK, 1), ("R3", Word.NAK, 0), ("R4", Word.DUH, 2)],
)
def test_replies_of_the_vectors(vector, word, sequence):
    assert words(frame(vector)) == [(word, sequence)]


def test_a_nak_carries_the_receivers_clock():
    [nak], _ = read_replies(frame("R3"))
    assert nak.at == AT


KEY = b"0123456789ABCDEF"
ODD = {
    "None for R": (wrap(b'"ACK"0001NoneL0#1234[]'), (Word.ACK, 1)),
    "NAK alone, without an end": (b'"NAK"', (Word.NAK, None)),
    "swapped NAK": (wrap(b'"NAK"0000L0R0A0[]_03:04:05,01-02-2026'), (Word.NAK, 0)),
    "ACK with a key": (wrap(b'"ACK"0001R0L0#9998[K0123]'), (Word.ACK, 1)),
    "RSP": (wrap(b'"RSP"0001R0L0#9998[]'), (Word.RSP, 1)),
    "no CR": (wrap(b'"ACK"0001R0L0#9998[]')[:-1], (Word.ACK, 1)),
    "CR in front of LF": (b"\r" + wrap(b'"ACK"0001R0L0#9998[]'), (Word.ACK, 1)),
    "trailing bytes": (wrap(b'"ACK"0001R0L0#9998[]') + b"\n\x00", (Word.ACK, 1)),
    "no account": (wrap(b'"ACK"0001[]'), (Word.ACK, 1)),
    "lower case": (wrap(b'"ACK"0001R0L0#9998[]').replace(b"8980", b"8980".lower()), (Word.ACK, 1)),
    "wrong length": (wrap(b'"ACK"0001R0L0#9998[]').replace(b"0014", b"0099", 1), (Word.ACK, 1)),
    "binary CRC": (
        b"\n" + crc16(b'"ACK"0001R0L0#9998[]').to_bytes(2, "big") + b'0014"ACK"0001R0L0#9998[]\r',
        (Word.ACK, 1),
    ),
    "garbage in front": (b"\xff\x00garbage\r" + wrap(b'"ACK"0001R0L0#9998[]'), (Word.ACK, 1)),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_replies_are_understood(case):
    received, expected = ODD[case]
    assert words(received) == [expected]


def test_the_same_nak_twice_is_two_replies():
    assert words(frame("R3") * 2) == [(Word.NAK, 0)] * 2


@pytest.mark.parametrize(
    "received",
    [
        b"\n\r",
        b"",
        b"\r\r\r",
        b'"',
        b'"ACK"',
        b'"ACK"0001R0L0#9998[]\r',  # no CRC: no frame
        b'\n0000001"ACK"0001R0L0#9998[]\r',
        frame("R1").replace(b"8980", b"8981"),
        frame("R1").replace(b"0001R", b"0002R"),  # somebody changed the number on the way
        wrap(b'"SIA-DCS"0001R0L0#9998[#9998|NBA003]'),
        b"\x00\xfe HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
def test_what_is_no_reply(received):
    assert words(received) == []


@given(st.integers(1, 40))
def test_a_reply_in_pieces_is_read_when_it_is_whole(cut):
    whole = frame("R2")
    replies, rest = read_replies(whole[:cut])
    assert replies == []
    replies, rest = read_replies(rest + whole[cut:])
    assert [(reply.word, reply.sequence) for reply in replies] == [(Word.ACK, 1)] and rest == b""


@given(st.binary(max_size=6000))
def test_no_bytes_break_the_reader_nor_fill_the_memory(received):
    _, rest = read_replies(received)
    assert len(rest) <= 4096


@given(st.text('"ACKNDUH0123R#[]\n\r_:,-', max_size=80))
def test_near_replies_break_nothing(text):
    read_replies(text.encode())


def test_a_stamp_that_is_no_time_is_none():
    [nak], _ = read_replies(wrap(b'"NAK"0000R0L0A0[]_99:99:99,99-99-2026'))
    assert nak.at is None
