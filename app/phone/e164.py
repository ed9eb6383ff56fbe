"""Phone numbers in E.164: `+`, a first digit 1 to 9, and 2 to 15 digits in all (ITU-T E.164).

Requests are checked by the pattern alone, which is fast and never wrong about a new country's
numbers, and get the one spelling of `spelling`.  `inspect_number` looks a number up in
libphonenumber.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter

import phonenumbers
from phonenumbers import timezone

from app.phone.characters import remove_invisible
from app.phone.spelling import find_spelling, may_be_respelled

_NUMBER = re.compile(r"\+[1-9][0-9]{1,14}")
# One pass over all numbers at once: possessive, so that a million of them need no backtracking.
_NUMBERS = re.compile(r"(?:\+[1-9][0-9]{1,14}+\n)*+")
_SENDER = re.compile(
    r"\+[1-9][0-9]{1,14}"  # a number
    r"|[0-9]{3,8}"  # a short code
    r"|(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9](?:[A-Za-z0-9 &._+-]{0,9}[A-Za-z0-9.])?"  # alphanumeric
)
# Longer than any number with its signs, blanks and invisible characters.
MAX_CHARACTERS = 100
# The characters that tell whether a number may have another spelling.
_get_start = itemgetter(slice(5))
_may_be_respelled = lru_cache(maxsize=2**15)(may_be_respelled)


@dataclass(frozen=True, slots=True)
class SortedEntries:
    """A client's list of recipients: E.164 numbers, and the invalid entries unchanged."""

    numbers: list[str]
    invalid: list[object]


@dataclass(frozen=True, slots=True)
class NumberFacts:
    """Facts about a number from libphonenumber.

    `country` is ISO 3166-1 alpha-2, or None where the number belongs to no single country;
    `zones` are IANA names, empty when unknown, several when the country has several.
    """

    valid: bool
    country: str | None
    zones: tuple[str, ...]


def normalise_number(entry: object) -> str | None:
    """Return the one spelling of a number, without blanks around it, or None if it is not E.164.

    >>> normalise_number(" +46701234567 "), normalise_number("+460701234567")
    ('+46701234567', '+46701234567')
    >>> normalise_number("0701234567") is None
    True
    """
    if not isinstance(entry, str):
        return None
    number = entry.strip()
    if not _NUMBER.fullmatch(number):
        if len(number) > MAX_CHARACTERS:
            return None
        number = remove_invisible(number).strip()
    return respell(number) if _NUMBER.fullmatch(number) else None


def sort_entries(entries: list[object]) -> SortedEntries:
    """Split entries into normalised numbers and invalid entries, both in the order given.

    >>> sort_entries(["+46701234567", "46701234567", 7])
    SortedEntries(numbers=['+46701234567'], invalid=['46701234567', 7])
    """
    clean = _all_if_clean(entries)
    if clean is not None:
        return SortedEntries(respell_all(clean), [])
    numbers, invalid = [], []
    for entry in entries:
        if isinstance(entry, str) and _NUMBER.fullmatch(entry):
            numbers.append(entry)  # nearly always, at a third of the cost
        elif (number := normalise_number(entry)) is not None:
            numbers.append(number)
        else:
            invalid.append(entry)
    return SortedEntries(respell_all(numbers), invalid)


def _all_if_clean(entries: list[object]) -> list[str] | None:
    """Return the entries unchanged if every one is E.164 already, else None."""
    try:
        lines = "\n".join(entries)  # type: ignore[arg-type]  # a TypeError is the answer
    except TypeError:
        return None
    # An entry with a line break inside would pass for two numbers: count the breaks.
    if lines.count("\n") != len(entries) - 1 or not _NUMBERS.fullmatch(lines + "\n"):
        return None
    return entries  # type: ignore[return-value]  # join() has just proven that all are strings


def respell(number: str) -> str:
    """Return the one spelling of a number in E.164.

    Trunk prefixes go, and mobiles of Argentina and Mexico are spelled as their countries ask for.
    A number that libphonenumber does not know stays, but for the trunk prefix of its country.

    >>> respell("+460701234567"), respell("+5215512345678"), respell("+541123456789")
    ('+46701234567', '+525512345678', '+5491123456789')
    >>> respell("+390612345678")
    '+390612345678'
    """
    return find_spelling(number) if _may_be_respelled(_get_start(number)) else number


def respell_all(numbers: list[str]) -> list[str]:
    """Return the one spelling of each number; most take a tenth of a microsecond."""
    starts = set(filter(_may_be_respelled, set(map(_get_start, numbers))))
    if not starts:
        return numbers
    return [respell(number) if _get_start(number) in starts else number for number in numbers]


def remove_duplicates(numbers: list[str]) -> list[str]:
    """Return each number once, in the order of its first appearance."""
    if len(set(numbers)) == len(numbers):
        return numbers  # the usual case, at half the cost of building the list anew
    return list(dict.fromkeys(numbers))


def mask_number(number: str) -> str:
    """Return a number for logs and answers: the first and the last digits, the rest as dots.

    >>> mask_number("+46701234567")
    '+46•••••••67'
    >>> mask_number("+4670")
    '•••••'
    """
    if len(number) < 9:
        return "•" * len(number)
    return number[:3] + "•" * (len(number) - 5) + number[-2:]


def find_pseudonyms(recipients: Iterable[str]) -> list[str]:
    """Return the pseudonyms of erased people among recipients."""
    return [recipient for recipient in recipients if recipient[0] == "-"]


def inspect_number(number: str) -> NumberFacts:
    """Look an E.164 number up in libphonenumber.

    >>> inspect_number("+46701234567")
    NumberFacts(valid=True, country='SE', zones=('Europe/Stockholm',))
    """
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return NumberFacts(valid=False, country=None, zones=())
    region = phonenumbers.region_code_for_number(parsed)
    zones = timezone.time_zones_for_number(parsed)
    return NumberFacts(
        valid=phonenumbers.is_valid_number(parsed),
        country=region if region and region.isalpha() else None,
        zones=tuple(zone for zone in zones if zone != timezone.UNKNOWN_TIMEZONE),
    )


def is_country(code: str) -> bool:
    """Return True if libphonenumber knows a country, by its ISO 3166-1 alpha-2 code."""
    return code in phonenumbers.SUPPORTED_REGIONS


def can_be_answered(sender: str) -> bool:
    """Return True if a sender can receive texts: a number or a short code, not a name.

    >>> can_be_answered("+12015550100"), can_be_answered("12345"), can_be_answered("Acme")
    (True, True, False)
    """
    return sender.lstrip("+").isdigit()


def is_sender(value: str) -> bool:
    """Return True for E.164, 3 to 8 digits, or a name of 1 to 11 characters."""
    return bool(_SENDER.fullmatch(value))
