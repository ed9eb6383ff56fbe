"""Cells of a file as people and spreadsheets write them: whole columns at a time.

Each function gives a column's values, None for an empty cell, and the faults by their place.  Pure.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo

from app.csv_cells import read_harmless
from app.phone.reader import ParsedColumn, T, read_each
from app.subscribers.attributes import (
    MAX_ATTRIBUTE_CHARACTERS,
    MAX_NAME_CHARACTERS,
    MAX_TAG_CHARACTERS,
    MAX_TAGS,
    MAX_WHOLE_NUMBER,
    is_time_zone,
    normalise_language,
    normalise_tag,
)

MAX_SOURCE_CHARACTERS = 200
MAX_WORDING_CHARACTERS = 2_000

_TAG_SEPARATORS = re.compile(r"[,;|\n]")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,15})(?:[.,][0-9]{1,15})?")
_GERMAN_TIME = re.compile(
    r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})(?:,?\s+([0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?))?"
)
_WORDS = {
    **dict.fromkeys(("true", "yes", "y", "1", "x", "ja", "j", "wahr", "sant", "oui", "vrai",
                     "si", "sí", "verdadero"), True),
    **dict.fromkeys(("false", "no", "n", "0", "nein", "falsch", "nej", "falskt", "non", "faux",
                     "falso"), False),
}  # fmt: skip


def read_names(cells: Sequence[str]) -> ParsedColumn:
    """Names of at most 100 characters."""
    return read_texts(cells, MAX_NAME_CHARACTERS)


def read_values(cells: Sequence[str]) -> ParsedColumn:
    """Values of an attribute, as text."""
    return read_texts(cells, MAX_ATTRIBUTE_CHARACTERS)


def read_texts(cells: Sequence[str], most: int) -> ParsedColumn:
    """Texts of at most so many characters, blanks around them removed."""
    joined = "\n".join(cells)
    if "'" in joined:
        cells = [read_harmless(cell) for cell in cells]
    texts = [cell.strip() or None for cell in cells]
    if "\0" not in joined and max(map(len, cells), default=0) <= most:
        return texts, {}
    faults = {}
    for place, text in enumerate(texts):
        if text and "\0" in text:
            faults[place] = "Holds a NUL character."
        elif text and len(text) > most:
            faults[place] = f"Longer than {most} characters."
    return texts, faults


def read_languages(cells: Sequence[str]) -> ParsedColumn:
    """Short tags of RFC 5646."""
    return _read_few(cells, _read_language)


def read_zones(cells: Sequence[str]) -> ParsedColumn:
    """Names of time zones."""
    return _read_few(cells, _read_zone)


def read_booleans(cells: Sequence[str]) -> ParsedColumn:
    """True or false, in the words of several languages."""
    return _read_few(cells, _read_truth)


def read_numbers(cells: Sequence[str]) -> ParsedColumn:
    """Numbers, with a point or a comma before decimals."""
    return read_each(cells, lambda cell: _read_number(cell) if cell.strip() else None)


def read_tags(cells: Sequence[str]) -> ParsedColumn:
    """Tuples of tags, divided by comma, semicolon, bar or line break; an empty one for none."""
    values, faults = _read_few(cells, _split_tags)
    return [value or () for value in values], faults


def read_datetimes(cells: Sequence[str], *, zone: tzinfo, now: datetime) -> ParsedColumn:
    """Times of the past, those without an offset as ones of `zone`."""
    return _read_few(cells, lambda cell: parse_datetime(cell, zone=zone, now=now))


def parse_datetime(cell: str, *, zone: tzinfo, now: datetime) -> datetime:
    """An ISO 8601 time or day, or a day as `31.12.2025`, in UTC.  Raises ValueError.

    >>> from datetime import UTC
    >>> parse_datetime("2025-03-01 08:30+02:00", zone=UTC, now=datetime.now(UTC)).isoformat()
    '2025-03-01T06:30:00+00:00'
    """
    german = _GERMAN_TIME.fullmatch(cell)
    if german:
        day, month, year, time = german.groups()
        cell = f"{year}-{month:0>2}-{day:0>2}" + (f"T{time:0>5}" if time else "")
    try:
        moment = datetime.fromisoformat(cell)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError) as e:
        raise ValueError("Not a time such as 2025-12-31T08:30:00Z or 2025-12-31.") from e
    if moment > now:
        raise ValueError("In the future.")
    return moment


def _read_language(cell: str) -> str:
    language = normalise_language(cell)
    if language is None:
        raise ValueError("Not a language such as sv, pt-BR or zh-Hans.")
    return language


def _read_zone(cell: str) -> str:
    if not is_time_zone(cell):
        raise ValueError("Not a time zone such as Europe/Stockholm.")
    return cell


def _read_truth(cell: str) -> bool:
    try:
        return _WORDS[cell.casefold()]
    except KeyError as e:
        raise ValueError("Neither true nor false.") from e


def _read_number(cell: str) -> int | float:
    cell = cell.strip()
    if not _NUMBER.fullmatch(cell):
        raise ValueError("Not a number.")
    if not cell.removeprefix("-").isdecimal():
        return float(cell.replace(",", "."))
    if abs(int(cell)) > MAX_WHOLE_NUMBER:
        raise ValueError("A number of more than 53 bits.")
    return int(cell)


def _split_tags(cell: str) -> tuple[str, ...]:
    named = [name for name in _TAG_SEPARATORS.split(read_harmless(cell)) if name.strip()]
    tags = [normalise_tag(name) for name in named]
    if None in tags:
        raise ValueError(
            f"Not tags of 1 to {MAX_TAG_CHARACTERS} letters, digits, blanks, '.', '_', '-' or ':'."
        )
    if len(tags) > MAX_TAGS:
        raise ValueError(f"More than {MAX_TAGS} tags.")
    return tuple(dict.fromkeys(tag for tag in tags if tag))


def _read_few(cells: Sequence[str], read: Callable[[str], T]) -> ParsedColumn:
    """A column with few different values: each is looked at once."""
    known: dict[str, T | None] = {}
    wrong: dict[str, str] = {}
    for cell in set(cells):
        stripped = cell.strip()
        try:
            known[cell] = read(stripped) if stripped else None
        except ValueError as e:
            known[cell], wrong[cell] = None, str(e)
    values = [known[cell] for cell in cells]
    if not wrong:
        return values, {}
    return values, {place: wrong[cell] for place, cell in enumerate(cells) if cell in wrong}
