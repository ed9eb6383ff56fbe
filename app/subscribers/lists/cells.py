"""Readers of cells as people and spreadsheets write them.

Each takes a cell that is not empty, without blanks around it, and returns its value.  Each raises
ValueError with the reason for the report of the import.  Pure.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo

from app.clock import LARGEST_OFFSET_HOURS, is_skipped
from app.phone.characters import simplify_characters
from app.subscribers.attributes import (
    FIRST_YEAR,
    MAX_ATTRIBUTE_CHARACTERS,
    MAX_TAG_CHARACTERS,
    MAX_TAGS,
    MAX_WHOLE_NUMBER,
    is_time_zone,
    make_tag_name,
    normalise_language,
    normalise_tag,
)
from app.subscribers.lists.columns import WORDS, simplify_cell

_TAG_SEPARATORS = re.compile(r"[,;|\n]|:::")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,15})(?:[.,][0-9]{1,15})?")
# A thousand in some countries, and one in others.
_THOUSANDS = re.compile(r"-?[1-9][0-9]{0,2}[.,][0-9]{3}")
_CLOCK = (
    r"(?P<hour>[0-9]{1,2}):(?P<rest>[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?)"
    r"(?: ?(?P<half>[ap])m)?"
    r"(?: *(?P<offset>Z|(?:UTC|GMT)(?:[+-][0-9]{2}:?[0-5][0-9])?|[+-][0-9]{2}(?::?[0-5][0-9])?)"
    r"(?: \([^()]{1,40}\))?)?"
)
_DAY, _YEAR, _MONTH_NAME = r"(?P<day>[0-9]{1,2})", r"(?P<year>[0-9]{4})", r"(?P<month>[A-Z]{3,9})"
_WEEKDAY = r"(?:(?P<weekday>[A-Z]{3,9}),? )?"
# As ISO 8601 and databases write a time, as people of most of Europe do, and with a month's name.
_TIMES = [
    re.compile(rf"{day}(?:(?:T|,? +){_CLOCK})?", re.IGNORECASE)
    for day in (
        rf"{_YEAR}(?P<sign>[-/.])(?P<month>[0-9]{{1,2}})(?P=sign){_DAY}",
        rf"{_DAY}\.(?P<month>[0-9]{{1,2}})\.{_YEAR}",
        rf"{_WEEKDAY}{_DAY}[ -]{_MONTH_NAME}[ -]{_YEAR}",
        rf"{_WEEKDAY}{_MONTH_NAME} {_DAY},? {_YEAR}",
    )
]
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MAX_OFFSET = timedelta(hours=LARGEST_OFFSET_HOURS)
# Digits alone, such as milliseconds since 1970, are no time.
_NOON = 12
_NO_TIME = "Not a time such as 2025-12-31T08:30:00Z or 2025-12-31."
_BOOLEANS = {word: value == "true" for value in ("true", "false") for word in WORDS["cells"][value]}


def read_text(cell: str, limit: int = MAX_ATTRIBUTE_CHARACTERS) -> str:
    """Return a text of at most `limit` characters."""
    if len(cell) > limit:
        raise ValueError(f"Longer than {limit} characters.")
    if "\0" in cell:
        raise ValueError("Holds a NUL character.")
    return cell


def read_language(cell: str) -> str:
    """Return a short tag of RFC 5646."""
    language = normalise_language(cell)
    if language is None:
        raise ValueError("Not a language such as sv, pt-BR or zh-Hans.")
    return language


def read_time_zone(cell: str) -> str:
    """Return the name of a time zone."""
    if not is_time_zone(cell):
        raise ValueError("Not a time zone such as Europe/Stockholm.")
    return cell


def read_boolean(cell: str) -> bool:
    """Return True or False for a word of one of several languages."""
    try:
        return _BOOLEANS[simplify_cell(cell)]
    except KeyError as e:
        raise ValueError("Neither true nor false.") from e


def read_number(cell: str) -> int | float:
    """Return a number, which may have a point or a comma before its decimals.

    >>> read_number("-1,5"), read_number("0.125")
    (-1.5, 0.125)
    """
    if not _NUMBER.fullmatch(cell):
        raise ValueError("Not a number.")
    if _THOUSANDS.fullmatch(cell):
        raise ValueError("Thousands or decimals: write it without a sign, or with fewer decimals.")
    if not cell.removeprefix("-").isdecimal():
        return float(cell.replace(",", "."))
    if abs(int(cell)) > MAX_WHOLE_NUMBER:
        raise ValueError("A number of more than 53 bits.")
    return int(cell)


def read_tags(cell: str) -> tuple[str, ...]:
    """Return the tags of a cell, separated by comma, semicolon, bar, line break or `:::`.

    Characters that no tag may have become blanks, and a name of such characters alone no tag: a
    person is not lost for the name of a group.

    >>> read_tags("B2B/Wholesale, Newsletter & SMS"), read_tags("* myContacts ::: Friends")
    (('b2b wholesale', 'newsletter sms'), ('mycontacts', 'friends'))
    """
    names = [make_tag_name(name) for name in _TAG_SEPARATORS.split(cell)]
    tags = [normalise_tag(name) for name in names if name]
    if None in tags:
        raise ValueError(f"A tag of more than {MAX_TAG_CHARACTERS} characters.")
    if len(tags) > MAX_TAGS:
        raise ValueError(f"More than {MAX_TAGS} tags.")
    return tuple(dict.fromkeys(tag for tag in tags if tag))


def read_datetime(cell: str, *, zone: tzinfo, now: datetime) -> datetime:
    """Return a time of the past in UTC: ISO 8601, as databases write it, or `31.12.2025`.

    A month may have its English name.  A time without an offset is one of `zone`.

    >>> from datetime import UTC
    >>> read_datetime("2025-03-01 08:30+02:00", zone=UTC, now=datetime.now(UTC)).isoformat()
    '2025-03-01T06:30:00+00:00'
    """
    plain = simplify_characters(cell)
    parts = next(filter(None, (time.fullmatch(plain) for time in _TIMES)), None)
    if parts is None:
        raise ValueError(_NO_TIME)
    day = f"{parts['year']}-{_read_month(parts['month']):0>2}-{parts['day']:0>2}"
    time = f"T{_read_hour(parts)}:{parts['rest']}" if parts["rest"] else ""
    offset = (parts["offset"] or "").upper()
    offset = re.sub("^(?:UTC|GMT)(?=.)", "", offset).replace("UTC", "Z").replace("GMT", "Z")
    try:
        local = datetime.fromisoformat(day + time + offset)
        local = local if local.tzinfo else local.replace(tzinfo=zone)
        moment = local.astimezone(UTC)
    except (ValueError, OverflowError) as e:
        raise ValueError(_NO_TIME) from e
    weekday = (parts.groupdict().get("weekday") or "").lower()
    is_day = _WEEKDAYS[local.weekday()].startswith(weekday)
    is_zone = abs(local.utcoffset() or timedelta()) <= _MAX_OFFSET
    if moment.year < FIRST_YEAR or not (is_day and is_zone):
        raise ValueError(_NO_TIME)
    if time and is_skipped(local):
        raise ValueError("The clocks of our zone skip this time: write its offset from UTC.")
    if moment > now:
        raise ValueError("In the future.")
    return moment


def _read_month(month: str) -> str:
    """Return a month's number.  Raises ValueError for a word that is no month."""
    if month.isdecimal():
        return month
    name = month.lower()
    found = [number for number, known in enumerate(_MONTHS, 1) if known.startswith(name)]
    if len(found) != 1:
        raise ValueError(_NO_TIME)
    return str(found[0])


def _read_hour(parts: re.Match[str]) -> str:
    """Return the hour of 24 in two digits.  Raises ValueError for "13 am"."""
    hour, half = int(parts["hour"]), parts["half"]
    if half and not 1 <= hour <= _NOON:
        raise ValueError(_NO_TIME)
    if half:
        hour = hour % _NOON + (_NOON if half.lower() == "p" else 0)
    return f"{hour:02}"
