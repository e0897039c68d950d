"""What the device says, however it says it."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.faults import Fault, FaultClass
from agent.vendors.davantis.records import AlarmFilter, alarm_records, as_utc, utc_offset


def test_the_recorded_keys_are_read():
    row = {
        "id": 7,
        "idmachine": "AB12",
        "idrule": 1,
        "idevent": 11,
        "idcamera": 3,
        "description": "some.key",
        "description_translation": "Someone",
        "started": "2026-03-01T21:14:05Z",
        "snapshot_status": "ready",
        "video_status": "recording",
    }
    (record,) = alarm_records([row], "device")
    assert (record.id, record.machine, record.event, record.camera) == (7, "AB12", 11, "3")
    assert record.description == "Someone"
    assert record.started == datetime(2026, 3, 1, 21, 14, 5, tzinfo=UTC)
    assert (record.snapshot_status, record.video_status) == ("ready", "recording")
    assert record.raw is row


def test_the_key_stands_in_for_a_missing_translation():
    assert alarm_records([{"id": 1, "description": "some.key"}], "x")[0].description == "some.key"


@pytest.mark.parametrize("document", [None, 3, "x", {}, {"fault": 1}, [None], [{}], [{"id": "x"}], [{"id": -1}], [[1]]])
def test_an_answer_without_ids_is_a_fault_as_a_whole(document):
    with pytest.raises(Fault) as caught:
        alarm_records(document, "device")
    assert caught.value.fault_class is FaultClass.PROTOCOL


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["idmachine", "idevent", "idcamera", "description", "description_translation", "started", "video_status"]


@given(st.fixed_dictionaries({"id": st.integers(0, 2**63 - 1)}, optional=dict.fromkeys(KEYS, JSON)))
def test_anything_else_may_be_anything(row):
    (record,) = alarm_records([row], "device")
    assert record.id == row["id"]


@pytest.mark.parametrize(
    ("value", "hours"),
    [("+02:00", 2), ("+0200", 2), ("0200", 2), ("UTC+2", 2), ("-05:30", -5.5), ("Z", 0), (2, 2), (120, 2), (7200, 2),
     ("7200", 2), (-3.5, -3.5), ("+05:45:00", 5.75), (0, 0)],
)  # fmt: skip
def test_offsets_in_every_form(value, hours):
    assert utc_offset(value) == timedelta(hours=hours)


@pytest.mark.parametrize("value", [None, True, "x", [], {}, "99:00", 10**40, "+25:00", ""])
def test_no_offset_is_none(value):
    assert utc_offset(value) is None


def test_a_naive_instant_is_read_with_the_offset():
    assert as_utc(datetime.fromisoformat("2026-03-01T01:00"), timedelta(hours=2)) == datetime(
        2026, 2, 28, 23, tzinfo=UTC
    )


def test_dates_are_asked_for_in_utc_or_as_the_device_wrote_them():
    aware = datetime(2026, 3, 1, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))
    wanted = AlarmFilter(
        armed=True,
        min_id=5,
        min_date=aware,
        max_date=datetime.fromisoformat("2026-03-01"),
        cameras=("0", "3"),
        events=(0, 102),
    )
    assert wanted.query() == {
        "cra": "yes",
        "min_id": "5",
        "min_date": "2026-02-28T23:02:03Z",
        "max_date": "2026-03-01T00:00:00",
        "camera_id": "0,3",
        "event_id": "0,102",
    }
