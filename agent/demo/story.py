"""What the demonstration tells on standard output, as it happens."""

import click
import trio

from agent.alarms.model import JournalledAlarm
from agent.sinks.dc09.receiver import Received
from agent.site import Site


def acknowledged(event: Received) -> None:
    secret = "encrypted" if event.encrypted else "plain"
    number = f" zone {event.number}" if event.number is not None else ""
    click.echo(f"receiver  {event.code}{number} of account {event.account}, {secret}, acknowledged")


async def tell_alarms(site: Site) -> None:
    """A line an alarm, for ever."""
    after = 0
    while True:
        rung = site.journal.changed.listen()
        for entry in await site.journal.alarms(after=after):
            click.echo(_alarm(entry))
            after = entry.id
        await rung.wait()


def _alarm(entry: JournalledAlarm) -> str:
    ended = " ended" if entry.alarm.restoral else ""
    where = entry.alarm.device_name or entry.alarm.device or "the unit"
    return f"alarm     {entry.alarm.kind}{ended} at {where}, {entry.source}, zone {entry.zone}"


async def tell_clients(site: Site) -> None:
    """A line whenever clients change their import state, for ever."""
    sql = "SELECT state, count(*) FROM clients GROUP BY state ORDER BY state"
    told = ""
    while True:
        rows = await site.store.read(lambda c: c.execute(sql).fetchall())
        now = ", ".join(f"{count} {state}" for state, count in rows)
        if now and now != told:
            click.echo(f"clients   {now}")
            told = now
        await trio.sleep(0.2)
