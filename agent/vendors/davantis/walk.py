"""Every alarm above a mark, however many: a list that is cut off is asked for in stretches of time. Sans-I/O.

    all of time ──short page──▶ complete
        │ full page
        ▼
    [ …………………… p+1 ]        the older stretch: full again, and split again
              [ p ………… ]     the newer one: about four fifths of the page, hence short, hence complete
        │ a stretch of two seconds is still full
        ▼
    camera by camera, then event by event; still full: a gap

Facts (manual; traps). A list holds the newest rows and leaves the older ones out without a word, 300 by default; the
cap can be set at the site. Whether a date bound belongs to the range is not said, and whether rows are ordered by time
or by id is said both ways; a clock that was set (every autumn, where instants have no zone) separates the two.
Decisions: only a page that cannot have been cut off counts as complete, so that no order needs to be believed; a page
may be full from 20 rows on and is not where it is shorter than the longest so far; neighbouring stretches share a
second. Dates are given back in the form the device uses: a zone-less one means the device's own reading of its clock.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from agent.vendors.davantis.records import AlarmFilter, AlarmRecord

SUSPECT_ROWS = 20
MAX_ROWS = 50_000
MAX_FRUITLESS = 30
"""full pages in a row that say nothing new: such a device does not heed the dates"""
SECOND = timedelta(seconds=1)
SHORTEST = 3 * SECOND
EVENTS = (0, 1, 2, 3, 7, 10, 11, 18, 102)


class Walk:
    """Ask `next` of the device and hand the page to `take`, until `next` is None; then `rows` is complete but for
    `gaps`, the moments around which more rows exist than could be told apart.

    `wanted` is the filter of the whole walk; rows up to `mark` are left out whatever the device makes of `min_id`.
    `utc` turns a device's instant into a comparable one; `cameras` are the ids to split a second by.
    """

    def __init__(
        self,
        wanted: AlarmFilter,
        mark: int,
        *,
        utc: Callable[[datetime], datetime],
        cameras: Iterable[str] = (),
    ) -> None:
        self.rows: dict[int, AlarmRecord] = {}
        self.gaps: list[datetime] = []
        self._mark = mark
        self._utc = utc
        self._cameras = {"0", *cameras}
        self._longest = 0
        self._fruitless = 0
        since = wanted.min_date.replace(microsecond=0) if wanted.min_date else None
        self._questions = [replace(wanted, min_date=since)]

    @property
    def next(self) -> AlarmFilter | None:
        """The question whose answer `take` expects."""
        return self._questions[-1] if self._questions else None

    def take(self, page: list[AlarmRecord]) -> None:
        """The answer to `next`."""
        question = self._questions.pop()
        fresh = [row for row in page if row.id > self._mark and row.id not in self.rows]
        self.rows.update((row.id, row) for row in fresh)
        full = len(page) >= max(SUSPECT_ROWS, self._longest)
        self._longest = max(self._longest, len(page))
        if not full:
            return
        self._fruitless = 0 if fresh else self._fruitless + 1
        if len(self.rows) > MAX_ROWS or self._fruitless > MAX_FRUITLESS:
            self._give_up()
        elif question.events:
            self.gaps.append(question.min_date or self._oldest())
        elif question.cameras:
            self._split_by_event(question)
        else:
            self._split_by_time(question, page)

    def _split_by_time(self, question: AlarmFilter, page: list[AlarmRecord]) -> None:
        instants = sorted((row.started for row in page if row.started), key=self._utc)
        if not instants:
            self._give_up()  # full, and nothing to tell its rows apart by
            return
        pivot = instants[len(instants) // 5].replace(microsecond=0)
        begin, end = question.min_date, question.max_date
        if begin and end and self._utc(end) - self._utc(begin) < SHORTEST:
            self._split_by_camera(question)
            return
        if end and self._utc(pivot) > self._utc(end - 2 * SECOND):
            pivot = end - 2 * SECOND
        if begin and self._utc(pivot) < self._utc(begin + SECOND):
            pivot = begin + SECOND
        self._questions += [replace(question, max_date=pivot + SECOND), replace(question, min_date=pivot)]

    def _split_by_camera(self, question: AlarmFilter) -> None:
        cameras = self._cameras | {row.camera for row in self.rows.values() if row.camera}
        self._questions += [replace(question, cameras=(camera,)) for camera in sorted(cameras)]

    def _split_by_event(self, question: AlarmFilter) -> None:
        events = {*EVENTS, *(row.event for row in self.rows.values() if row.event is not None)}
        self._questions += [replace(question, events=(event,)) for event in sorted(events)]

    def _oldest(self) -> datetime:
        instants = (row.started for row in self.rows.values() if row.started)
        return min(instants, key=self._utc, default=datetime(1970, 1, 1))  # noqa: DTZ001 - no instant is known

    def _give_up(self) -> None:
        self.gaps.append(self._oldest())
        self._questions.clear()
