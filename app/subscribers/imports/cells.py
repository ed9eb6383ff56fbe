"""Cells of a file as people and spreadsheets write them: whole columns at a time.

Each function gives a column's values, None for an empty cell, and the faults by their place.  Pure.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeVar
from unicodedata import normalize

from app.csv_cells import read_harmless
from app.phone.e164 import find_in_use, normalise_number, read_national, sort_entries
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

T = TypeVar("T")
Faults = dict[int, str]
Column = tuple[list[Any], Faults]

MAX_SOURCE_CHARACTERS = 200
MAX_WORDING_CHARACTERS = 2_000

# What a spreadsheet makes of a long number: 4.67012E+10, in some languages with a comma.
_SHORTENED = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?E[+-]?[0-9]+", re.IGNORECASE)
_DECIMAL = re.compile(r"\+?[0-9]{5,}[.,][0-9]{1,2}")
_AS_FORMULA = re.compile(r'="(.*)"', re.DOTALL)
# Marks of direction and blanks of no width, that copying from elsewhere brings along.
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_SEPARATORS = re.compile(r"[\s()\[\].\-/\u2010-\u2015\u2212]+")
_TRUNK_ZERO = re.compile(r"[(\[]\s*0\s*[)\]]")
_DIGITS = re.compile(r"\+?[0-9]+")
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

NO_NUMBER = "No phone number."
SHORTENED = "A spreadsheet has shortened this number: its digits are lost."
LOST_PLUS = "Perhaps an international number that lost its plus: say so by without_plus."
NO_COUNTRY = "Neither + nor 00 in front: a national number needs a country."
NOT_IN_USE = "No country has numbers like this one."


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneReader:
    """How numbers are read: those without + or 00 as ones of `country`, or as international ones
    that have lost it; `check` asks libphonenumber whether there are any like it."""

    country: str | None = None
    without_plus: bool = False
    check: bool = True

    def read_column(self, cells: Sequence[str]) -> Column:
        """Numbers in E.164; an empty cell is a fault, too."""
        clean = sort_entries(list(cells))
        if clean.invalid:
            return _read_each(cells, self.read)
        if not self.check:
            return clean.numbers, {}
        numbers = [find_in_use(number) for number in clean.numbers]
        if None not in numbers:
            return numbers, {}
        return numbers, {
            place: NOT_IN_USE for place, number in enumerate(numbers) if number is None
        }

    def read(self, cell: str) -> str:
        """The number in E.164.  Raises ValueError that says what is wrong.

        >>> PhoneReader(country="SE").read("070-123 45 67")
        '+46701234567'
        >>> PhoneReader().read("0046 (0)70 123 45 67")
        '+46701234567'
        """
        number = self._read_digits(_strip_number(cell))
        if normalise_number(number) is None:
            raise ValueError("Not a phone number of 2 to 15 digits.")
        if not self.check:
            return number
        in_use = find_in_use(number)
        if in_use is None:
            raise ValueError(NOT_IN_USE)
        return in_use

    def _read_digits(self, written: str) -> str:
        if not written:
            raise ValueError(NO_NUMBER)
        if _SHORTENED.fullmatch(written):
            raise ValueError(SHORTENED)
        if _DECIMAL.fullmatch(written):
            raise ValueError("A number with decimals: format its column as text.")
        international = written.startswith(("+", "00"))
        bare = _SEPARATORS.sub("", _TRUNK_ZERO.sub("", written) if international else written)
        if not _DIGITS.fullmatch(bare):
            raise ValueError("Not a phone number.")
        if bare.startswith("+"):
            return bare
        if bare.startswith("00"):
            return "+" + bare[2:]
        return self._complete(bare)

    def _complete(self, digits: str) -> str:
        if self.without_plus and not digits.startswith("0"):
            return "+" + digits
        if self.country is None:
            raise ValueError(NO_COUNTRY)
        number = read_national(digits, self.country)
        if number is None:
            raise ValueError(f"Not a phone number of {self.country}.")
        # A 1 in front is dialled within North America, too.
        if number == "+" + digits and not number.startswith("+1"):
            raise ValueError(LOST_PLUS)
        return number


def _strip_number(cell: str) -> str:
    """A cell without what spreadsheets, browsers and address books put around a number."""
    text = _UNSEEN.sub("", normalize("NFKC", cell)).strip()
    formula = _AS_FORMULA.fullmatch(text)
    if formula:
        text = formula[1].strip()
    return text.removeprefix("'").removeprefix("tel:").strip()


def read_names(cells: Sequence[str]) -> Column:
    """Names of at most 100 characters."""
    return read_texts(cells, MAX_NAME_CHARACTERS)


def read_values(cells: Sequence[str]) -> Column:
    """Values of an attribute, as text."""
    return read_texts(cells, MAX_ATTRIBUTE_CHARACTERS)


def read_texts(cells: Sequence[str], most: int) -> Column:
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


def read_languages(cells: Sequence[str]) -> Column:
    """Short tags of RFC 5646."""
    return _read_few(cells, _read_language)


def read_zones(cells: Sequence[str]) -> Column:
    """Names of time zones."""
    return _read_few(cells, _read_zone)


def read_truths(cells: Sequence[str]) -> Column:
    """True or false, in the words of several languages."""
    return _read_few(cells, _read_truth)


def read_numbers(cells: Sequence[str]) -> Column:
    """Numbers, with a point or a comma before decimals."""
    return _read_each(cells, lambda cell: _read_number(cell) if cell.strip() else None)


def read_tags(cells: Sequence[str]) -> Column:
    """Tuples of tags, divided by comma, semicolon, bar or line break; an empty one for none."""
    values, faults = _read_few(cells, _split_tags)
    return [value or () for value in values], faults


def read_moments(cells: Sequence[str], *, zone: tzinfo, now: datetime) -> Column:
    """Times of the past, those without an offset as ones of `zone`."""
    return _read_few(cells, lambda cell: read_moment(cell, zone=zone, now=now))


def read_moment(cell: str, *, zone: tzinfo, now: datetime) -> datetime:
    """An ISO 8601 time or day, or a day as `31.12.2025`, in UTC.  Raises ValueError.

    >>> from datetime import UTC
    >>> read_moment("2025-03-01 08:30+02:00", zone=UTC, now=datetime.now(UTC)).isoformat()
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


def _read_few(cells: Sequence[str], read: Callable[[str], T]) -> Column:
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


def _read_each(cells: Sequence[str], read: Callable[[str], T]) -> Column:
    values: list[T | None] = []
    faults: Faults = {}
    for place, cell in enumerate(cells):
        try:
            values.append(read(cell))
        except ValueError as e:
            values.append(None)
            faults[place] = str(e)
    return values, faults
