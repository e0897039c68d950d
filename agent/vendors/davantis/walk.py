"""Every alarm above a mark, however many: a walk backwards in time over pages that are cut off. Sans-I/O.

    newest page ──short──────────────────────────────────────▶ done
        │ full
        ▼
    until the oldest row's second ──▶ page ──short──▶ anything later than what was found? ──no──▶ done
        ▲                              │ new rows                      │ yes: walk that as well
        ├──────────────────────────────┤
        │                              │ full, and nothing new: one second holds a page
        └── a second back ◀── ask that second camera by camera, then event by event; still full: a gap

Facts (manual; traps). A list holds the newest rows and silently leaves the older ones out, 300 by default; the cap can
be set at the site. Whether `max_date` includes its own second is not said, and whether rows are ordered by time or by
id is said both ways; a clock that was set separates the two. Decisions: a page is suspected to be full from 20 rows on
and known not to be where it is shorter than the longest before; each step repeats the second it ended in; what the
clock hid is asked for at the end. Dates are given back in the form the device uses, because a zone-less one means the
device's own reading of its clock.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from agent.vendors.davantis.records import AlarmFilter, AlarmRecord

SUSPECT_ROWS = 20
MAX_ROWS = 50_000
MAX_STUCK = 5
SECOND = timedelta(seconds=1)
EVENTS = (0, 1, 2, 3, 7, 10, 11, 18, 102)


class Walk:
    """Ask `next` of the device and hand the page to `take`, until `next` is None; then `rows` is complete but for
    `gaps`, the seconds that hold more rows than could be told apart.

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
        self._base = wanted
        self._mark = mark
        self._utc = utc
        self._cameras = {"0", *cameras}
        self._longest = 0
        self._pages = 0
        self._stuck = 0
        self._until: datetime | None = None
        self._split: set[datetime] = set()
        self._questions: list[AlarmFilter] = [wanted]
        self._looking_later = False

    @property
    def next(self) -> AlarmFilter | None:
        """The question whose answer `take` expects."""
        return self._questions[-1] if self._questions else None

    def take(self, page: list[AlarmRecord]) -> None:
        """The answer to `next`."""
        question = self._questions.pop()
        fresh = [row for row in page if row.id > self._mark and row.id not in self.rows]
        self.rows.update((row.id, row) for row in fresh)
        if len(self.rows) > MAX_ROWS:
            self._give_up()
        elif question.cameras:
            self._within_a_second(question, page)
        else:
            self._step(page, bool(fresh))

    def _step(self, page: list[AlarmRecord], fresh: bool) -> None:
        self._pages += 1
        cut_off = len(page) >= max(SUSPECT_ROWS, self._longest)
        self._longest = max(self._longest, len(page))
        if not cut_off:
            self._look_later()
            return
        oldest = min((row.started for row in page if row.started), key=self._utc, default=None)
        if oldest is None:
            self._give_up()  # full, and nothing to go back by
            return
        floor = oldest.replace(microsecond=0)
        if fresh:
            self._stuck = 0
            self._ask_until(floor + SECOND)
        else:
            self._back_a_second(floor)

    def _ask_until(self, until: datetime) -> None:
        self._until = until
        self._questions.append(replace(self._base, max_date=until))

    def _back_a_second(self, floor: datetime) -> None:
        """A full page of known rows: all in the second `floor`, or next to it."""
        self._stuck += 1
        if self._stuck > MAX_STUCK:
            self._give_up()  # a device that does not heed max_date would be asked for ever
            return
        after = floor + SECOND
        earlier = self._until is None or self._utc(after) < self._utc(self._until)
        self._ask_until(after if earlier or self._until is None else self._until - SECOND)
        if floor not in self._split:
            self._split.add(floor)
            # From the second before to the one after: covers `floor` whether the bounds belong to the range or not.
            window = replace(self._base, min_date=floor - SECOND, max_date=after)
            cameras = self._cameras | {row.camera for row in self.rows.values() if row.camera}
            self._questions.extend(replace(window, cameras=(camera,)) for camera in sorted(cameras))

    def _within_a_second(self, question: AlarmFilter, page: list[AlarmRecord]) -> None:
        if len(page) < self._longest:
            return
        if question.events:
            if question.max_date is not None:
                self.gaps.append(question.max_date - SECOND)
            return
        events = {*EVENTS, *(row.event for row in self.rows.values() if row.event is not None)}
        self._questions.extend(replace(question, events=(event,)) for event in sorted(events))

    def _look_later(self) -> None:
        """One question after a walk of several pages: rows later than all that were found.

        Where pages are ordered by id and the clock was set back meanwhile, they are older ids with later instants.
        """
        latest = max((row.started for row in self.rows.values() if row.started), key=self._utc, default=None)
        if self._looking_later or self._pages < 2 or latest is None:
            return
        self._looking_later = True
        self._until, self._stuck = None, 0
        self._base = replace(self._base, min_date=latest.replace(microsecond=0))
        self._questions.append(self._base)

    def _give_up(self) -> None:
        """What is older than the rows found so far stays unknown."""
        oldest = min((row.started for row in self.rows.values() if row.started), key=self._utc, default=None)
        self.gaps.append(oldest or datetime(1970, 1, 1))  # noqa: DTZ001 - no instant is known
        self._questions.clear()
