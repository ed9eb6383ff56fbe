"""Kinds of numbers that cost more, compared with libphonenumber, and the countries allowed."""

import random

import phonenumbers
import pytest
from phonenumbers import PhoneNumberType

from app.phone.allowed import NumberKind, NumberRules, find_kind

SEED = 20261130
WANTED = {
    PhoneNumberType.PREMIUM_RATE: NumberKind.PREMIUM,
    PhoneNumberType.SHARED_COST: NumberKind.SHARED_COST,
}
KINDS = (
    PhoneNumberType.PREMIUM_RATE,
    PhoneNumberType.SHARED_COST,
    PhoneNumberType.TOLL_FREE,
    PhoneNumberType.MOBILE,
    PhoneNumberType.FIXED_LINE,
)


def _draw_numbers(draw):
    """Yield valid numbers of all countries, near their examples of each kind."""
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        code = phonenumbers.country_code_for_region(region)
        for kind in KINDS:
            example = phonenumbers.example_number_for_type(region, kind)
            if example is None:
                continue
            digits = phonenumbers.national_significant_number(example)
            for kept in range(1, len(digits) + 1):
                tail = "".join(draw.choice("0123456789") for _ in digits[kept:])
                yield f"+{code}{digits[:kept]}{tail}"


@pytest.mark.slow
def test_the_kind_is_that_of_the_library_in_every_country():
    wrong, premium = [], 0
    for number in _draw_numbers(random.Random(SEED)):
        parsed = phonenumbers.parse(number)
        if not phonenumbers.is_valid_number(parsed):
            continue
        wanted = WANTED.get(phonenumbers.number_type(parsed))
        premium += wanted is not None
        if find_kind(number) != wanted:
            wrong.append((number, wanted, find_kind(number)))

    assert wrong == []
    assert premium > 500


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("+870773111632", NumberKind.SATELLITE),
        ("+8816512345678", NumberKind.SATELLITE),
        ("+88213123456", NumberKind.SATELLITE),
        ("+979123456789", NumberKind.PREMIUM),
        ("+80012345678", None),
        ("+46701234567", None),
        ("+999123456", None),
        ("+1", None),
    ],
)
def test_numbers_of_no_country_have_a_kind_too(number, kind):
    assert find_kind(number) == kind


def test_countries_are_narrowed_for_all_and_for_a_client():
    rules = NumberRules(frozenset({"SE", "NO"}), {"shop": frozenset({"SE", "DK"})})

    sweden, norway, denmark, elsewhere = (
        "+46701234567",
        "+4740612345",
        "+4520123456",
        "+15551234567",
    )

    refused = {
        client: rules.find_refused_countries([sweden, norway, denmark, elsewhere], client)
        for client in ("shop", "crm", None)
    }

    assert refused == {
        "shop": [norway, denmark, elsewhere],
        "crm": [denmark, elsewhere],
        None: [denmark, elsewhere],
    }
