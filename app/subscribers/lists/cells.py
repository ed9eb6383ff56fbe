"""Readers of cells as people and spreadsheets write them.

Each takes a cell that is not empty, without blanks around it, and returns its value.  Each raises
ValueError with the reason for the report of the import.  Pure.
"""

import re
from datetime import UTC, datetime, tzinfo

from app.csv_cells import simplify_header
from app.subscribers.attributes import (
    MAX_ATTRIBUTE_CHARACTERS,
    MAX_TAG_CHARACTERS,
    MAX_TAGS,
    MAX_WHOLE_NUMBER,
    is_time_zone,
    make_tag_name,
    normalise_language,
    normalise_tag,
)
from app.subscribers.lists.columns import WORDS

_TAG_SEPARATORS = re.compile(r"[,;|\n]|:::")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,15})(?:[.,][0-9]{1,15})?")
_CLOCK = r"(?P<time>[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?)"
_TIME = re.compile(
    r"(?P<year>[0-9]{4})(?P<sign>[-/])(?P<month>[0-9]{1,2})(?P=sign)(?P<day>[0-9]{1,2})"
    rf"(?:(?:T| +){_CLOCK} *(?P<offset>Z|UTC|GMT|[+-][0-9]{{2}}(?::?[0-9]{{2}})?)?)?"
)
_GERMAN_TIME = re.compile(
    r"(?P<day>[0-9]{1,2})\.(?P<month>[0-9]{1,2})\.(?P<year>[0-9]{4})"
    rf"(?:,? +{_CLOCK})?(?P<offset>)"
)
# Digits alone, such as milliseconds since 1970, are no time; nor is a day before texts existed.
_FIRST_YEAR = 1990
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
        return _BOOLEANS[simplify_header(cell)]
    except KeyError as e:
        raise ValueError("Neither true nor false.") from e


def read_number(cell: str) -> int | float:
    """Return a number, which may have a point or a comma before its decimals."""
    if not _NUMBER.fullmatch(cell):
        raise ValueError("Not a number.")
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

    A time without an offset is one of `zone`.

    >>> from datetime import UTC
    >>> read_datetime("2025-03-01 08:30+02:00", zone=UTC, now=datetime.now(UTC)).isoformat()
    '2025-03-01T06:30:00+00:00'
    """
    parts = _TIME.fullmatch(cell) or _GERMAN_TIME.fullmatch(cell)
    if parts is None:
        raise ValueError(_NO_TIME)
    day = f"{parts['year']}-{parts['month']:0>2}-{parts['day']:0>2}"
    time = parts["time"] or ""
    time = time and f"T{'0' if time[1] == ':' else ''}{time}"
    offset = re.sub("UTC|GMT", "Z", parts["offset"] or "")
    try:
        moment = datetime.fromisoformat(day + time + offset)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError) as e:
        raise ValueError(_NO_TIME) from e
    if moment.year < _FIRST_YEAR:
        raise ValueError(_NO_TIME)
    if moment > now:
        raise ValueError("In the future.")
    return moment
