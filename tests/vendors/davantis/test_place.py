"""The position."""

import json
from datetime import UTC, datetime, timedelta

from agent.vendors.davantis.place import MACHINES_KEPT, NEWEST_IDS_KEPT, Place

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_it_survives_json():
    place = Place(mark=7, since=NOON, machines=("A", "B"), generation=2, newest=NOON, newest_ids=(6, 7))
    assert Place.of(json.loads(json.dumps(place.position()))) == place
    assert Place.of(json.loads(json.dumps(Place().position()))) == Place()


def test_what_it_knows_by_instant():
    place = Place().seen_until(NOON, [5, 6])
    assert place.knows(1, NOON - SECOND)
    assert place.knows(5, NOON)
    assert not place.knows(7, NOON)
    assert not place.knows(5, NOON + SECOND)
    assert not Place().knows(5, NOON)


def test_ids_of_the_newest_second_add_up_and_begin_anew():
    place = Place().seen_until(NOON, [5]).seen_until(NOON, [6])
    assert place.newest_ids == (5, 6)
    assert place.seen_until(NOON - SECOND, [4]) == place
    assert place.seen_until(NOON + SECOND, [7]).newest_ids == (7,)


def test_it_stays_small():
    place = Place().seen_until(NOON, range(10_000)).with_machines(str(number) for number in range(100))
    assert len(place.newest_ids) == NEWEST_IDS_KEPT
    assert place.machines == tuple(str(number) for number in range(100 - MACHINES_KEPT, 100))


def test_epochs():
    assert Place().epoch("") == ""
    assert Place(machines=("A",)).epoch("") == "A"
    assert Place(machines=("A",)).epoch("B") == "B"
    assert Place(machines=("A",), generation=3).epoch("") == "A#3"
