"""Phone numbers in E.164: `+`, a first digit 1 to 9, and 2 to 15 digits in all (ITU-T E.164).

Requests are checked by the pattern alone, which is fast and never wrong about a new country's
numbers.  `inspect_number` looks a number up in libphonenumber.
"""

import re
from dataclasses import dataclass
from functools import cache

import phonenumbers
from phonenumbers import timezone

from app.phone.country import CALLING_CODES, find_calling_code

_NUMBER = re.compile(r"\+[1-9][0-9]{1,14}")
# One pass over all numbers at once: possessive, so that a million of them need no backtracking.
_NUMBERS = re.compile(r"(?:\+[1-9][0-9]{1,14}+\n)*+")
_SENDER = re.compile(
    r"\+[1-9][0-9]{1,14}"  # a number
    r"|[0-9]{3,8}"  # a short code
    r"|(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9](?:[A-Za-z0-9 &._+-]{0,9}[A-Za-z0-9.])?"  # alphanumeric
)
# The kinds of numbers in libphonenumber's metadata of a region.
_KINDS = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "voip", "personal_number",
    "pager", "uan", "voicemail",
)  # fmt: skip


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
    """Return the number without blanks around it, or None if it is not E.164.

    >>> normalise_number(" +46701234567 ")
    '+46701234567'
    >>> normalise_number("0701234567") is None
    True
    """
    if not isinstance(entry, str):
        return None
    number = entry.strip()
    return number if _NUMBER.fullmatch(number) else None


def sort_entries(entries: list[object]) -> SortedEntries:
    """Split entries into normalised numbers and invalid entries, both in the order given.

    >>> sort_entries(["+46701234567", "46701234567", 7])
    SortedEntries(numbers=['+46701234567'], invalid=['46701234567', 7])
    """
    clean = _all_if_clean(entries)
    if clean is not None:
        return SortedEntries(clean, [])
    numbers, invalid = [], []
    for entry in entries:
        number = normalise_number(entry)
        if number is None:
            invalid.append(entry)
        else:
            numbers.append(number)
    return SortedEntries(numbers, invalid)


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


def find_in_use(number: str) -> str | None:
    """Return a number that libphonenumber calls valid, without a needless 0, or None.

    For most numbers this takes a thirtieth of the time of inspect_number.

    >>> find_in_use("+46701234567"), find_in_use("+460701234567"), find_in_use("+46001234567")
    ('+46701234567', '+46701234567', None)
    """
    code = find_calling_code(number)
    if code and _make_pattern(code).match(number, 1 + len(code)):
        return number
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return None
    return _write(parsed) if phonenumbers.is_valid_number(parsed) else None


@cache
def _make_pattern(code: str) -> re.Pattern[str]:
    """Compile libphonenumber's patterns of the digits after a calling code into one."""
    kinds = []
    for region in CALLING_CODES[int(code)]:
        metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(int(code), region)
        if metadata is not None:
            general = _describe(metadata.general_desc)
            named = (_describe(getattr(metadata, kind)) for kind in _KINDS)
            kinds.append(rf"(?={general}\Z)(?:{'|'.join(filter(None, named))})\Z")
    return re.compile("|".join(kinds))


def _describe(kind: phonenumbers.PhoneNumberDesc | None) -> str:
    """Return the pattern of one kind of numbers, empty if there are none."""
    if kind is None or kind.national_number_pattern is None:
        return ""
    lengths = "|".join(f"[0-9]{{{length}}}" for length in kind.possible_length if length > 0)
    return rf"(?=(?:{lengths or '[0-9]*'})\Z)(?:{kind.national_number_pattern})"


def read_national(digits: str, country: str) -> str | None:
    """Return the E.164 number that is dialled with these digits in a country, or None.

    >>> read_national("0701234567", "SE")
    '+46701234567'
    """
    try:
        parsed = phonenumbers.parse(digits, country)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(parsed):
        return None
    return _write(parsed)


def _write(number: phonenumbers.PhoneNumber) -> str:
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


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
