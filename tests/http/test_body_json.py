import json
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.http.body import (
    MAX_DEPTH,
    SMALL,
    JsonBounds,
    MalformedJson,
    PortionDecoder,
    RepeatedKey,
    parse_json_object,
)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), children, max_size=4)
    ),
    max_leaves=20,
)
_UNBOUNDED = JsonBounds(2**63, 2**63, 2**63)
objects = st.dictionaries(st.text(st.characters(codec="utf-8")), values, max_size=6)


def _parse(raw: bytes) -> dict[str, object]:
    return parse_json_object(raw, _UNBOUNDED)


def _depth(value) -> int:
    children = value.values() if isinstance(value, dict) else value
    if not isinstance(value, (dict, list)):
        return 0
    return 1 + max((_depth(child) for child in children), default=0)


@pytest.mark.slow
@given(objects, st.booleans())
def test_every_plain_object_is_read_as_it_is(value, ascii_only):
    if _depth(value) > MAX_DEPTH:
        return

    assert _parse(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_malformed(raw):
    try:
        parsed = _parse(raw)
    except MalformedJson:
        return
    assert json.loads(raw) == parsed


@given(st.text(alphabet='{}[]":,\\ud8001e9NaInfty-.0 ', max_size=60))
def test_anything_that_looks_like_json_is_an_object_or_malformed(text):
    try:
        parsed = _parse(text.encode())
    except MalformedJson:
        return
    assert json.loads(text) == parsed


@given(
    st.one_of(
        st.builds(json.dumps, values),
        st.builds(lambda value: json.dumps(value, indent=1, ensure_ascii=False), values),
        st.text(alphabet='{}[]":,\\1e- ', max_size=60),
    ),
    st.integers(0, 60),
    st.sampled_from(["", *'{}[]":,\\1 ']),
    st.integers(1, 9),
)
def test_portions_of_any_size_make_the_value_or_the_error_of_json(text, place, sign, size):
    text = text[:place] + sign + text[place:]
    plain = json.JSONDecoder(object_pairs_hook=_keep_pairs)

    assert _decode(PortionDecoder(plain, first=size, largest=size), text) == _decode(plain, text)


def _keep_pairs(pairs):
    for key, number in Counter(key for key, _ in pairs).items():
        if number > 1:
            raise RepeatedKey(key)
    return dict(pairs)


def _decode(decoder, text):
    try:
        return decoder.decode(text)
    except json.JSONDecodeError as e:
        return e.msg, e.pos
    except RepeatedKey:
        return "repeated"  # which key is found first depends on the portions


def test_a_key_of_a_large_object_is_given_once():
    pairs = [f'"{number}": ""' for number in range(100_000)]

    with pytest.raises(MalformedJson, match='the key "77" is given twice'):
        _parse(f"{{{', '.join([*pairs, pairs[77]])}}}".encode())


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b"{", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b'{"a": 1} {"b": 2}', "not JSON"),
        (b'{"a": "line\nbreak"}', "not JSON"),
        (b'{"a": 01}', "not JSON"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": -1e999}', "too large"),
        (b'{"a": ' + b"9" * 401 + b"}", "too large"),
        (b'{"a": "\\uDA00"}', "half a character"),
        (
            b'{"' + b"k" * 999 + b'": 1, "' + b"k" * 999 + b'": 1}',
            'the key "' + "k" * 40 + '" is given twice',
        ),
        (b'{"a": ' + b"9" * 5000 + b"}", "too large"),
        (b'{"a": 1, "a": 2}', 'the key "a" is given twice'),
        (b'{"o": {"k": 1, "k": 1}}', 'the key "k" is given twice'),
        (b'{"a": ":", "k" : 1, "k"\n\t:1}', 'the key "k" is given twice'),
        (b'{"a": "\\ud800"}', "half a character"),
        (b'{"a": ["x", {"b": "\\udc00x"}]}', "half a character"),
        (b'{"\\ud800": 1}', "half a character"),
        (b'{"a": "\xff"}', "not UTF-8 (byte 7)"),
        (b'\xef\xbb\xbf{"a": 1}', "byte order mark"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": ' + b"[" * 16 + b"]" * 16 + b"}", "deeper than 16"),
        (b'{"a": ' * 100_000, "deeper than 16"),
        (b"[" * 1_000_000, "deeper than 16"),
    ],
)
def test_what_is_not_one_plain_object_is_refused_with_its_reason(raw, reason):
    with pytest.raises(MalformedJson) as refused:
        _parse(raw)

    assert reason in str(refused.value)


@pytest.mark.parametrize("text", ["[,{" * 100_000, '\\"[' * 100_000, "\\\\", "]" * 20])
def test_brackets_commas_and_quotes_within_a_text_count_as_text(text):
    raw = b'{"a": "' + text.encode() + b'", "b": [1]}'

    assert parse_json_object(raw, SMALL) == {"a": json.loads(f'"{text}"'), "b": [1]}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"a": [[], [], []]}', "more than 4 lists"),
        (b'{"a": [{}, {}, {}]}', "more than 4 lists"),
        (b'{"a": [1, 2, 3, 4, 5, 6, 7]}', "more than 5 items"),
        (b'{"a": "\\"", "b": [[], [], []]}', "more than 4 lists"),
        (b'{"a": "\\\\", "b": [[], [], []]}', "more than 4 lists"),
        (b"[" * 1_000_000, "more than 4 lists"),
        (b'{"a": "' + b'\\"' * 500_000 + b"[" * 500_000, "Unterminated string"),
    ],
)
def test_what_exceeds_the_bounds_is_refused_before_it_is_built(raw, reason):
    with pytest.raises(MalformedJson, match=reason):
        parse_json_object(raw, JsonBounds(max_bytes=10**9, max_containers=4, max_items=5))


def test_sixteen_levels_are_allowed():
    assert _parse(b'{"a": ' + b"[" * 15 + b"]" * 15 + b"}")


def test_a_surrogate_pair_is_one_character():
    assert _parse(b'{"a": "\\ud83d\\ude00"}') == {"a": "😀"}


def test_an_escaped_backslash_before_a_u_is_no_surrogate():
    assert _parse(b'{"a": "\\\\ud800"}') == {"a": "\\ud800"}


@pytest.mark.parametrize("escapes", ["\\ud800\\ud800\\udc00", "\\udc00\\ud800", "\\\\\\ud800"])
def test_a_surrogate_beside_a_pair_or_the_wrong_way_round_is_refused(escapes):
    with pytest.raises(MalformedJson, match="lone surrogate"):
        _parse(f'{{"a": "{escapes}"}}'.encode())


def test_looking_for_half_characters_takes_no_longer_for_long_keys():
    raw = json.dumps({"k" * 4_000_000: [0] * 100_000, "x": "\ud83d\ude00"}).encode()
    started = time.perf_counter()

    _parse(raw)

    # It took 26 s when a path was built for each item, and 0.05 s since.
    assert time.perf_counter() - started < 5


def test_a_number_of_four_hundred_digits_is_still_a_number():
    assert _parse(b'{"a": ' + b"9" * 400 + b"}")


def test_a_long_key_given_twice_is_named_by_its_beginning():
    pair = b'"' + b"k" * 999 + b'": 1'

    with pytest.raises(MalformedJson) as refused:
        _parse(b"{" + pair + b", " + pair + b"}")

    assert "kkk" in str(refused.value)
    assert len(str(refused.value)) < 80
