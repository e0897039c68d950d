"""Alarms as events: codes, texts, fields, and what fits."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.alarms.model import Alarm, JournalledAlarm, Kind
from agent.settings.sinks import CodeOverride
from agent.sinks.dc09.codes import CODES, PERIODIC_TEST
from agent.sinks.dc09.frame import MAX_FRAME_BYTES, Line
from agent.sinks.dc09.message import Wording, message_of_test
from agent.sinks.dc09.text import plain, windows

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
LINE = Line("9998")


def alarm(kind=Kind.PERSON, *, zone=3, source="yard", **fields):
    fields = {"device": "3", "device_name": "Gate", "description": "Person detected", "occurred_at": NOW} | fields
    return JournalledAlarm(1, source, NOW, "9998", zone, Alarm(native_id="1", kind=kind, **fields))


def data_of(entry, **wording):
    return Wording(**wording).message(entry, LINE, NOW).data


@pytest.mark.parametrize(
    ("kind", "new", "restoral", "cid", "cid_restoral"),
    [
        (Kind.INTRUSION, "BA", "BR", "1130", "3130"),
        (Kind.PERSON, "BA", "BR", "1130", "3130"),
        (Kind.VEHICLE, "BA", "BR", "1130", "3130"),
        (Kind.MOVEMENT, "BA", "BR", "1130", "3130"),
        (Kind.TAMPER, "TA", "TR", "1137", "3137"),
        (Kind.EXTERNAL_TRIGGER, "UA", "UR", "1150", "3150"),
        (Kind.OTHER, "UA", "UR", "1150", "3150"),
        (Kind.ARMED, "CL", "OP", "3401", "1401"),
        (Kind.DISARMED, "OP", "CL", "1401", "3401"),
        (Kind.ACCESS_DENIED, "DD", "DD", "1421", "3421"),
        (Kind.DOOR_FORCED, "DF", "DR", "1423", "3423"),
        (Kind.LOW_BATTERY, "XT", "XR", "1302", "3302"),
        (Kind.POWER, "AT", "AR", "1301", "3301"),
        (Kind.CAMERA_LOST, "UT", "UJ", "1380", "3380"),
        (Kind.CAMERA_RESTORED, "UJ", "UJ", "3380", "3380"),
        (Kind.SYSTEM, "UT", "UJ", "1380", "3380"),
    ],
)
def test_codes(kind, new, restoral, cid, cid_restoral):
    assert data_of(alarm(kind)) == f"N{new}003^Gate^"
    assert data_of(alarm(kind, restoral=True)) == f"N{restoral}003^Gate^"
    assert data_of(alarm(kind), format="adm-cid") == f"{cid} 00 003"
    assert data_of(alarm(kind, restoral=True), format="adm-cid") == f"{cid_restoral} 00 003"


def test_every_kind_has_a_code():
    assert set(CODES) == set(Kind)


def test_a_source_goes_by_its_own_number():
    numbers = {"yard": 1, "hall": 2}
    assert data_of(alarm(Kind.SOURCE_LOST, zone=0, source="hall"), source_numbers=numbers) == "NET002^Gate^"
    assert data_of(alarm(Kind.SOURCE_RESTORED, zone=0, source="hall"), source_numbers=numbers) == "NER002^Gate^"


def test_the_unit_itself_has_codes_of_its_own():
    assert data_of(alarm(Kind.LOW_BATTERY, zone=0, device="", device_name="")) == "NYT000"
    assert data_of(alarm(Kind.SYSTEM, zone=0, device="", device_name="")) == "NJO000"


@pytest.mark.parametrize(
    ("name", "description", "new", "restoral"),
    [
        ("Freezer temp", "too low: low", "ZA", "ZH"),
        ("Server room temperature", "high", "KA", "KH"),
        ("Cellar water", "alarm", "WA", "WH"),
        ("Freezer", "high, -4.5 F", "KA", "KH"),
        ("Pressure", "high", "UA", "UR"),
        ("Cold room", "alarm", "UA", "UR"),
    ],
)
def test_what_an_environment_alarm_measures_stands_in_its_words(name, description, new, restoral):
    entry = alarm(Kind.ENVIRONMENT, device_name=name, description=description)
    assert data_of(entry).startswith(f"N{new}003")
    ended = alarm(Kind.ENVIRONMENT, device_name=name, description=f"normal again (was {description})", restoral=True)
    assert data_of(ended).startswith(f"N{restoral}003")


def test_codes_are_overridden_one_by_one():
    codes = {Kind.PERSON: CodeOverride(sia="BV", cid="131")}
    assert data_of(alarm(), codes=codes) == "NBV003^Gate^"
    assert data_of(alarm(restoral=True), codes=codes) == "NBR003^Gate^"
    assert data_of(alarm(), codes=codes, format="adm-cid") == "1131 00 003"


def test_a_large_zone_is_fine_in_sia_and_would_break_contact_id():
    assert data_of(alarm(zone=1234)) == "NBA1234^Gate^"
    assert data_of(alarm(zone=1234), format="adm-cid") == "1130 00 000"


def test_the_registered_name_of_the_zone_comes_before_the_devices():
    def zone_name(account, zone):
        return {("9998", 3): "Port øst"}.get((account, zone))

    assert data_of(alarm(), zone_name=zone_name) == "NBA003^Port ost^"
    assert data_of(alarm(zone=4), zone_name=zone_name) == "NBA004^Gate^"
    assert data_of(alarm(device_name=""), zone_name=lambda account, zone: None) == "NBA003^3^"


def test_fields_and_their_order():
    wording = Wording(site="fredrikstad-01", link=lambda entry: "https://10.0.0.5/m/7f3a.jpg")
    message = wording.message(alarm(), LINE, NOW)
    assert message.extended == ("Vhttps://10.0.0.5/m/7f3a.jpg", "IPerson detected", "LGate", "Sfredrikstad-01")
    assert message.has_extras and message.bare == "NBA003"


def test_contact_id_carries_one_field():
    wording = Wording("adm-cid", "site", link=lambda entry: "https://x/y")
    assert wording.message(alarm(), LINE, NOW).extended == ("Vhttps://x/y",)
    late = alarm(occurred_at=NOW - timedelta(hours=1))
    assert [item[0] for item in wording.message(late, LINE, NOW).extended] == ["H"]


@pytest.mark.parametrize(("seconds", "is_late"), [(0, False), (10, False), (11, True), (86400, True), (-60, False)])
def test_a_late_alarm_carries_its_time(seconds, is_late):
    occurred_at = NOW - timedelta(seconds=seconds)
    extended = Wording().message(alarm(occurred_at=occurred_at), LINE, NOW).extended
    stamp = occurred_at.strftime("H%H:%M:%S,%m-%d-%Y")
    assert (stamp in extended) is is_late


@pytest.mark.parametrize("link", ["https://x/" + "a" * 250, "https://x/]", "ftp://x/", "https://x/ y", 'https://x/"'])
def test_a_link_that_would_break_the_frame_is_left_out(link):
    assert not any(
        item.startswith("V") for item in Wording(link=lambda entry: link).message(alarm(), LINE, NOW).extended
    )


@pytest.mark.parametrize("key", [None, b"k" * 16])
@pytest.mark.parametrize("format", ["sia-dcs", "adm-cid"])
@given(description=st.text(max_size=600), name=st.text(max_size=300), link=st.integers(0, 246))
def test_every_alarm_fits_and_breaks_no_frame(key, format, description, name, link):
    line = Line("9998", key=key)
    wording = Wording(format, "a site with a long name" * 20, link=lambda entry: "https://x/" + "a" * link)
    entry = alarm(description=description, device_name=name, occurred_at=NOW - timedelta(hours=1))
    message = wording.message(entry, line, NOW)
    assert len(line.event(message.identifier, 9999, message.data, message.extended, at=NOW)) <= MAX_FRAME_BYTES
    assert message.extended[0].startswith("H")
    for text in (message.data, *message.extended):
        assert text.isascii() and text.isprintable() and not set(text) & set('[]|"\r\n')


def test_the_important_fields_stay_when_there_is_no_room():
    line = Line("9998", key=b"k" * 16)
    link = "https://x/" + "a" * 240
    wording = Wording(site="s" * 256, link=lambda entry: link)
    entry = alarm(description="d" * 256, device_name="n" * 256, occurred_at=NOW - timedelta(hours=1))
    extended = wording.message(entry, line, NOW).extended
    assert [item[0] for item in extended][:3] == ["H", "V", "I"] and extended[1] == "V" + link


def test_periodic_test():
    assert message_of_test("sia-dcs", PERIODIC_TEST).data == "NRP000"
    assert message_of_test("adm-cid", PERIODIC_TEST).data == "1602 00 000"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ærlig Østgård på Åsen", "Aerlig Ostgard pa Asen"),
        ("æøåÆØÅ", "aeoaAeOA"),
        ("Málaga – Straße", "Malaga - Strasse"),
        ("A\u030asen", "Asen"),  # A with a ring of its own
        ('a[b]c|d^e/f"g\\h\ni\x00j', "a b c d e f g h i j"),
        ("日本", ""),
        ("  two   blanks ", "two blanks"),
        ("21 °C", "21 deg C"),
    ],
)
def test_plain_letters(text, expected):
    assert plain(text) == expected


def test_letters_of_windows_stay_where_the_receiver_takes_them():
    assert windows("Østgård 日 ł") == "Østgård l"
    extended = Wording(raw_text=True).message(alarm(description="Østgård"), LINE, NOW).extended
    assert "IØstgård" in extended
    assert "^Ostgard^" in data_of(alarm(device_name="Østgård"), raw_text=True)


@given(st.text(max_size=700))
def test_plain_is_plain(text):
    for made in (plain(text), windows(text)):
        assert len(made) <= 256 and not set(made) & set('[]|^/"\\\r\n\0')
    assert plain(text).isascii()
