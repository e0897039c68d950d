"""Deliver alarms by SIA DC-09: numbers, main and standby receiver, supervision, tests.

                 three tries without an answer
    main ────────────────────────────────────────→ standby (where there is one)
      ↑                                               │
      └──── main answers a probe (every 10 s at the longest) ──┘

Facts. A receiver may leave one account unanswered while it serves the others; one that lacks an event's text or code
answers DUH for ever. Decisions: whether a receiver is down is about all accounts, while an alarm that the main one
leaves unanswered goes to the standby all the same; after a DUH the bare event is tried, so that an operator sees at
least that, then the standby, then the alarm is set aside.
"""

import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import trio

from agent.alarms.model import Delivery, JournalledAlarm
from agent.faults import Fault, FaultClass, Rejected
from agent.settings.sinks import Dc09Sink as Dc09Settings
from agent.settings.sinks import decode_key
from agent.sinks.dc09.codes import PERIODIC_TEST
from agent.sinks.dc09.frame import LAST_SEQUENCE, Line, Word
from agent.sinks.dc09.message import Link, Message, Wording, ZoneName, message_of_test
from agent.sinks.dc09.station import TRIES, Station
from agent.sinks.dc09.supervision import ask_for_a_sign, supervise

log = logging.getLogger("varde.dc09")

NAMES_S = 10.0
MAX_NAMES = 1000
_ACCOUNT = re.compile(r"^[0-9A-Fa-f]{3,16}$")

ChangeState = Callable[[Callable[[dict[str, Any]], Any]], Awaitable[Any]]
"""Apply a change to the sink's durable document and return what it returned, once it is on disk."""


class Dc09Sink:
    """`agent.alarms.model.Sink`. `supervision_account` stands in NULL and test messages; None: there are none.

    `change_state` makes the counter durable; without it (a probe from the command line) it lives in memory.
    """

    def __init__(
        self,
        settings: Dc09Settings,
        *,
        site: str = "",
        supervision_account: str | None = None,
        source_numbers: Mapping[str, int] | None = None,
        link: Link = lambda alarm: None,
        zone_name: ZoneName = lambda account, zone: None,
        change_state: ChangeState | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = settings.name
        self.settings = settings
        self._account = settings.account or supervision_account
        self._key = decode_key(settings.encryption_key.get_secret_value()) if settings.encryption_key else None
        self._wording = Wording(
            settings.format, site, settings.raw_text, settings.codes, source_numbers or {}, link, _remembered(zone_name)
        )
        self._change_state = change_state or _in_memory()
        self._now = now
        self._report: Callable[[Fault | None], None] = lambda fault: None
        self._busy: dict[str, trio.Lock] = {}
        self._ready: dict[str, _Event] = {}  # account -> its next event, its frame made ahead
        self._running = False
        self.main = self._station("main", settings.host, settings.port)
        standby = settings.standby
        self.standby = self._station("standby", standby.host, standby.port) if standby else None
        self.stations = [self.main, *([self.standby] if self.standby else [])]

    @property
    def on_standby(self) -> bool:
        """Whether the standby receiver takes the alarms because the main one does not answer."""
        return self.standby is not None and self.main.answers is False and self.standby.answers is True

    def watch(self, report: Callable[[Fault | None], None]) -> None:
        """`report(None)` whenever a receiver answers again, `report(fault)` when none does any more."""
        self._report = report

    def first_memo(self, alarm: JournalledAlarm, state: dict[str, Any]) -> str:
        """The sequence number of the alarm's frames; the counter is the sink's, not an account's."""
        return f"{_next_number(state):04d}"

    async def deliver(self, delivery: Delivery) -> None:
        if delivery.memo is None:
            self._account_of(delivery.alarm)  # a number is not spent on what cannot be sent
            await delivery.note(f"{await self._change_state(_next_number):04d}")
        event = self._event(delivery)
        lock = self._busy.setdefault(event.line.account, trio.Lock())
        if lock.locked():
            await lock.acquire()
        else:
            lock.acquire_nowait()
        try:
            await self._send(event, partial(self._prepare, delivery.following) if delivery.following else None)
        finally:
            lock.release()

    async def run(self) -> None:
        self._running = True
        try:
            async with trio.open_nursery() as nursery:
                self._start_supervision(nursery)
                await trio.sleep_forever()
        finally:
            self._running = False
            self.close()

    async def probe(self) -> str:
        """A supervision message to each receiver; also before `run`, whose connections it leaves alone."""
        if self._account is None:
            return f"no account to send a supervision message with: set account in [[sinks]] {self.name} or in a source"
        try:
            line = self._line(self._account)
            found = [await ask_for_a_sign(station, line, interval_s) for station, interval_s in self._intervals()]
        finally:
            if not self._running:
                self.close()
        return "; ".join(found)

    def close(self) -> None:
        for station in self.stations:
            station.close()

    # --- events -------------------------------------------------------------------------------------------------

    async def _send(self, event: "_Event", meanwhile: Callable[[], None] | None = None) -> None:
        """Through the stations in turn; raises the main one's fault, or `Rejected` where all that answer say DUH."""
        fault: Fault | None = None
        for station, tries in self._order():
            try:
                if await self._to(station, event, tries, meanwhile):
                    return
            except Fault as failed:
                fault = fault or failed
                if failed.fault_class is FaultClass.PROTOCOL:
                    break  # it answers: the standby is for receivers that do not
        if event.is_bare:
            raise Rejected(
                "The receiver does not understand the event (DUH). Set another code for its kind in codes, or have "
                "the receiver's event table completed, then retry the delivery."
            )
        assert fault is not None
        raise fault

    def _order(self) -> list[tuple[Station, int]]:
        if self.standby is None:
            return [(self.main, TRIES)]
        if self.main.answers is False:
            return [(self.standby, TRIES), (self.main, 1)]
        return [(self.main, TRIES), (self.standby, TRIES)]

    async def _to(
        self, station: Station, event: "_Event", tries: int, meanwhile: Callable[[], None] | None = None
    ) -> bool:
        """Whether the station acknowledged; False for a DUH, to the bare event as well."""
        if await station.ask(event.frame, event.sequence, tries, meanwhile) is not Word.DUH:
            return True
        if event.is_bare:
            return False
        event.is_bare = True
        if not event.has_extras:
            return False
        return await self._to(station, event, 1)

    def _event(self, delivery: Delivery) -> "_Event":
        """Raises `Rejected` where the alarm has no place to go."""
        entry = delivery.alarm
        account = self._account_of(entry)
        ready = self._ready.pop(account, None)
        if ready is not None and ready.id == delivery.id:
            return ready
        assert delivery.memo is not None
        line = self._line(account)
        return _Event(delivery.id, line, int(delivery.memo), lambda: self._wording.message(entry, line, self._now()))

    def _prepare(self, following: Delivery) -> None:
        """Make the account's next frame while the receiver thinks about this one."""
        if following.memo is None:
            return
        try:
            event = self._event(following)
            event.frame(self._order()[0][0].clock())
        except Rejected:
            return  # said when its turn comes
        self._ready[event.line.account] = event

    def _account_of(self, entry: JournalledAlarm) -> str:
        account = entry.account or self.settings.account
        if not account:
            raise Rejected(
                f"The alarm has no account: set account in [[sources]] {entry.source}, or account in [[sinks]] "
                f"{self.name}, then retry the delivery."
            )
        if not _ACCOUNT.match(account):
            raise Rejected(f"The account {account[:20]!r} has no 3 to 16 hex digits.")
        return account

    # --- supervision and tests ----------------------------------------------------------------------------------

    def _start_supervision(self, nursery: trio.Nursery) -> None:
        if self._account is None:
            if self.settings.supervision_interval_s:
                log.warning("sink=%s no account is configured for supervision messages, so none are sent", self.name)
            return
        line, has_standby = self._line(self._account), self.standby is not None
        for station, interval_s in self._intervals():
            if interval_s or has_standby:
                nursery.start_soon(partial(supervise, station, line, interval_s, is_alone=not has_standby))
        if self.settings.periodic_test_s:
            nursery.start_soon(self._test_periodically, line)

    def _intervals(self) -> list[tuple[Station, float]]:
        """Each station and how often it is to get a supervision message; 0: never."""
        found = [(self.main, self.settings.supervision_interval_s)]
        if self.standby is not None and self.settings.standby is not None:
            found.append((self.standby, self.settings.standby.supervision_interval_s))
        return found

    async def _test_periodically(self, line: Line) -> None:
        message = message_of_test(self.settings.format, PERIODIC_TEST)
        while True:
            await trio.sleep(self.settings.periodic_test_s)
            sequence = await self._change_state(_next_number)
            async with self._busy.setdefault(line.account, trio.Lock()):
                try:
                    await self._send(_Event(0, line, sequence, lambda: message))
                except (Fault, Rejected) as failed:
                    log.warning("sink=%s the periodic test is not acknowledged: %s", self.name, failed)

    # --- parts --------------------------------------------------------------------------------------------------

    def _line(self, account: str) -> Line:
        return Line(account, self.settings.receiver, self.settings.line_prefix, self._key)

    def _station(self, role: str, host: str, port: int) -> Station:
        return Station(
            host,
            port,
            self.settings.protocol,
            role=role,
            sink=self.name,
            reply_timeout_s=self.settings.reply_timeout_s,
            changed=self._changed,
            now=lambda: self._now(),
        )

    def _changed(self, station: Station, before: bool | None) -> None:
        if station is self.main and self.standby is not None:
            if station.answers is False:
                log.warning("sink=%s the main receiver is down, alarms go to the standby: %s", self.name, station.fault)
            elif before is False:
                log.info("sink=%s the main receiver answers again and gets the alarms", self.name)
        if any(each.answers for each in self.stations):
            self._report(None)
        else:
            self._report(self.main.fault or station.fault)


class _Event:
    """One event on its way. A frame is made anew when the second of its stamp is another: the text of a late alarm
    gains its time of occurrence, and a receiver has a clock of its own.
    """

    def __init__(self, id: int, line: Line, sequence: int, message: Callable[[], Message]) -> None:
        self.id = id
        self.line = line
        self.sequence = sequence
        self.is_bare = False
        self.has_extras = False
        self._message = message
        self._made: tuple[datetime, bool, bytes] | None = None

    def frame(self, at: datetime) -> bytes:
        second = at.replace(microsecond=0)
        if self._made is not None and self._made[:2] == (second, self.is_bare):
            return self._made[2]
        message = self._message()
        self.has_extras = message.has_extras
        data, extended = (message.bare, ()) if self.is_bare else (message.data, message.extended)
        frame = self.line.event(message.identifier, self.sequence, data, extended, at=at)
        self._made = (second, self.is_bare, frame)
        return frame


def _next_number(state: dict[str, Any]) -> int:
    """The number after the last one of a sink's durable document, 0001 to 9999 and round again."""
    last = state.get("sequence")
    number = (last if isinstance(last, int) else 0) % LAST_SEQUENCE + 1
    state["sequence"] = number
    return number


def _remembered(zone_name: ZoneName) -> ZoneName:
    """Each name for ten seconds: a burst of alarms must not ask the registry for each."""
    names: dict[tuple[str, int], tuple[float, str | None]] = {}

    def name_of(account: str, zone: int) -> str | None:
        now = time.monotonic()
        until, name = names.get((account, zone), (0.0, None))
        if until <= now:
            if len(names) > MAX_NAMES:
                names.clear()
            name = zone_name(account, zone)
            names[account, zone] = (now + NAMES_S, name)
        return name

    return name_of


def _in_memory() -> ChangeState:
    state: dict[str, Any] = {}

    async def change(change: Callable[[dict[str, Any]], Any]) -> Any:
        return change(state)

    return change
