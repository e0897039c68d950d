"""The journal on a real store: once each, in one transaction, paged and filtered."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio

from agent.alarms.evidence import EvidenceKeeper, MediaFile
from agent.alarms.journal import Journal
from agent.alarms.model import Alarm, Evidence, JournalledAlarm, Kind, Media
from agent.alarms.retention import Retirement
from agent.metrics import Metrics
from agent.settings.models import MediaStore, Retention
from agent.store import Store

START = datetime(2026, 1, 1, tzinfo=UTC)


def place(device: str) -> tuple[str, int]:
    return "9998", int(device or 0)


def alarm(number: int, **changes: object) -> Alarm:
    values = {"kind": Kind.PERSON, "occurred_at": START + timedelta(minutes=number), "description": "somebody"}
    return Alarm(str(number), **{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    for source in ("yard", "gate"):
        metrics.add_source(source, "davantis")
    return metrics


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "varde.db")
    yield opened
    opened.close()


@pytest.fixture
def journal(store: Store, metrics: Metrics) -> Journal:
    return Journal(store, metrics, enqueue)


def enqueue(connection: sqlite3.Connection, entry: JournalledAlarm) -> None:
    connection.execute(
        "INSERT INTO outbox (alarm_id, sink, account, created_at) VALUES (?, 'receiver', ?, '')",
        (entry.id, entry.account),
    )


async def count(store: Store, table: str) -> int:
    return int(await store.read(lambda c: c.execute(f"SELECT count(*) FROM {table}").fetchone()[0]))


async def test_the_same_alarm_twice_is_one_row_and_one_delivery(journal: Journal, store: Store) -> None:
    assert len(await journal.record("yard", [alarm(1), alarm(2)], {"mark": 2}, place)) == 2
    assert await journal.record("yard", [alarm(2), alarm(1)], {"mark": 2}, place) == []
    assert len(await journal.record("yard", [alarm(1, epoch="replaced unit")], {"mark": 1}, place)) == 1
    assert len(await journal.record("gate", [alarm(1)], {"mark": 1}, place)) == 1
    assert await count(store, "alarms") == await count(store, "outbox") == 4


async def test_alarms_position_and_outbox_stand_or_fall_together(store: Store, metrics: Metrics) -> None:
    def broken(connection: sqlite3.Connection, entry: JournalledAlarm) -> None:
        if entry.alarm.native_id == "2":
            raise sqlite3.OperationalError("disk I/O error")
        enqueue(connection, entry)

    journal = Journal(store, metrics, broken)
    with pytest.raises(sqlite3.OperationalError):
        await journal.record("yard", [alarm(1), alarm(2)], {"mark": 2}, place)
    assert await count(store, "alarms") == await count(store, "outbox") == 0
    assert await journal.position("yard") is None


async def test_an_alarm_comes_back_as_it_went_in(journal: Journal) -> None:
    given = alarm(7, device="3", device_name="Gate æøå 🚪", armed=False, raw={"id": 7, "x": [1, {"y": None}]})
    [entry] = await journal.record("yard", [given], None, place)
    found = await journal.alarm(entry.id)
    assert found == entry and found is not None
    assert found.alarm == given and (found.account, found.zone) == ("9998", 3)
    assert await journal.alarm(entry.id + 1) is None


async def test_text_that_no_database_takes_loses_no_alarm(journal: Journal) -> None:
    [entry] = await journal.record("yard", [alarm(1, description="half \ud83d", raw={"t": "\ud83d"})], None, place)
    assert entry.alarm.description == "half ?"


async def test_pages_and_filters(journal: Journal) -> None:
    await journal.record("yard", [alarm(index) for index in range(10)], None, place)
    await journal.record("gate", [alarm(20, kind=Kind.TAMPER)], None, place)
    page = await journal.alarms(after=3, limit=4)
    assert [entry.id for entry in page] == [4, 5, 6, 7]
    assert [entry.id for entry in await journal.alarms(newest_first=True, limit=2, before=11)] == [10, 9]
    assert [entry.source for entry in await journal.alarms(source="gate")] == ["gate"]
    assert [entry.id for entry in await journal.alarms(kind=Kind.TAMPER)] == [11]
    hours = {"since": START + timedelta(minutes=2), "until": START + timedelta(minutes=5)}
    assert [entry.alarm.native_id for entry in await journal.alarms(**hours)] == ["2", "3", "4"]  # type: ignore[arg-type]


async def test_the_bell_rings_for_new_alarms_only(journal: Journal) -> None:
    rung = journal.changed.listen()
    await journal.record("yard", [alarm(1)], None, place)
    assert rung.is_set()
    rung = journal.changed.listen()
    await journal.record("yard", [alarm(1)], {"mark": 1}, place)
    assert not rung.is_set()


async def test_objects_tell_where_each_alarm_went(journal: Journal) -> None:
    recorded = await journal.record("yard", [alarm(1)], None, place)
    [told] = await journal.objects(recorded)
    assert told["deliveries"][0]["sink"] == "receiver" and told["deliveries"][0]["state"] == "pending"
    assert told["occurred_at"] == "2026-01-01T00:01:00.000Z" and told["source_alarm_id"] == "1"


async def test_ready_at_the_device_is_recording_until_it_is_here(journal: Journal, store: Store) -> None:
    [entry] = await journal.record("yard", [alarm(1, snapshot=Evidence.READY, video=Evidence.UNAVAILABLE)], None, place)
    assert entry.alarm.snapshot is Evidence.RECORDING and entry.alarm.video is Evidence.UNAVAILABLE
    assert await count(store, "media") == 1


class Retired:
    """A store with pictures that were fetched, one a day, and the keeper over them."""

    def __init__(self, store: Store, journal: Journal, metrics: Metrics, directory: Path) -> None:
        self.store, self.journal, self.metrics, self.directory = store, journal, metrics, directory
        self.settings = MediaStore(max_age_s=10**6, max_bytes=10**9, min_free_bytes=0)

    async def fill(self, days: int) -> None:
        self.directory.mkdir()
        recorded = await self.journal.record(
            "yard", [alarm(index, snapshot=Evidence.READY) for index in range(days)], None, place
        )
        for entry in recorded:
            (self.directory / f"{entry.id}.jpg").write_bytes(b"x" * 1000)
            at = f"2026-01-{entry.id:02}T00:00:00.000Z"
            await self.store.write(
                lambda c, entry=entry, at=at: c.execute(
                    "UPDATE media SET state = 'ready', path = ?, content_type = 'image/jpeg', bytes = 1000,"
                    " fetched_at = ? WHERE alarm_id = ?",
                    (f"{entry.id}.jpg", at, entry.id),
                )
            )

    def keeper(self, now: datetime, **changes: float) -> EvidenceKeeper:
        settings = self.settings.model_copy(update=changes)
        return EvidenceKeeper(self.journal, {}, self.directory, settings, self.metrics, lambda: now)

    def files(self) -> list[int]:
        return sorted(int(path.stem) for path in self.directory.glob("*.jpg"))


@pytest.fixture
async def pictures(store: Store, journal: Journal, metrics: Metrics, tmp_path: Path) -> Retired:
    retired = Retired(store, journal, metrics, tmp_path / "media")
    await retired.fill(9)
    return retired


async def test_pictures_go_by_age(pictures: Retired) -> None:
    keeper = pictures.keeper(datetime(2026, 1, 10, tzinfo=UTC), max_age_s=3.5 * 86400)
    await keeper.tidy()
    assert pictures.files() == [7, 8, 9]
    assert await keeper.file(1, Media.SNAPSHOT) is Evidence.EXPIRED
    kept = await keeper.file(9, Media.SNAPSHOT)
    assert isinstance(kept, MediaFile) and kept.content_type == "image/jpeg"


async def test_pictures_go_by_bytes_oldest_first(pictures: Retired) -> None:
    await pictures.keeper(datetime(2026, 1, 10, tzinfo=UTC), max_bytes=4500).tidy()
    assert pictures.files() == [6, 7, 8, 9]


async def test_pictures_go_before_the_disk_is_full(pictures: Retired) -> None:
    await pictures.keeper(datetime(2026, 1, 10, tzinfo=UTC), min_free_bytes=2**62).tidy()
    assert pictures.files() == []
    value = pictures.metrics.registry.get_sample_value
    assert value("varde_media_discarded_total", {"reason": "disk"}) == 9


async def test_alarms_are_forgotten_by_age_but_never_one_that_waits(
    store: Store, journal: Journal, tmp_path: Path
) -> None:
    recorded = await journal.record("yard", [alarm(index) for index in range(6)], None, place)
    await store.write(lambda c: c.execute("UPDATE outbox SET state = 'acknowledged' WHERE alarm_id <> 2"))
    await store.write(lambda c: c.execute("UPDATE outbox SET state = 'rejected' WHERE alarm_id = 4"))
    later = recorded[0].received_at + timedelta(days=3)
    retirement = Retirement(store, lambda: Retention(alarms_s=2 * 86400), tmp_path, lambda: later)
    await retirement.once()
    assert [entry.id for entry in await journal.alarms()] == [2, 4]
    assert await count(store, "outbox") == 2


async def test_writers_at_once_number_without_holes(journal: Journal) -> None:
    async with trio.open_nursery() as nursery:
        for index in range(50):
            nursery.start_soon(journal.record, "yard", [alarm(index)], {"mark": index}, place)
    assert [entry.id for entry in await journal.alarms()] == list(range(1, 51))
