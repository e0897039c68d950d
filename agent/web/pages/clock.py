"""Instants and durations for people: site time, seconds always, the date when it is not today; UTC on hover."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from markupsafe import Markup

from agent.alarms.model import instant, parse_instant
from agent.web.words import Translate

NIGHT = (21, 7)
"""Hours of site time between which the console is dark without being asked."""


class SiteClock:
    """One page's idea of now, in the site's zone."""

    def __init__(self, zone: ZoneInfo, translate: Translate, now: datetime | None = None) -> None:
        self.zone = zone
        self.now = (now or datetime.now(UTC)).astimezone(zone)
        self._t = translate

    @property
    def is_night(self) -> bool:
        return self.now.hour >= NIGHT[0] or self.now.hour < NIGHT[1]

    def time(self, moment: datetime | str | None) -> Markup:
        """`02:14:07`, with the date when that is not today; "never" for None."""
        if moment is None:
            return Markup("{}").format(self._t("never"))
        at = parse_instant(moment) if isinstance(moment, str) else moment
        local = at.astimezone(self.zone)
        text = f"{local:%H:%M:%S}" if local.date() == self.now.date() else f"{local:%Y-%m-%d %H:%M:%S}"
        return Markup('<time datetime="{}" title="{}">{}</time>').format(
            instant(at), f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC", text
        )

    def precise(self, moment: datetime | str) -> Markup:
        """Date, time and milliseconds, for one alarm's own page."""
        at = parse_instant(moment) if isinstance(moment, str) else moment
        local = f"{at.astimezone(self.zone):%Y-%m-%d %H:%M:%S.%f}"[:-3]
        return Markup('<time datetime="{}" title="{}">{}</time>').format(instant(at), f"{instant(at)}", local)

    def countdown(self, moment: datetime) -> Markup:
        """`12:41` until then; counted down by the page's script."""
        left = max(0, int((moment - self.now).total_seconds()))
        text = (
            f"{left // 3600}:{left % 3600 // 60:02}:{left % 60:02}"
            if left >= 3600
            else f"{left // 60:02}:{left % 60:02}"
        )
        return Markup('<span class="countdown" data-until="{}">{}</span>').format(int(moment.timestamp() * 1000), text)

    def duration(self, seconds: float | None) -> str:
        """`18 ms`, `0.3 s`, `12 s`, `5 min 3 s`, `3 d 4 h`."""
        if seconds is None:
            return self._t("unknown")
        seconds = max(0.0, seconds)
        if seconds < 0.1:
            return f"{seconds * 1000:.0f} {self._t('duration.ms')}"
        if seconds < 10:
            return f"{seconds:.1f} {self._t('duration.s')}"
        whole = int(seconds)
        counts = {"d": whole // 86400, "h": whole % 86400 // 3600, "min": whole % 3600 // 60, "s": whole % 60}
        parts = [f"{count} {self._t(f'duration.{unit}')}" for unit, count in counts.items() if count]
        return " ".join(parts[:2])

    def day_bounds(self, day: date | None) -> tuple[datetime, datetime]:
        """Begin and end in UTC of a day at the site, today where none is named. Raises OverflowError."""
        chosen = day or self.now.date()
        begin = datetime(chosen.year, chosen.month, chosen.day, tzinfo=self.zone)
        # The next midnight, not 24 hours on: two days of the year are shorter and longer.
        following = datetime.fromordinal(begin.date().toordinal() + 1).replace(tzinfo=self.zone)
        return begin.astimezone(UTC), following.astimezone(UTC)
