"""When a person may get marketing, by the clock on their own wall.  Pure.

An hour is quiet by what the clock shows: an hour that the clock repeats is quiet both times, and
hours that begin where the clock jumps ahead begin where it lands.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE
from phonenumbers.tzdata import TIMEZONE_DATA

from app.config import SubscriberRules
from app.phone.e164 import inspect_number
from app.sms.eligibility.quiet_hours_by_country import ANYWHERE, RULES, Week

# Sinch keeps a batch at most 3 days: https://developers.sinch.com/docs/sms/api-reference/
LONGEST = timedelta(days=3)
LOOK_AHEAD = timedelta(days=8)

_DAY = timedelta(days=1)
_KNOWN_DAYS = _DAY + LOOK_AHEAD + LONGEST  # from the midnight before now
# No zone changes its offset twice in so short a time.
_STEP = timedelta(hours=6)
_SECOND = timedelta(seconds=1)
# Beyond it there are no days left to look ahead.
_LATEST = datetime.max.replace(tzinfo=UTC) - 2 * _KNOWN_DAYS
_NO_QUIET = (time(), time())

# In a shorter number the last digits may tell its country.
_SHORT = 11
_TAIL = "0000"
_AMERICAN = 12

_Span = tuple[datetime, datetime]
_Place = tuple[tuple[str, ...], str | None]


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time in which a person may get marketing, aware UTC; its end is outside."""

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
    """From now on the first window of at least `min_open_s` that is open in all of these zones.

    It begins now when it is open, and ends after 3 days at the latest.  None when there is none
    within 8 days, as where the zones are half a day apart.

    >>> rules = SubscriberRules(quiet_hours={"SE": (time(21), time(8))})
    >>> window = find_window(["Europe/Stockholm"], "SE", datetime(2026, 3, 1, tzinfo=UTC), rules)
    >>> window.opens_at.isoformat(), window.closes_at.isoformat()
    ('2026-03-01T07:00:00+00:00', '2026-03-01T20:00:00+00:00')
    """
    if now > _LATEST:
        return None
    names = tuple(zones) or (rules.default_zone,)
    spans = _find_common_spans(names, find_week(country, rules), now.astimezone(UTC).date())
    for opens_at, closes_at in spans:
        begins = max(opens_at, now)
        ends = min(closes_at, begins + LONGEST)
        if begins > now + LOOK_AHEAD:
            return None
        if ends > now and (ends - begins).total_seconds() >= min_open_s:
            return Window(begins, ends)
    return None


def find_week(country: str | None, rules: SubscriberRules) -> Week:
    """The open hours of each day from Monday on.

    Hours set for a country, else those set for all others, take the place of the table's.  Its
    days without marketing stay, unless no hours at all are to be quiet.
    """
    week = (RULES.get(country or ANYWHERE) or RULES[ANYWHERE]).week
    quiet = rules.quiet_hours.get(country or ANYWHERE) or rules.quiet_hours.get(ANYWHERE)
    if quiet is None:
        return week
    begins, ends = quiet
    if begins == ends:
        return (_NO_QUIET,) * 7
    return tuple(None if hours is None else (ends, begins) for hours in week)


def place(phone: str, stored_zone: str | None, rules: SubscriberRules) -> _Place:
    """The zones a person may be in, and the country whose hours they keep.

    Their own zone alone where it is stored, else those of their number, else the default zone.

    >>> place("+46701234567", None, SubscriberRules())
    (('Europe/Stockholm',), 'SE')
    >>> place("+46701234567", "Asia/Tokyo", SubscriberRules())
    (('Asia/Tokyo',), 'SE')
    """
    by_code = _place_codes()
    found = by_code.get(phone[:3]) or by_code.get(phone[:4])
    zones, country = found or _locate(phone)
    if stored_zone and is_zone(stored_zone):
        return (stored_zone,), country
    return zones or (rules.default_zone,), country


@lru_cache(maxsize=2**12)
def is_zone(name: str) -> bool:
    """True for a name of the IANA time zone database.

    >>> is_zone("Europe/Berlin"), is_zone("Berlin"), is_zone("../etc")
    (True, False, False)
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


@cache
def _place_codes() -> dict[str, _Place]:
    """Where all numbers of a calling code are: those of one country in one zone."""
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


def _locate(phone: str) -> _Place:
    if phone[1:2] == "1" and len(phone) == _AMERICAN:
        return _locate_american(phone[:8])
    # Numbers that differ in their last four digits alone are in one place.
    facts = _inspect(phone[:-4] + _TAIL if len(phone) > _SHORT else phone)
    return facts.zones, facts.country


@lru_cache(maxsize=2**15)
def _locate_american(exchange: str) -> _Place:
    """Where the numbers of +1, an area code and an exchange are.

    The library takes the mobiles of the islands for those of the whole continent.
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
def _find_common_spans(zones: tuple[str, ...], week: Week, first_day: date) -> tuple[_Span, ...]:
    """The spans that are open in all zones, in order, from the first day's UTC midnight on."""
    spans = _find_spans(zones[0], week, first_day)
    for zone in zones[1:]:
        spans = tuple(_intersect(spans, _find_spans(zone, week, first_day)))
    return spans


def _intersect(ours: Sequence[_Span], theirs: Sequence[_Span]) -> Iterator[_Span]:
    i = j = 0
    while i < len(ours) and j < len(theirs):
        begins = max(ours[i][0], theirs[j][0])
        ends = min(ours[i][1], theirs[j][1])
        if begins < ends:
            yield begins, ends
        if ours[i][1] == ends:
            i += 1
        else:
            j += 1


@lru_cache(maxsize=2**12)
def _find_spans(zone: str, week: Week, first_day: date) -> tuple[_Span, ...]:
    """The spans that are open in one zone; those that touch are one."""
    spans: list[_Span] = []
    for begins, ends, offset in _find_stretches(zone, first_day):
        for opens, closes in _find_local_spans(week, begins + offset, ends + offset):
            if spans and spans[-1][1] == opens - offset:
                spans[-1] = spans[-1][0], closes - offset
            else:
                spans.append((opens - offset, closes - offset))
    return tuple(spans)


def _find_local_spans(week: Week, begins: datetime, ends: datetime) -> Iterator[_Span]:
    """What is open between two readings of a clock that does not jump between them."""
    midnight = datetime.combine(begins.date(), time(), UTC)
    while midnight < ends:
        for opens, closes in _open_on(week, midnight):
            if max(opens, begins) < min(closes, ends):
                yield max(opens, begins), min(closes, ends)
        midnight += _DAY


def _open_on(week: Week, midnight: datetime) -> Sequence[_Span]:
    hours = week[midnight.weekday()]
    if hours is None:
        return ()
    opens, closes = (datetime.combine(midnight, each, UTC) for each in hours)
    if opens < closes:
        return ((opens, closes),)
    return ((midnight, closes), (opens, midnight + _DAY))


@lru_cache(maxsize=2**11)
def _find_stretches(zone: str, first_day: date) -> tuple[tuple[datetime, datetime, timedelta], ...]:
    """The stretches of the days ahead in which a zone's offset from UTC stays the same."""
    info = ZoneInfo(zone)
    begins = moment = datetime.combine(first_day, time(), UTC)
    end = begins + _KNOWN_DAYS
    offset, stretches = _offset_at(moment, info), []
    while moment < end:
        moment += _STEP
        if _offset_at(moment, info) != offset:
            change = _find_change(moment - _STEP, moment, info)
            stretches.append((begins, change, offset))
            begins, offset = change, _offset_at(change, info)
    return (*stretches, (begins, end, offset))


def _find_change(before: datetime, after: datetime, info: ZoneInfo) -> datetime:
    """The first second of the offset that holds at `after`."""
    offset = _offset_at(after, info)
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        if _offset_at(middle, info) == offset:
            after = middle
        else:
            before = middle
    return after


def _offset_at(moment: datetime, info: ZoneInfo) -> timedelta:
    return moment.astimezone(info).utcoffset() or timedelta()
