"""Countries of phone numbers, fast enough for a million of them.  Pure."""

from functools import lru_cache

import phonenumbers

from app.phone.e164 import CALLING_CODES, find_calling_code

UNKNOWN = "ZZ"

# In a shorter number the last digits may decide the country.
_SHORT = 11


def find_country(number: str) -> str:
    """Return the ISO 3166-1 alpha-2 code of an E.164 number or a pseudonym, or ZZ.

    The last digits are left out of the look-up, so that its cache serves a million numbers of a
    calling code that several countries share; without that they take a minute.

    >>> find_country("+46701234567"), find_country("+14165550123"), find_country("+8001234")
    ('SE', 'CA', 'ZZ')
    """
    return _look_up(blank_tail(number))


def blank_tail(number: str) -> str:
    """Return a number with zeros for its last digits, which decide neither country nor zone.

    >>> blank_tail("+447400123456"), blank_tail("+4790123456"), blank_tail("+47901234")
    ('+447400120000', '+4790123000', '+47901234')
    """
    if len(number) > _SHORT:
        return f"{number[:-4]}0000"
    return f"{number[:-3]}000" if len(number) == _SHORT else number


@lru_cache(maxsize=2**17)
def _look_up(number: str) -> str:
    code = find_calling_code(number)
    regions = CALLING_CODES[int(code)] if code else (UNKNOWN,)
    region = regions[0] if len(regions) == 1 else _ask_library(number)
    return region if region and region.isalpha() else UNKNOWN


def _ask_library(number: str) -> str | None:
    try:
        parsed = phonenumbers.parse(f"+{number[1:]}", None)
    except phonenumbers.NumberParseException:
        return None
    region: str | None = phonenumbers.region_code_for_number(parsed)
    return region
