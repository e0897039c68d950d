"""The walk, against a list that is cut off in every way a device may cut it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.vendors.davantis.records import AlarmFilter, alarm_records, as_utc
from agent.vendors.davantis.simulated import Device, Quirks
from agent.vendors.davantis.walk import MAX_ROWS, Walk

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
OFFSET = timedelta(hours=2)


def device(**quirks) -> Device:
    return Device(next_id=101, quirks=Quirks(utc_offset=OFFSET, **quirks), clock=lambda: 0.0, now=lambda: START)


def page(unit: Device, wanted: AlarmFilter):
    def started(alarm):
        if unit.quirks.zoneless:
            return (alarm.started + OFFSET).replace(tzinfo=None).isoformat()
        return alarm.started.isoformat()

    chosen = unit.select(wanted.query())
    return alarm_records(
        [{"id": a.id, "idcamera": a.camera, "idevent": a.event, "started": started(a)} for a in chosen], "device"
    )


def walked(unit: Device, mark: int = 100, limit: int = 2000) -> Walk:
    walk = Walk(AlarmFilter(min_id=mark), mark, utc=lambda moment: as_utc(moment, OFFSET))
    for _ in range(limit):
        if walk.next is None:
            return walk
        walk.take(page(unit, walk.next))
    raise AssertionError("the walk does not end")


def raised(unit: Device, seconds) -> list[int]:
    return [unit.happen("intrusion", started=START + timedelta(seconds=s)).id for s in seconds]


def test_nothing_new_is_one_question():
    assert walked(device()).rows == {}


def test_a_short_page_is_one_question():
    unit = device()
    ids = raised(unit, range(5))
    walk = Walk(AlarmFilter(min_id=100), 100, utc=lambda moment: moment)
    walk.take(page(unit, walk.next))
    assert walk.next is None
    assert sorted(walk.rows) == ids


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("dates", [False, True])
@pytest.mark.parametrize("order", ["id", "time"])
@pytest.mark.parametrize("zoneless", [False, True])
def test_a_backlog_of_many_pages(inclusive, dates, order, zoneless):
    unit = device(inclusive_min_id=inclusive, inclusive_dates=dates, order=order, zoneless=zoneless, cap=50)
    unit.next_id = 100
    raised(unit, [0])  # the mark itself
    ids = raised(unit, [number // 7 for number in range(1000)])
    walk = walked(unit)
    assert sorted(walk.rows) == ids
    assert walk.gaps == []


@pytest.mark.parametrize("cap", [25, 100, 300, 1000])
def test_a_cap_other_than_the_default(cap):
    unit = device(cap=cap)
    ids = raised(unit, range(700))
    assert sorted(walked(unit).rows) == ids


@pytest.mark.parametrize("dates", [False, True])
def test_a_second_that_holds_a_page_is_split_by_camera(dates):
    unit = device(cap=40, inclusive_dates=dates)
    ids = raised(unit, [*range(50), *[60] * 120, *range(70, 120)])
    walk = walked(unit)
    assert sorted(walk.rows) == ids
    assert walk.gaps == []


def test_a_second_that_one_camera_fills_is_split_by_event():
    unit = device(cap=40)
    ids = raised(unit, range(30))
    for kind in ("person", "vehicle", "intrusion"):
        ids += [unit.happen(kind, camera=2, started=START + timedelta(seconds=40)).id for _ in range(30)]
    walk = walked(unit)
    assert sorted(walk.rows) == sorted(ids)
    assert walk.gaps == []


def test_what_cannot_be_told_apart_is_a_gap_and_the_rest_is_whole():
    unit = device(cap=40)
    before = raised(unit, range(100))
    for _ in range(90):
        unit.happen("person", camera=2, started=START + timedelta(seconds=200))
    after = raised(unit, range(300, 400))
    walk = walked(unit)
    assert {*before, *after} <= set(walk.rows)
    assert walk.gaps


@pytest.mark.parametrize("ahead_s", [50, 3600])
@pytest.mark.parametrize("order", ["id", "time"])
def test_a_clock_set_back_hides_nothing(order, ahead_s):
    unit = device(cap=50, order=order)
    ids = raised(unit, [*range(ahead_s, ahead_s + 120), *range(120)])
    assert sorted(walked(unit).rows) == ids


def test_a_device_that_heeds_no_date_ends_with_a_gap():
    unit = device(cap=50)
    raised(unit, range(100))
    walk = Walk(AlarmFilter(min_id=100), 100, utc=lambda moment: moment)
    for _ in range(200):
        if walk.next is None:
            break
        walk.take(page(unit, replace(walk.next, max_date=None, min_date=None, cameras=(), events=())))
    assert walk.next is None
    assert walk.gaps


def test_rows_without_end_are_cut_off():
    walk = Walk(AlarmFilter(), -1, utc=lambda moment: moment)
    number = 0
    while walk.next is not None:
        rows = [{"id": number + i, "started": START.isoformat()} for i in range(1000)]
        number += 1000
        walk.take(alarm_records(rows, "device"))
        assert number <= MAX_ROWS + 1000
    assert walk.gaps


def test_rows_without_an_instant_are_kept():
    walk = Walk(AlarmFilter(), -1, utc=lambda moment: moment)
    walk.take(alarm_records([{"id": number} for number in range(40)], "device"))
    assert walk.next is None
    assert len(walk.rows) == 40
    assert walk.gaps


@settings(max_examples=60, deadline=None)
@given(
    seconds=st.lists(st.integers(0, 40), max_size=150),
    order=st.sampled_from(["id", "time"]),
    inclusive=st.booleans(),
    dates=st.booleans(),
    cap=st.integers(22, 60),
)
def test_complete_or_said_not_to_be(seconds, order, inclusive, dates, cap):
    unit = device(order=order, inclusive_min_id=inclusive, inclusive_dates=dates, cap=cap)
    ids = raised(unit, seconds)
    walk = walked(unit)
    assert walk.gaps or sorted(walk.rows) == ids
    assert set(walk.rows) <= set(ids)
