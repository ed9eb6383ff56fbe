"""Lists made up after the grammar of real exports: a number that is not in the list never appears.

`make lists SIZE=n` reads n of them, with other seeds.
"""

import os
import random
import sys

import phonenumbers
import pytest

from app.errors import BadInput
from app.phone.reader import PhoneReader
from app.subscribers.lists.permissions import Permission
from app.subscribers.lists.phone_list import open_phone_list
from tests.subscribers.lists.made_up import MadeUp, make_list

SIZE = int(os.environ.get("LISTS", "300"))
SEED = int(os.environ.get("LISTS_SEED", "0")) or (random.randrange(10**9) if SIZE > 300 else 1)


def read_numbers(made: MadeUp, *, check: bool) -> set[str]:
    """The numbers that a list is read as: with `check` by an import, else by a list of opt-outs."""
    try:
        phones = open_phone_list([made.raw], encoding=made.encoding)
    except BadInput:
        return set()
    reader = PhoneReader(
        country=made.country,
        without_plus=phones.is_international,
        may_lack_plus=made.country is None,
        check=check,
    )
    numbers = set()
    for row in phones.rows:
        assert row.permission is not Permission.LEFT
        try:
            numbers.add(reader.read(row.cell))
        except ValueError:
            continue
    return numbers


def spell(number: str) -> str:
    """A number without the 9 of Argentina's mobiles, which may be left out."""
    return "+54" + number[4:] if number.startswith("+549") else number


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_no_number_appears_that_is_not_in_the_list():
    sys.stdout.write(f"seed {SEED}, {SIZE} lists\n")
    found = named = 0
    for number in range(SIZE):
        made = make_list(random.Random(SEED * 1_000_003 + number))
        expected = set(map(spell, made.named))
        for check in (True, False):
            read = set(map(spell, read_numbers(made, check=check)))
            assert read <= expected, (SEED, number, read - expected, made)
            found += len(read)
            named += len(expected)
        assert all(phonenumbers.is_valid_number(phonenumbers.parse(n, None)) for n in made.named)
    sys.stdout.write(f"{found} of {named} numbers were read\n")
    assert found > named / 3
