"""Bulk load of users: what an installer does on the first day.

    spreadsheet ─→ Line ─→ NewUser ──dry run──→ checked against the documented rules and the site's own records
                                    └─load────→ blocks of 100, validate_fails_batch off → each rejected row with its
                                                line number and the vendor's words

A dry run only reads. A load sends what the spreadsheet says, for the vendor to judge; only what cannot be put into a
request at all (an access level that the site does not have, a time that says UTC) is turned down here.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from agent.faults import Fault
from agent.vendors.lockt import reference as lockt
from agent.vendors.lockt.client import LocktClient
from agent.vendors.lockt.errors import BatchResult, LocktBusy, LocktRejected, RejectedRecord
from agent.vendors.lockt.models import AccessLevel, NewUser, Reference, User
from agent.vendors.lockt.reference import Options
from agent.vendors.lockt.spreadsheet import Line
from agent.vendors.lockt.values import as_local_time, as_stamp

BUSY_TRIES = 5
REQUIRED = ("id_num", "first_name", "last_name", "email", "phone", "pin")
UNIQUE = ("id_num", "email", "card_num")
_PLAIN = (
    "id_num", "first_name", "last_name", "email", "phone", "card_num", "pin",
    "custom1", "custom2", "custom3", "custom4",
)  # fmt: skip
_YES_NO = {"true": True, "1": True, "yes": True, "ja": True} | dict.fromkeys(("false", "0", "no", "nei"), False)


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A row that did not or would not go in; `number` is 0 where the vendor's echo fits no row."""

    number: int
    who: str
    words: tuple[str, ...]


@dataclass
class Report:
    """`stopped` says why the load ended early; the rows from `unsure_from` on may or may not have been written."""

    rows: int = 0
    result: BatchResult = field(default_factory=BatchResult)
    rejected: list[RejectedLine] = field(default_factory=list)
    stopped: str = ""
    unsure_from: int = 0

    @property
    def ignored(self) -> int:
        """Rows of existing users that were left alone, because updating was not asked for."""
        done = self.result
        return max(0, done.submitted - done.inserted - done.updated - done.processed - done.errors)

    @property
    def good(self) -> bool:
        return not self.rejected and not self.stopped and not self.result.errors


@dataclass(frozen=True, slots=True)
class SiteRecords:
    """What the site has: read once, before anything is checked or sent."""

    levels: Sequence[AccessLevel]
    users: Sequence[User]
    cards: frozenset[str]

    def level(self, text: str) -> int | None:
        """An access level by id or by name."""
        for level in self.levels:
            if text == str(level.id) or text.casefold() == level.name.casefold():
                return level.id
        return None

    def id_of(self, line: Line) -> int:
        """The user to be updated, by id number; -1 for a new one."""
        wanted = line.values.get("id_num", "")
        return next((user.id for user in self.users if wanted and user.id_num == wanted), -1)


class Unfit(Exception):
    """A row that cannot be put into a request; the arguments are sentences."""


async def read_site(client: LocktClient) -> SiteRecords:
    users = await client.read(lockt.USERS)
    credentials = await client.read(lockt.CREDENTIALS)
    cards = {user.card_num for user in users} | {credential.card_num for credential in credentials}
    return SiteRecords(await client.read(lockt.ACCESS_LEVELS), users, frozenset(cards - {""}))


def to_user(line: Line, site: SiteRecords, *, update: bool) -> NewUser:
    """The record of a row: only the cells that hold something, so that an update leaves the rest. Raises `Unfit`."""
    words: list[str] = []
    values = line.values
    record: dict[str, Any] = {key: values[key] for key in _PLAIN if values.get(key)}
    identifier = site.id_of(line) if update else -1
    for key in ("access_effective", "access_expires"):
        try:
            record |= {key: as_local_time(values[key])} if values.get(key) else {}
        except ValueError as error:
            words.append(f"{key} {error}: {values[key]}")
    enabled = values.get("enabled", "") or ("true" if identifier == -1 else "")
    if enabled and enabled.lower() not in _YES_NO:
        words.append(f"enabled must be true or false: {enabled}")
    names = [name.strip() for name in re.split(r"[;|,]", values.get("accesslevels", "")) if name.strip()]
    levels = {name: site.level(name) for name in names}
    words += [f"There is no access level {name}." for name, level in levels.items() if level is None]
    if words:
        raise Unfit(*words)
    if enabled:
        record["enabled"] = _YES_NO[enabled.lower()]
    if names:
        record["accesslevels"] = [Reference(id=level) for level in levels.values() if level is not None]
    return NewUser(id=identifier, **record)


def dry_run(lines: Sequence[Line], site: SiteRecords, *, update: bool) -> Report:
    """Everything the reference documents, checked without writing."""
    report = Report(rows=len(lines))
    counts = {key: Counter(line.values.get(key, "").casefold() for line in lines) for key in UNIQUE}
    for line in lines:
        words: list[str] = []
        try:
            user = to_user(line, site, update=update)
        except Unfit as fault:
            words += fault.args
        else:
            words += _rules(line, is_new=user.id == -1)
            words += _taken(line, site, user.id)
        words += [f"{key} stands in more than one row" for key in UNIQUE if _is_twice(line, key, counts[key])]
        if words:
            report.rejected.append(RejectedLine(line.number, line.who, tuple(words)))
    return report


def _is_twice(line: Line, key: str, counts: Counter[str]) -> bool:
    value = line.values.get(key, "").casefold()
    return value not in ("", "-1") and counts[value] > 1


def _rules(line: Line, *, is_new: bool) -> list[str]:
    """The validation table of /user. Lengths are the site's own limits, which only the vendor knows."""
    values = line.values
    required = REQUIRED if is_new else tuple(key for key in REQUIRED if key != "pin")
    words = [f"{key} is blank" for key in required if not values.get(key)]
    if (email := values.get("email")) and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", email):
        words.append(f"email is no address: {email}")
    if (phone := values.get("phone")) and not re.fullmatch(r"\+?[\d\s().-]{5,20}", phone):
        words.append(f"phone is no number: {phone}")
    if (card := values.get("card_num")) and not re.fullmatch(r"-1|\d+", card, re.ASCII):
        words.append(f"card_num is not numeric: {card}")
    if (pin := values.get("pin")) and not re.fullmatch(r"\d+", pin, re.ASCII):
        words.append("pin is not numeric")
    return words + _dates(values)


def _dates(values: Mapping[str, str]) -> list[str]:
    given = {key: values[key] for key in ("access_effective", "access_expires") if values.get(key)}
    stamps = {key: as_stamp(text) for key, text in given.items()}
    words = [f"{key} is no date: {given[key]}" for key, stamp in stamps.items() if stamp is None]
    effective, expires = stamps.get("access_effective"), stamps.get("access_expires")
    if effective and expires and effective.moment >= expires.moment:
        words.append("access_effective is not before access_expires")
    return words


def _taken(line: Line, site: SiteRecords, own_id: int) -> list[str]:
    words = []
    for key in ("id_num", "email"):
        value = line.values.get(key, "").casefold()
        if value and any(getattr(user, key).casefold() == value and user.id != own_id for user in site.users):
            words.append(f"{key} exists in the system already: {line.values[key]}")
    card = line.values.get("card_num", "")
    if own_id == -1 and card in site.cards:
        words.append(f"card_num exists in the system already: {card}")
    return words


async def load(
    client: LocktClient,
    lines: Sequence[Line],
    site: SiteRecords,
    *,
    update: bool = False,
    replace_privileges: bool = True,
    on_progress: Callable[[int], None] = lambda rows: None,
) -> Report:
    """Write the rows, block by block. Ends early, and says where, when the cloud cannot be reached."""
    options = Options(validate_fails_batch=False, update_existing=update, replace_privileges=replace_privileges)
    report = Report(rows=len(lines))
    pending: list[tuple[Line, NewUser]] = []
    for line in lines:
        try:
            pending.append((line, to_user(line, site, update=update)))
        except Unfit as fault:
            report.rejected.append(RejectedLine(line.number, line.who, fault.args))
    on_progress(len(lines) - len(pending))
    for start in range(0, len(pending), lockt.MAX_RECORDS):
        block = pending[start : start + lockt.MAX_RECORDS]
        try:
            await _load_block(client, block, options, report)
        except Fault as fault:
            report.stopped, report.unsure_from = str(fault), block[0][0].number
            break
        on_progress(len(block))
    report.rejected.sort(key=lambda rejected: rejected.number)
    return report


async def _load_block(
    client: LocktClient, block: Sequence[tuple[Line, NewUser]], options: Options, report: Report
) -> None:
    try:
        result = await _patiently(client, [user for _, user in block], options)
    except LocktRejected as error:
        # A block that fails whole although it was asked not to: its rows are rejected, the next block is tried.
        rest = BatchResult(len(block), errors=len(block)) if not error.done.submitted else error.done
        report.result += rest
        named = list(_rejections(error.rejected, block))
        numbers = {rejected.number for rejected in named}
        report.rejected += named
        report.rejected += [
            RejectedLine(line.number, line.who, error.sentences or ("Lockt gives no reason.",))
            for line, _ in block
            if line.number not in numbers
        ]
        return
    report.result += result
    report.rejected += _rejections(result.rejected, block)


async def _patiently(client: LocktClient, users: Sequence[NewUser], options: Options) -> BatchResult:
    """Write, waiting while Lockt is busy: a request that was turned away may be sent again."""
    for _ in range(BUSY_TRIES - 1):
        try:
            return await client.write(lockt.CREATE_USERS, users, options)
        except LocktBusy as busy:
            await trio.sleep(busy.retry_after_s or 1.0)
    return await client.write(lockt.CREATE_USERS, users, options)


def _rejections(rejected: Iterable[RejectedRecord], block: Sequence[tuple[Line, NewUser]]) -> Iterable[RejectedLine]:
    """The vendor's echoes matched to the rows they came from, each row once."""
    left = [(line, user.body()) for line, user in block]
    for record in rejected:
        found = next((entry for entry in left if _echoes(entry[1], record.record)), None)
        if found is None:
            yield RejectedLine(0, str(record.record.get("id_num", ""))[:100], record.sentences)
        else:
            left.remove(found)
            yield RejectedLine(found[0].number, found[0].who, record.sentences)


def _echoes(sent: Mapping[str, Any], echoed: Mapping[str, Any]) -> bool:
    """Whether an echo is of this record: the texts that both have agree, and there is one at least."""
    shared = [key for key in _PLAIN if key in sent and key in echoed]
    return bool(shared) and all(str(sent[key]) == str(echoed[key]) for key in shared)
