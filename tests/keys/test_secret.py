"""The text of a key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth import hash_presented
from app.keys.secret import is_whole, make_key


@pytest.mark.parametrize(("is_test", "prefix"), [(False, "clarion_"), (True, "clarion_test_")])
def test_a_new_key_is_whole_and_begins_with_its_prefix(is_test, prefix):
    key = make_key(is_test=is_test)

    assert key.startswith(prefix)
    assert len(key) == len(prefix) + 58
    assert is_whole(key)


@pytest.mark.parametrize("is_test", [False, True])
def test_a_key_with_another_character_anywhere_is_not_whole(is_test):
    key = make_key(is_test=is_test)

    for index, sign in enumerate(key):
        other = "b" if sign != "b" else "c"
        assert not is_whole(key[:index] + other + key[index + 1 :]), index


def test_a_part_of_a_key_is_not_whole():
    key = make_key(is_test=False)

    assert not any(is_whole(key[:end]) for end in range(len(key)))
    assert not any(map(is_whole, (key + "a", f" {key}", key.upper(), key * 2)))


@given(st.text())
def test_no_text_is_too_odd_to_be_looked_at(text):
    assert not is_whole(text)
    assert not is_whole(f"clarion_{text}")
    assert len(hash_presented(text)) == 32
