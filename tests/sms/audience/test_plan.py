import random

import phonenumbers
import pytest

from app.config import SubscriberRules
from app.phone.e164 import inspect_number
from app.sms.eligibility.quiet_hours import locate_phone

DEFAULT = SubscriberRules()


def test_a_person_without_a_zone_is_where_their_number_may_be():
    assert locate_phone("+34612345678", None, DEFAULT) == (
        ("Atlantic/Canary", "Europe/Madrid"),
        "ES",
    )
    assert len(locate_phone("+18005551234", None, DEFAULT)[0]) > 20


def test_a_person_s_stored_zone_is_the_only_one():
    assert locate_phone("+61412345678", "Australia/Perth", DEFAULT) == (("Australia/Perth",), "AU")


@pytest.mark.parametrize("phone", ["+881612345678", "+15551234567", "+99", "+2"])
def test_a_number_of_nowhere_is_in_the_default_zone(phone):
    rules = SubscriberRules(default_zone="Europe/Oslo")

    assert locate_phone(phone, None, rules)[0] == ("Europe/Oslo",)


def test_a_stored_zone_that_is_none_does_not_count():
    assert locate_phone("+46701234567", "Mars/Olympus", DEFAULT) == (("Europe/Stockholm",), "SE")


def _draw_mobiles():
    """A mobile number of each country, and some of Idaho and Florida that lie in two zones."""
    numbers = ["+12085550123", "+12082450123", "+18502640123", "+18509320123", "+14165550123"]
    draw = random.Random(4)
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
        if example is not None:
            text = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
            numbers.append(text[:-3] + f"{draw.randrange(1000):03}")
    return numbers


def test_a_number_is_placed_as_the_library_places_it_in_full():
    numbers = _draw_mobiles()
    facts = {number: inspect_number(number) for number in numbers}

    wrong = [
        (number, facts[number], locate_phone(number, None, DEFAULT))
        for number in numbers
        if facts[number].valid
        and not number.startswith("+1")
        and locate_phone(number, None, DEFAULT) != (facts[number].zones, facts[number].country)
    ]

    assert len(numbers) > 200
    assert wrong == []


def test_a_number_of_plus_one_is_placed_by_its_area():
    found = {
        number: locate_phone(number, None, DEFAULT)
        for number in _draw_mobiles()
        if number[1] == "1"
    }
    facts = {number: inspect_number(number) for number in found}

    assert all(found[each][1] == facts[each].country for each in found)
    assert all(set(found[each][0]) <= set(facts[each].zones) for each in found if facts[each].valid)
    assert locate_phone("+12684641405", None, DEFAULT) == (("America/Antigua",), "AG")
    assert locate_phone("+12085550123", None, DEFAULT)[0] == (
        "America/Boise",
        "America/Los_Angeles",
    )
    assert locate_phone("+12082450123", None, DEFAULT)[0] == ("America/Los_Angeles",)
