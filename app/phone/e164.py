"""Phone numbers in E.164: `+`, a first digit 1 to 9, and 2 to 15 digits in all (ITU-T E.164).

Requests are checked by the pattern alone, which is fast and never wrong about a new country's
numbers.  +460701234567, +4600701234567 and +46701234567 reach one phone: numbers are respelled
where they enter and where they are compared, so that a suppression of one holds for all.  Which
numbers are in use, libphonenumber says.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import itemgetter

import phonenumbers
from phonenumbers import timezone

from app.phone.characters import remove_invisible

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
CALLING_CODES = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
# The kinds of numbers in libphonenumber's metadata of a region.
_KINDS = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "voip", "personal_number",
    "pager", "uan", "voicemail",
)  # fmt: skip
# Trunk prefixes other than 0, by calling code; of Argentina's mobiles the 9 may be left out.
_TRUNK_PREFIXES = {"1": "1", "7": "8", "52": "1", "692": "1", "370": "8", "375": "8", "993": "8"}
_ARGENTINA = "54"
# Before 2019 a 1, and within the country 01, 044 or 045, were dialled in front.
_OLD_MEXICAN = re.compile(r"(?:\+52)(?:1|01|04[45])([0-9]{10})")
# Numbers became longer: by a 9 in Brazil (2016), by two digits of the operator in Ivory Coast
# (2021), whom the second digit told, and by 01 in Benin (2024).
_FORMER_PLANS = (
    (re.compile(r"\+55([1-9]{2})([6-9][0-9]{7})"), r"+55\g<1>9\2"),
    (re.compile(r"\+225([04-9][0-3][0-9]{6})"), r"+22501\1"),
    (re.compile(r"\+225([04-9][4-6][0-9]{6})"), r"+22505\1"),
    (re.compile(r"\+225([04-9][7-9][0-9]{6})"), r"+22507\1"),
    (re.compile(r"\+229([0-9]{8})"), r"+22901\1"),
)
_REWRITTEN = (_ARGENTINA, "55", "225", "229")
_MAX_ZEROS = 3


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

    Trunk prefixes go, and mobiles of Argentina and Mexico are spelled as their countries ask for,
    numbers of Brazil, Ivory Coast and Benin from before they became longer, too.
    A number that libphonenumber does not know stays, but for the trunk prefix of its country.

    >>> respell("+460701234567"), respell("+5215512345678"), respell("+541123456789")
    ('+46701234567', '+525512345678', '+5491123456789')
    >>> respell("+390612345678")
    '+390612345678'
    """
    return find_spelling(number) if may_be_respelled(_get_start(number)) else number


def respell_all(numbers: list[str]) -> list[str]:
    """Return the one spelling of each number; most take a tenth of a microsecond."""
    starts = set(filter(may_be_respelled, set(map(_get_start, numbers))))
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


def find_spelling(number: str) -> str:
    """Return the one spelling of a number; without its trunk prefix if it is not in use."""
    spellings = map(_rewrite, _list_spellings(number))
    in_use = next(filter(_is_in_use, spellings), None)
    return _spell_mobile(in_use) if in_use else _remove_trunk_prefix(number)


def find_calling_code(number: str) -> str | None:
    """Return the digits of a number's or pseudonym's calling code; none begins another.

    >>> find_calling_code("+46701234567"), find_calling_code("+2100")
    ('46', None)
    """
    return _find_code(number[1:4])


@lru_cache(maxsize=1024)
def _find_code(digits: str) -> str | None:
    codes = (digits[:length] for length in (1, 2, 3))
    return next((code for code in codes if code and int(code) in CALLING_CODES), None)


@lru_cache(maxsize=2**15)
def may_be_respelled(start: str) -> bool:
    """Return True if numbers that start with these five characters may have another spelling."""
    code = find_calling_code(start)
    if code is None:
        return False
    following = start[1 + len(code) :][:1]
    return code in _REWRITTEN or following in ("0", _TRUNK_PREFIXES.get(code, "0"))


def _list_spellings(number: str) -> Iterator[str]:
    """Yield what a number may mean, the likeliest first."""
    yield number
    old_mexican = _OLD_MEXICAN.fullmatch(number)
    if old_mexican:
        yield f"+52{old_mexican[1]}"
    yield from _lengthen(number)
    code = find_calling_code(number) or ""
    rest = number[1 + len(code) :]
    if code == _ARGENTINA:
        yield f"+54{rest.removeprefix('9')}"
    for zeros in range(1, _MAX_ZEROS + 1):
        if rest.startswith("0" * zeros):
            yield f"+{code}{rest[zeros:]}"
            yield from _lengthen(f"+{code}{rest[zeros:]}")


def _lengthen(number: str) -> Iterator[str]:
    """Yield what a number of a former plan has become."""
    for former, longer in _FORMER_PLANS:
        if found := former.fullmatch(number):
            yield found.expand(longer)


def _spell_mobile(number: str) -> str:
    """Return a number of Argentina with the 9 of its mobiles: landlines get no texts."""
    if not number.startswith("+54") or number[3] == "9":
        return number
    mobile = f"+549{number[3:]}"
    return mobile if find_in_use(mobile) == mobile else number


def _remove_trunk_prefix(number: str) -> str:
    while (without := _rewrite(number)) != number:
        number = without
    return number


def find_in_use(number: str) -> str | None:
    """Return a number that libphonenumber calls valid, without a needless 0, or None.

    For most numbers this takes a thirtieth of the time of inspect_number.

    >>> find_in_use("+46701234567"), find_in_use("+460701234567"), find_in_use("+46001234567")
    ('+46701234567', '+46701234567', None)
    """
    if _is_in_use(number):
        return number
    written = _rewrite(number)
    return written if _is_in_use(written) else None


def _is_in_use(number: str) -> bool:
    code = find_calling_code(number)
    return code is not None and _make_pattern(code).match(number, 1 + len(code)) is not None


def _rewrite(number: str) -> str:
    """Return a number as libphonenumber writes it, mostly at a tenth of its cost."""
    code = find_calling_code(number)
    if code is None:
        return number
    prefix, start = _make_prefix(code), 1 + len(code)
    found = prefix.match(number, start)
    if found is None or (prefix.groups and _is_in_use(number)):
        return number
    if not prefix.groups:
        return number[:start] + number[found.end() :]
    try:
        return _write(phonenumbers.parse(number, None))
    except phonenumbers.NumberParseException:
        return number


@cache
def _make_prefix(code: str) -> re.Pattern[str]:
    """Compile the digits behind a calling code that libphonenumber leaves out.

    What it replaces by other digits is in groups.
    """
    region = CALLING_CODES[int(code)][0]
    metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(int(code), region)
    if metadata is None or not metadata.national_prefix_for_parsing or not metadata.general_desc:
        return re.compile("(?!)")
    if metadata.national_prefix_transform_rule:
        return re.compile(f"({metadata.national_prefix_for_parsing})")
    prefix = re.sub(r"\((?!\?)", "(?:", metadata.national_prefix_for_parsing)
    general = metadata.general_desc
    usual = rf"(?:{general.national_number_pattern})\Z"
    lengths = [rf"[0-9]{{{length}}}" for length in general.possible_length]
    lengths.append(rf"[0-9]{{{general.possible_length[-1] + 1},}}")
    # Not of a usual number whose rest is none, and not where the rest is too short.
    return re.compile(
        rf"(?:(?!{usual})(?>{prefix})|(?>{prefix})(?={usual}))(?=(?:{'|'.join(lengths)})\Z)"
    )


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


def is_landline(number: str) -> bool:
    """Return True if libphonenumber is sure that a number is a landline: most get no texts.

    Of countries where mobiles have numbers like landlines, such as the USA, no number is.

    >>> is_landline("+46850012345"), is_landline("+46701234567"), is_landline("+12025550123")
    (True, False, False)
    """
    code = find_calling_code(number)
    if code is None or _make_mobile_pattern(int(code)).match(number, 1 + len(code)):
        return False  # nearly always, at a thirtieth of the cost
    try:
        kind = phonenumbers.number_type(phonenumbers.parse(number, None))
    except phonenumbers.NumberParseException:
        return False
    return bool(kind == phonenumbers.PhoneNumberType.FIXED_LINE)


def is_national_mobile(digits: str) -> bool:
    """Return True if these digits are a mobile of some country, without its calling code."""
    return _make_mobile_pattern(None).match(digits) is not None


@cache
def _make_mobile_pattern(code: int | None) -> re.Pattern[str]:
    """Compile the patterns of mobiles, of one calling code or of all."""
    names = phonenumbers.SUPPORTED_REGIONS if code is None else CALLING_CODES[code]
    regions = map(phonenumbers.PhoneMetadata.metadata_for_region, names)
    mobiles = {_describe(metadata.mobile) for metadata in regions if metadata}
    return re.compile(rf"(?:{'|'.join(sorted(filter(None, mobiles))) or '(?!)'})\Z")


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


def is_possible(number: str) -> bool:
    """Return True if numbers of a calling code have the length of this one."""
    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(number, None))
    except phonenumbers.NumberParseException:
        return False


def write_national(number: str) -> str:
    """Return the digits by which a number is written within its country.

    >>> write_national("+46701234567"), write_national("+8613102345678")
    ('0701234567', '13102345678')
    """
    parsed = phonenumbers.parse(number, None)
    written = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)
    return "".join(filter(str.isdigit, written))
