"""Sizes of texts that are filled in for each recipient: equal to those of the texts themselves."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.sms.content.measure import TextPattern, measure_messages
from app.sms.content.placeholders import DEFAULT, MAX_TEXT_CHARACTERS, fill_text
from app.text.segments import Encoding, measure_text
from tests.conftest import examples
from tests.factories import many_numbers

NAMES = ("name", "a.b", "C_1")
PHONES = many_numbers(5)
# Of one septet, of two, of one code unit, of two, and what a format string would take for its own.
literals = st.text(alphabet="ax \né€[😀жŻ%()s$", max_size=120)
values = st.text(alphabet="ab €[😀ж%(", max_size=60)
texts = st.lists(literals | st.sampled_from([f"${{{name}}}" for name in NAMES]), min_size=1).map(
    "".join
)
tables = st.dictionaries(st.sampled_from([*PHONES, DEFAULT]), values)


@pytest.mark.slow
@given(text=texts, parameters=st.fixed_dictionaries(dict.fromkeys(NAMES, tables)))
@settings(max_examples=examples(300), deadline=None)
def test_each_text_has_the_size_of_what_it_is_filled_in_to(text, parameters):
    defaults = {name: table.get(DEFAULT, "") for name, table in parameters.items()}
    own = {name: table for name, table in parameters.items() if table.keys() - {DEFAULT}}

    sizes = TextPattern(text).measure(PHONES, own, defaults)

    for phone, size in zip(PHONES, sizes, strict=True):
        filled = fill_text(
            text, {name: table.get(phone, defaults[name]) for name, table in parameters.items()}
        )
        usable = filled.strip() and len(filled) <= MAX_TEXT_CHARACTERS
        assert size == (measure_text(filled) if usable else None)


def test_a_text_that_lacks_a_value_has_no_size():
    pattern = TextPattern("Hi ${name}, ${day}")
    names = {"name": {PHONES[0]: "Ann", PHONES[2]: "Ж"}}

    assert pattern.measure(PHONES[:3], names, {}) == [None, None, None]
    sizes = pattern.measure(PHONES[:3], names, {"day": "Monday"})
    assert sizes[1] is None
    assert [sizes[0].encoding, sizes[2].encoding] == [Encoding.GSM_7, Encoding.UCS_2]


@pytest.mark.parametrize("odd", [0, 2, 4])
def test_one_long_value_among_many_decides_about_the_size_of_all(odd):
    long = {PHONES[odd]: "ж" * 80, DEFAULT: "x"}

    size = measure_messages("Hi ${name}", {"name": long}, PHONES)

    assert (size.encoding, size.parts) == (Encoding.UCS_2, 2)
