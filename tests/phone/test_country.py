"""The country of a number, found quickly, is the one that libphonenumber finds."""

import random

import phonenumbers
import pytest
from anyascii import anyascii

from app.phone.country import find_country
from app.phone.country_names import list_countries, name_country
from app.phone.e164 import inspect_number

_SHARED = {
    code: regions
    for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()
    if len(regions) > 1
}


@pytest.mark.parametrize(
    ("number", "country"),
    [
        ("+46701234567", "SE"),
        ("+12025550123", "US"),
        ("+14165550123", "CA"),
        ("+18765550123", "JM"),
        ("+447400123456", "GB"),
        ("+447781123456", "GG"),
        ("+77011234567", "KZ"),
        ("+79161234567", "RU"),
        ("+4612", "SE"),
        ("+80012345678", "ZZ"),  # freephone, of no country
        ("+15551234567", "ZZ"),  # no area of any
        ("+21012345678", "ZZ"),  # no such calling code
        ("+10", "ZZ"),
    ],
)
def test_a_number_has_a_country(number, country):
    assert find_country(number) == country


@pytest.mark.parametrize("code", sorted(_SHARED))
def test_where_countries_share_a_code_it_is_the_library_s(code):
    dice = random.Random(code)
    for _ in range(300):
        number = _draw_number(dice, code)
        facts = inspect_number(number)

        if facts.country is not None:
            assert find_country(number) == facts.country, number


def test_every_country_with_numbers_has_a_name_of_its_own():
    names = list_countries()

    assert set(names) == set(phonenumbers.SUPPORTED_REGIONS)
    assert len({*names.values(), name_country("ZZ")}) == len(names) + 1
    assert list(names.values()) == sorted(names.values(), key=anyascii)
    assert name_country("001") == "Numbers of no country"


def _draw_number(dice: random.Random, code: int) -> str:
    """A number of one of the countries, its last digits drawn anew."""
    region = dice.choice(_SHARED[code])
    kind = dice.choice(
        [phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE]
    )
    example = phonenumbers.example_number_for_type(region, kind)
    if example is None:
        return f"+{code}{dice.randrange(10**9, 10**10)}"
    number = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
    changed = min(dice.randrange(8), len(number) - len(str(code)) - 2)
    return number[: len(number) - changed] + "".join(dice.choices("0123456789", k=changed))
