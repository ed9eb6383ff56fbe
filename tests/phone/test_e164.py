import random

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.phone.e164 import (
    find_in_use,
    inspect_number,
    is_sender,
    mask_number,
    may_be_respelled,
    normalise_number,
    read_national,
    remove_duplicates,
    respell,
    respell_all,
    sort_entries,
)

numbers = st.from_regex(r"\+[1-9][0-9]{1,14}", fullmatch=True)
oddities = st.one_of(
    st.text(max_size=20), st.integers(), st.none(), st.booleans(), st.lists(st.text(max_size=3))
)


@pytest.mark.parametrize(
    "entry", ["+12", "+123456789012345", "+46701234567", " +46701234567\t", "+46701234567\n"]
)
def test_a_number_in_e164_is_taken_without_the_blanks_around_it(entry):
    assert normalise_number(entry) == entry.strip()
    assert normalise_number(f"\u202a{entry.strip()}\u202c\u200b") == entry.strip()


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "+",
        "+1",
        "+0123456789",
        "+1234567890123456",
        "46701234567",
        "0046701234567",
        "0701234567",
        "+46 70 123 45 67",
        "+46-701234567",
        "+4670123456a",
        "+46701234567\n+46701234568",
        "+４６７０１２３４５６７",
        "+4６７０１２３４５６７",
        "+٤٦٧٠١٢٣٤٥٦٧",
        "+46701234567\0",
        "＋46701234567",
        46701234567,
        None,
        True,
        ["+46701234567"],
    ],
)
def test_anything_else_is_not_a_number(entry):
    assert normalise_number(entry) is None
    assert sort_entries([entry]).invalid == [entry]


@pytest.mark.slow
@given(st.lists(st.one_of(numbers, numbers.map(lambda n: f" {n}\n"), oddities)))
def test_sorting_loses_nothing_and_keeps_the_order(entries):
    found = sort_entries(entries)

    assert found.numbers == [
        normalise_number(entry) for entry in entries if normalise_number(entry) is not None
    ]
    assert found.invalid == [entry for entry in entries if normalise_number(entry) is None]


def test_two_numbers_in_one_entry_are_not_two_numbers():
    entries = ["+46701234567\n+46701234568", "+46701234569"]

    assert sort_entries(entries).invalid == entries[:1]


@given(st.lists(numbers))
def test_each_number_stays_once_in_the_order_of_its_first_appearance(entries):
    unique = remove_duplicates(entries)

    assert sorted(unique) == sorted(set(entries))
    assert [entries.index(number) for number in unique] == sorted(
        entries.index(number) for number in unique
    )


@given(numbers)
def test_a_masked_number_hides_the_person(number):
    masked = mask_number(number)

    assert number not in masked
    assert len(masked) == len(number)
    assert sum(character.isdigit() for character in masked) <= 4


@pytest.mark.parametrize(
    ("number", "valid", "country", "zones"),
    [
        ("+46701234567", True, "SE", ("Europe/Stockholm",)),
        ("+12015550123", True, "US", ("America/New_York",)),
        ("+12125550199", True, "US", ("America/New_York",)),
        ("+447400123456", True, "GB", None),
        ("+15551234567", False, None, ()),
        ("+80012345678", True, None, ()),
        ("+12", False, None, ()),
        ("nonsense", False, None, ()),
    ],
)
def test_libphonenumber_tells_country_and_zones(number, valid, country, zones):
    facts = inspect_number(number)

    assert (facts.valid, facts.country) == (valid, country)
    assert zones is None or facts.zones == zones


def test_a_country_of_several_zones_gives_them_all():
    assert len(inspect_number("+18005550199").zones) > 1


@pytest.mark.parametrize(
    "sender", ["+12015550199", "71234", "123", "Acme", "A", "Café"[:3], "B&B 24.7"]
)
def test_these_can_be_the_sender(sender):
    assert is_sender(sender)


@pytest.mark.parametrize(
    "sender", ["", " ", "12", "123456789", "+0123", "TwelveLetter", "Ünicode", "a\n", "--", "Acme "]
)
def test_these_cannot_be_the_sender(sender):
    assert not is_sender(sender)


@pytest.mark.parametrize("number", ["+12", "+467012", "+4670123"])
def test_of_a_short_number_nothing_is_shown(number):
    assert mask_number(number) == "•" * len(number)


def _draw_numbers(lots):
    """Numbers of every calling code there is: some in use, some nearly so, some of no kind."""
    for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items():
        kinds = range(11)
        known = [phonenumbers.example_number_for_type(*each) for each in _pairs(regions, kinds)]
        known += [phonenumbers.example_number_for_non_geo_entity(code)]
        written = [f"+{code}{number.national_number}" for number in known if number]
        for number in lots.sample(written, min(4, len(written))):
            digits = [*number]
            digits[lots.randrange(len(str(code)) + 1, len(digits))] = lots.choice("0123456789")
            yield from (number, "".join(digits), f"{number}1")
            prefix = lots.choice(("0", "00", "01", "06", "1", "8", "9", "80"))
            yield f"+{code}{prefix}{''.join(digits)[len(str(code)) + 1 :]}"[:16]
        yield f"+{code}0{lots.randrange(10**8)}"


def _pairs(regions, kinds):
    return [(region, kind) for region in regions for kind in kinds if region != "001"]


def test_numbers_in_use_are_those_that_libphonenumber_takes_as_they_stand_or_without_a_zero():
    for number in _draw_numbers(random.Random(7)):
        written, valid = _ask_library(number)
        assert find_in_use(number) == (written if valid else None), number


def test_a_number_not_in_use_loses_the_prefixes_that_libphonenumber_leaves_out():
    unknown = [n for n in _draw_numbers(random.Random(3)) if not find_in_use(respell(n))]
    for number in unknown:
        shorter = number
        while shorter != (written := _ask_library(shorter)[0]):
            shorter = written
        assert respell(number) in (number, shorter), number
        assert respell(number) == shorter or not may_be_respelled(number[:5]), number
    assert len(unknown) > 500


def _ask_library(number):
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return number, False
    return phonenumbers.format_number(parsed, 0), phonenumbers.is_valid_number(parsed)


@pytest.mark.parametrize(
    ("number", "spellings"),
    [
        ("+46701234567", ["+460701234567", "+4600701234567"]),
        ("+447911123456", ["+4407911123456"]),
        ("+525512345678", ["+5215512345678", "+52015512345678", "+520445512345678"]),
        (
            "+5491123456789",
            ["+541123456789", "+5401123456789", "+54111523456789", "+549111523456789"],
        ),
        ("+79123456789", ["+789123456789"]),
        ("+5511987654321", ["+551187654321", "+5501187654321"]),
        ("+2250748123456", ["+22548123456"]),
        ("+2250544123456", ["+22544123456"]),
        ("+2250101234567", ["+22501234567"]),
        ("+2290197123457", ["+22997123457"]),
        ("+2290120212223", ["+22920212223"]),
        ("+36201234567", ["+3606201234567"]),
        ("+375291234567", ["+3750291234567", "+37580291234567"]),
        ("+37061234567", ["+370861234567", "+370061234567"]),
        ("+12025550123", ["+112025550123"]),
        ("+34612345678", ["+340612345678"]),
        ("+390612345678", []),
        ("+2250701234567", []),
        ("+548001234567", []),
        ("+15551234567", ["+115551234567"]),
    ],
)
def test_a_number_has_one_spelling(number, spellings):
    assert [respell(spelling) for spelling in (number, *spellings)] == [number] * (
        len(spellings) + 1
    )
    assert respell_all([number, *spellings]) == [number] * (len(spellings) + 1)


def test_the_spelling_of_a_number_is_found_at_once():
    for number in _draw_numbers(random.Random(11)):
        assert respell(respell(number)) == respell(number)


def test_a_national_number_is_read_as_it_is_dialled_in_its_country():
    assert read_national("0701234567", "SE") == "+46701234567"
    assert read_national("2015550123", "US") == "+12015550123"
    assert read_national("0612345678", "IT") == "+390612345678"
    assert read_national("07", "SE") is None
    assert read_national("0701234567", "XX") is None
