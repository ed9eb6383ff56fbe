"""What stands in place of an erased person's number."""

import pytest

from app.phone.country import find_country
from app.phone.e164 import find_pseudonyms, normalise_number
from app.phone.pseudonym import make_pseudonym


@pytest.mark.parametrize(
    "number",
    [
        "+46701234567",
        "+14165550123",
        "+447911123456",
        "+390669812345",
        "+77011234567",
        "+8001234",
        "+12",
    ],
)
def test_a_name_says_the_country_and_is_no_number(number):
    names = {make_pseudonym(number) for _ in range(20)}

    assert {find_country(name) for name in names} == {find_country(number)}
    assert set(find_pseudonyms(names)) == names
    assert not any(map(normalise_number, names))
    assert all(len(name) == len(number) and name[1:] != number[1:] for name in names)
    assert len(number) < 8 or len(names) == 20
