"""Numbers, times and names as pages show them; some functions are filters of the templates.

Times of the database are in UTC.  Pages show them in the zone of DEFAULT_TIME_ZONE, which their
footer names.
"""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from flask import current_app, has_app_context

from app.config.keys import OWN_CLIENT, PEOPLE_CLIENT
from app.sms.context import Context

FILTERS = (
    "count",
    "people",
    "texts",
    "share",
    "localize",
    "clock_time",
    "clock_minutes",
    "clock_seconds",
    "day_of",
    "day_name",
    "whole_day",
)

_DAY = "%a %-d %b"


def find_zone() -> ZoneInfo:
    """Return the time zone in which pages take and show times; UTC outside of a service."""
    if not has_app_context():
        return ZoneInfo("UTC")
    ctx: Context = current_app.extensions["clarion"]
    return ZoneInfo(ctx.subscriber_rules.default_zone)


def localize(at: datetime) -> datetime:
    """Return a time of the database in the zone of the pages; one of another zone stays.

    The result is for showing: a difference of two such times ignores a change of the clock.
    """
    return at.astimezone(find_zone()) if at.tzinfo is UTC else at


def day_of(at: datetime) -> date:
    """Return the day of a time in the zone of the pages."""
    return localize(at).date()


def count(number: int) -> str:
    """Return a number with commas between thousands.

    >>> count(12431)
    '12,431'
    """
    return f"{number:,}"


def people(number: int) -> str:
    """Return a number of people.

    >>> people(1), people(1200)
    ('1 person', '1,200 people')
    """
    return "1 person" if number == 1 else f"{number:,} people"


def texts(number: int) -> str:
    """Return a number of texts.

    >>> texts(1), texts(0)
    ('1 text', '0 texts')
    """
    return "1 text" if number == 1 else f"{number:,} texts"


def share(part: int, whole: int) -> str:
    """Return a part of a whole per cent, with one decimal.

    >>> share(11874, 12431), share(1, 12431), share(0, 5), share(2, 2)
    ('95.5 %', 'under 0.1 %', '0 %', '100 %')
    """
    if not part:
        return "0 %"
    if part == whole:
        return "100 %"
    percent = part / whole * 100
    # Rounding must say neither that it is all of them nor that it is none.
    return "under 0.1 %" if percent < 0.05 else f"{min(percent, 99.9):.1f} %"


def clock_time(at: datetime, now: datetime) -> str:
    """Return a time, with its day unless that is today, and its year unless it is this one.

    >>> from datetime import UTC
    >>> now = datetime(2026, 12, 4, 10, 36, tzinfo=UTC)
    >>> clock_time(now, now), clock_time(datetime(2026, 12, 1, 9, tzinfo=UTC), now)
    ('10:36', 'Tue 1 Dec, 09:00')
    >>> clock_time(datetime(2027, 1, 5, 9, tzinfo=UTC), now)
    'Tue 5 Jan 2027, 09:00'
    """
    at, now = localize(at), localize(now)
    if at.date() == now.date():
        return f"{at:%H:%M}"
    year = "" if at.year == now.year else f" {at.year}"
    return f"{at.strftime(_DAY)}{year}, {at:%H:%M}"


def day_name(day: date, now: datetime) -> str:
    """Return a day as a heading.

    >>> now = datetime(2026, 12, 4, 10, 36)
    >>> [day_name(date(2026, 12, day), now) for day in (4, 3, 1)], day_name(date(2025, 1, 5), now)
    (['Today', 'Yesterday', 'Tue 1 Dec'], 'Sun 5 Jan 2025')
    """
    now = localize(now)
    ago = (now.date() - day).days
    if ago in (0, 1):
        return "Yesterday" if ago else "Today"
    return day.strftime(_DAY) + ("" if day.year == now.year else f" {day.year}")


def clock_seconds(at: datetime) -> str:
    """Return the time of day to the second."""
    return f"{localize(at):%H:%M:%S}"


def clock_minutes(at: datetime) -> str:
    """Return the time of day."""
    return f"{localize(at):%H:%M}"


def whole_day(at: datetime) -> str:
    """Return the day of a time with its month and year in words.

    >>> from datetime import UTC
    >>> whole_day(datetime(2027, 3, 3, 9, tzinfo=UTC))
    '3 March 2027'
    """
    return f"{localize(at):%-d %B %Y}"


def say_ahead(duration: timedelta) -> str:
    """Return how far ahead a time is.

    >>> say_ahead(timedelta(minutes=11)), say_ahead(timedelta(hours=1, seconds=5))
    ('in 11 minutes', 'in 1 hour')
    >>> say_ahead(timedelta(hours=25, minutes=7)), say_ahead(timedelta(seconds=59))
    ('in 1 day', 'in less than a minute')
    """
    minutes = int(duration.total_seconds()) // 60
    for word, size in (("day", 1_440), ("hour", 60), ("minute", 1)):
        if minutes >= size:
            number = minutes // size
            return f"in {number} {word}" if number == 1 else f"in {number} {word}s"
    return "in less than a minute"


def say_duration(duration: timedelta) -> str:
    """Return a duration in its largest unit.

    >>> say_duration(timedelta(seconds=1)), say_duration(timedelta(minutes=90))
    ('1 s', '1 h 30 min')
    """
    seconds = round(duration.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def name_actor(actor: str) -> str:
    """Return who did something, by the actor of an audit log, a ledger or a suppression.

    >>> name_actor("people:Anna"), name_actor("cli:root"), name_actor("shop"), name_actor("phone")
    ('Anna', 'the operator root', 'the client shop', 'the person')
    """
    kind, _, name = actor.partition(":")
    if kind == PEOPLE_CLIENT:
        return name or "an import"
    ours = {
        "cli": f"the operator {name}".rstrip(),
        "phone": "the person",
        "carrier": "their carrier",
        OWN_CLIENT: "Clarion",
    }
    return ours.get(kind, f"the client {actor}")
