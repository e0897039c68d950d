"""Reading a list of unknown order, page by page, while it changes.

    pass 1: page 0, 1, 2 … last ──something new──▶ pass 2: page 0, 1, … last ──something new──▶ pass 3
                              └──nothing new──▶ page 0 again ──nothing new──▶ complete

Facts. Pages are offsets into a list that grows and shrinks: a row that arrives shifts others onto the next page,
where they come twice; a row that retention deletes pulls one past us unseen. Order, and largest page size, are
undocumented. Decisions. Our own counter drives; rows are told apart by id; a sweep is complete only when one pass
over all pages found nothing new, page 0 read again after its last included, or after three passes. A short page ends
a pass once it is known that a short page is the last: a server that caps the size is asked for what it gives. A page
that repeats the one before ends a pass too, or a server that ignores `page` would hold us for ever.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agent.vendors.milestone.records import AlarmRecord

MAX_PASSES = 3
MAX_PAGES = 20_000


@dataclass(slots=True)
class Paging:
    """What is known of the server's pages. Learnt once a process."""

    size: int
    short_is_last: bool = False
    newest_first: bool | None = None
    """whether whole passes came in descending `time`; None while unknown"""


class Sweep:
    """The state of one sweep; the caller fetches `page` and hands it to `take` until `complete`.

    `stop_before`: in a list that is newest first, rows older than this need no look where all of a page is known.
    """

    def __init__(self, paging: Paging, bound: datetime | None, *, filtered: bool, stop_before: datetime | None) -> None:
        self.paging = paging
        self.bound = bound
        self.filtered = filtered
        self.stop_before = stop_before
        self.page = 0
        self.complete = False
        self.newest: datetime | None = None
        self.began: datetime | None = None
        """the server's clock at the last pass's first page"""
        self.found: dict[str, AlarmRecord] = {}
        """the new alarms that are not handed out yet, by id"""
        self.count = 0
        """how many new alarms in all"""
        self._handed_out: set[str] = set()
        self._passes = 1
        self.page_0_again = False
        self._fresh_in_pass = 0
        self._before: list[str] = []
        self._last_time: datetime | None = None
        self._descending = True
        self._rows_in_pass = 0

    def take(self, rows: Sequence[AlarmRecord], fresh: int, asked: int) -> None:
        """A page of `asked` rows at most came, with `fresh` new alarms in it."""
        if self.page_0_again and not fresh:
            self.complete = True
            return
        self.page_0_again = False
        self._fresh_in_pass += fresh
        self._note_order(rows)
        if self._capped(rows):
            return
        ids = [row.id for row in rows]
        if self._ends(rows, ids, fresh, asked):
            self._end_pass(whole=not rows or not self._stops(rows, fresh))
        else:
            self.page += 1
            self._before = ids

    def add(self, record: AlarmRecord) -> None:
        """A new alarm; once a sweep, also where more come than a place remembers."""
        if record.id not in self.found and record.id not in self._handed_out:
            self.found[record.id] = record
            self.count += 1

    def hand_out(self, record: AlarmRecord) -> None:
        del self.found[record.id]
        self._handed_out.add(record.id)

    def note(self, updated: datetime | None, limit: datetime) -> None:
        """Remember the newest instant of a row; one beyond `limit` is a wrong clock's and says nothing."""
        if updated is not None and updated <= limit and (self.newest is None or updated > self.newest):
            self.newest = updated

    def _capped(self, rows: Sequence[AlarmRecord]) -> bool:
        """Page 1 after a short page 0: either it is empty, or the server gives fewer rows than asked for."""
        if self.paging.short_is_last or self.page != 1 or len(self._before) >= self.paging.size:
            return False
        if not rows or [row.id for row in rows] == self._before:
            self.paging.short_is_last = True
            return False
        self.paging.size = len(self._before)
        self._restart()
        return True

    def _ends(self, rows: Sequence[AlarmRecord], ids: list[str], fresh: int, asked: int) -> bool:
        if not rows or ids == self._before or self.page >= MAX_PAGES:
            return True
        return (len(rows) < asked and self.paging.short_is_last) or self._stops(rows, fresh)

    def _stops(self, rows: Sequence[AlarmRecord], fresh: int) -> bool:
        oldest = rows[-1].time
        return bool(self.stop_before and not fresh and oldest is not None and oldest < self.stop_before)

    def _end_pass(self, *, whole: bool) -> None:
        if not self.filtered:
            if not self._descending:
                self.paging.newest_first = False
            elif whole and self._rows_in_pass > 1:
                self.paging.newest_first = True
        if self._passes >= MAX_PASSES or (self._fresh_in_pass == 0 and self.page == 0):
            self.complete = True
            return
        self.page_0_again = self._fresh_in_pass == 0
        self._passes += 1
        self._restart()

    def _restart(self) -> None:
        self.page, self._before, self._fresh_in_pass = 0, [], 0
        self._last_time, self._descending, self._rows_in_pass = None, True, 0

    def _note_order(self, rows: Sequence[AlarmRecord]) -> None:
        for row in rows:
            self._rows_in_pass += 1
            if row.time is None or (self._last_time is not None and row.time > self._last_time):
                self._descending = False
            self._last_time = row.time or self._last_time
