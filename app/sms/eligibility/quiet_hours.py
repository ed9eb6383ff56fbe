"""Quiet hours: when a recipient may get marketing, by their local clock.  Pure.

A repeated hour is quiet both times.  Hours that begin in a skipped hour begin after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE
from phonenumbers.tzdata import TIMEZONE_DATA

from app.config import SubscriberRules
from app.phone.country import blank_tail
from app.phone.country_names import list_zones
from app.phone.e164 import inspect_number
from app.sms.eligibility.quiet_hours_by_country import ANYWHERE, WEEKS, Week

# Sinch keeps a batch at most 3 days: https://developers.sinch.com/docs/sms/api-reference/
LONGEST = timedelta(days=3)
LOOK_AHEAD = timedelta(days=8)

_KNOWN_DAYS = timedelta(days=1) + LOOK_AHEAD + LONGEST  # from the midnight before now
_QUARTER = 15
# Later moments have no days left to look ahead.
_LATEST = datetime.max.replace(tzinfo=UTC) - 2 * _KNOWN_DAYS
_NO_QUIET = (time(), time())

_TAIL = "0000"
_AMERICAN_LENGTH = 12

_Span = tuple[datetime, datetime]
# The zones that a phone may be in, and the country whose hours apply.
Location = tuple[tuple[str, ...], str | None]


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time in which a recipient may get marketing, aware UTC; its end is outside."""

    opens_at: datetime
    closes_at: datetime


def find_window(
    zones: Sequence[str],
    country: str | None,
    now: datetime,
    rules: SubscriberRules,
    *,
    min_open_s: float = 600,
) -> Window | None:
    """Find the next window of at least `min_open_s` that is open in all of these zones.

    An open window begins now and ends after 3 days at the latest.  Returns None without a window
    in the next 8 days, as where the zones are half a day apart.

    >>> rules = SubscriberRules(quiet_hours={"SE": (time(21), time(8))})
    >>> window = find_window(["Europe/Stockholm"], "SE", datetime(2026, 3, 1, tzinfo=UTC), rules)
    >>> window.opens_at.isoformat(), window.closes_at.isoformat()
    ('2026-03-01T07:00:00+00:00', '2026-03-01T20:00:00+00:00')
    """
    if now > _LATEST:
        return None
    names = tuple(zones) or (rules.default_zone,)
    spans = _find_open_spans(names, find_week(country, rules), now.astimezone(UTC).date())
    for opens_at, closes_at in spans:
        begins = max(opens_at, now)
        ends = min(closes_at, begins + LONGEST)
        if begins > now + LOOK_AHEAD:
            return None
        if ends > now and (ends - begins).total_seconds() >= min_open_s:
            return Window(begins, ends)
    return None


def list_open_spans(
    location: Location, begins: datetime, ends: datetime, rules: SubscriberRules
) -> list[_Span]:
    """Return the spans between two moments in which a location may get marketing.

    >>> begins = datetime(2026, 3, 1, tzinfo=UTC)
    >>> (span,) = list_open_spans(
    ...     (("Europe/Stockholm",), "SE"), begins, begins + timedelta(hours=9), SubscriberRules()
    ... )
    >>> span[0].isoformat(), span[1].isoformat()
    ('2026-03-01T07:00:00+00:00', '2026-03-01T09:00:00+00:00')
    """
    zones, country = location
    week, day = find_week(country, rules), begins.astimezone(UTC).date()
    spans = _find_open_spans(zones or (rules.default_zone,), week, day)
    return [
        (max(opens_at, begins), min(closes_at, ends))
        for opens_at, closes_at in spans
        if opens_at < ends and closes_at > begins
    ]


def find_one_zone(location: Location, at: datetime) -> str | None:
    """Return the zone of a location whose clocks agree at a time; None if they differ.

    Of several it is one of the country's own.

    >>> location = ("Europe/Guernsey", "Europe/Jersey", "Europe/London"), "GB"
    >>> find_one_zone(location, datetime(2026, 3, 1, tzinfo=UTC))
    'Europe/London'
    """
    zones, country = location
    if len({at.astimezone(ZoneInfo(zone)).utcoffset() for zone in zones}) > 1:
        return None
    own = [zone for zone in list_zones(country or "") if zone in zones]
    return own[0] if own else zones[0]


def find_week(country: str | None, rules: SubscriberRules) -> Week:
    """Return the open hours of each day, Monday first.

    Hours set for the country, else those set for all others, replace the table's.  The table's
    days without marketing stay, unless the rules switch quiet hours off.
    """
    week = WEEKS.get(country or ANYWHERE) or WEEKS[ANYWHERE]
    quiet = rules.quiet_hours.get(country or ANYWHERE) or rules.quiet_hours.get(ANYWHERE)
    if quiet is None:
        return week
    begins, ends = quiet
    if begins == ends:
        return (_NO_QUIET,) * 7
    return tuple(None if hours is None else (ends, begins) for hours in week)


def locate_phone(phone: str, stored_zone: str | None, rules: SubscriberRules) -> Location:
    """Return the zones that a phone may be in, and the country whose hours apply.

    The zones are the subscriber's stored one, else those of the number, else the default zone.

    >>> locate_phone("+46701234567", None, SubscriberRules())
    (('Europe/Stockholm',), 'SE')
    >>> locate_phone("+46701234567", "Asia/Tokyo", SubscriberRules())
    (('Asia/Tokyo',), 'SE')
    """
    by_code = _locate_codes()
    zones, country = by_code.get(phone[:3]) or by_code.get(phone[:4]) or _locate_number(phone)
    if stored_zone and is_zone(stored_zone):
        return (stored_zone,), country
    return zones or (rules.default_zone,), country


@lru_cache(maxsize=2**12)
def is_zone(name: str) -> bool:
    """Return True for a name of the IANA time zone database.

    >>> is_zone("Europe/Berlin"), is_zone("Berlin"), is_zone("../etc")
    (True, False, False)
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


@cache
def _locate_codes() -> dict[str, Location]:
    """Return the location of every calling code that has one country in one zone."""
    zones: dict[str, set[str]] = {}
    for prefix, names in TIMEZONE_DATA.items():
        for digits in (2, 3):
            if int(prefix[:digits]) in COUNTRY_CODE_TO_REGION_CODE:
                zones.setdefault(prefix[:digits], set()).update(names)
    regions = {code: COUNTRY_CODE_TO_REGION_CODE[int(code)] for code in zones}
    return {
        f"+{code}": (tuple(zones[code]), regions[code][0])
        for code in zones
        if len(zones[code]) == len(regions[code]) == 1 and regions[code][0].isalpha()
    }


def _locate_number(phone: str) -> Location:
    if phone[1:2] == "1" and len(phone) == _AMERICAN_LENGTH:
        return _locate_american(phone[:8])
    facts = _inspect(blank_tail(phone))
    return facts.zones, facts.country


@lru_cache(maxsize=2**15)
def _locate_american(exchange: str) -> Location:
    """Return the location of numbers of +1 by their area code and exchange.

    The library locates mobiles of the islands on the whole continent.
    """
    facts = _inspect(f"{exchange[:5]}200{_TAIL}")
    if not facts.valid:
        facts = _inspect(exchange + _TAIL)
    if not facts.valid:
        return (), facts.country
    zones = next(found for end in (8, 7, 6, 5, 2) if (found := TIMEZONE_DATA.get(exchange[1:end])))
    return zones, facts.country


# The library takes 100 microseconds a number.
_inspect = lru_cache(maxsize=2**16)(inspect_number)


@lru_cache(maxsize=2**12)
def _find_open_spans(zones: tuple[str, ...], week: Week, first_day: date) -> tuple[_Span, ...]:
    """Return the spans that are open in all zones, in order, from the first day's UTC midnight."""
    infos = [ZoneInfo(zone) for zone in zones]
    spans: list[_Span] = []
    for begins, ends in pairwise(_list_edges(week, first_day)):
        if all(_is_open(week, begins.astimezone(info)) for info in infos):
            if spans and spans[-1][1] == begins:
                begins = spans.pop()[0]
            spans.append((begins, ends))
    return tuple(spans)


def _list_edges(week: Week, first_day: date) -> list[datetime]:
    """List the moments at which any zone may open or close, in order.

    All offsets from UTC are quarters of an hour, and change on the quarter.
    """
    midnight = datetime.combine(first_day, time(), UTC)
    minutes = {0, *(edge.minute % _QUARTER for hours in week if hours for edge in hours)}
    quarters = range(0, _KNOWN_DAYS.days * 24 * 60, _QUARTER)
    return [
        midnight + timedelta(minutes=quarter + minute)
        for quarter in quarters
        for minute in sorted(minutes)
    ]


def _is_open(week: Week, local: datetime) -> bool:
    hours, shown = week[local.weekday()], local.time()
    if hours is None:
        return False
    opens, closes = hours
    if opens < closes:
        return opens <= shown < closes
    return shown >= opens or shown < closes
