"""Ids of broadcasts: usable in URLs, sorted by time, not countable from outside."""

from datetime import UTC, datetime, timedelta

import pytest

from app.ids import make_id, make_ids

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def test_ids_sort_by_the_time_of_their_making():
    times = [NOW + timedelta(milliseconds=each) for each in (0, 1, 2, 1000, 10**9, 10**12)]

    ids = [make_id(each) for each in times]

    assert sorted(ids) == ids


def test_no_two_ids_of_one_moment_are_alike():
    assert len({make_id(NOW) for _ in range(20_000)}) == 20_000


def test_many_made_at_once_are_all_different_and_random_in_every_place_that_may_be():
    made = make_ids(NOW, 10_000)

    assert len(set(made)) == 10_000
    alone = [make_id(NOW) for _ in range(10_000)]
    assert [set(place) for place in zip(*made, strict=True)] == [
        set(place) for place in zip(*alone, strict=True)
    ]
    assert make_ids(NOW, 0) == []


@pytest.mark.parametrize("make", [make_id, lambda now: make_ids(now, 3)[1]])
def test_an_id_is_a_uuid_of_version_7(make):
    made = make(NOW)

    assert len(made) == 26
    number = sum(ALPHABET.index(each) << 5 * place for place, each in enumerate(reversed(made)))
    bits = number >> 2  # 26 characters hold 130 bits
    assert bits >> 80 == int(NOW.timestamp() * 1000)
    assert (bits >> 76 & 0xF, bits >> 62 & 0b11) == (7, 0b10)
