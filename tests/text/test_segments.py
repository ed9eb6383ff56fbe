import json
import math
from pathlib import Path

import gsm0338
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.text.segments import Encoding, TextSize, measure_text

VECTORS = json.loads(
    (Path(__file__).parent.parent / "payloads/sms-segment-vectors.json").read_text()
)
GSM_CODEC = gsm0338.Codec()


def test_every_vector_is_counted_as_sinch_bills_it():
    wrong = [
        (text, encoding, parts, measure_text(text))
        for text, encoding, _, parts in VECTORS
        if measure_text(text) != TextSize(Encoding(encoding), parts)
    ]

    assert len(VECTORS) == 600
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "encoding", "parts"),
    [
        ("a" * 160, "GSM-7", 1),
        ("a" * 161, "GSM-7", 2),
        ("a" * 306, "GSM-7", 2),
        ("a" * 307, "GSM-7", 3),
        ("€" * 80, "GSM-7", 1),
        ("€" * 81, "GSM-7", 2),
        # An escape pair is not cut: 152 + 1 pair is one too many for 153.
        ("a" * 152 + "€" + "a" * 151, "GSM-7", 2),
        ("a" * 152 + "€" + "a" * 152, "GSM-7", 3),
        ("я" * 70, "UCS-2", 1),
        ("я" * 71, "UCS-2", 2),
        ("я" * 134, "UCS-2", 2),
        ("я" * 135, "UCS-2", 3),
        ("😀" * 35, "UCS-2", 1),
        # 33 pairs are 66 units; the 34th would be cut at 67.
        ("😀" * 66, "UCS-2", 2),
        ("😀" * 67, "UCS-2", 3),
        ("\U0010ffff" * 67, "UCS-2", 3),  # the last high surrogate, 0xDBFF, is one too
        ("`", "UCS-2", 1),
        ("ç", "UCS-2", 1),
        ("Ç", "GSM-7", 1),
    ],
)
def test_a_text_takes_so_many_parts(text, encoding, parts):
    assert measure_text(text) == TextSize(Encoding(encoding), parts)


def _gsm_septets(text: str) -> int | None:
    """What an independent codec makes of the text, None when it is not GSM-7."""
    try:
        return len(GSM_CODEC.encode(text)[0])
    except UnicodeEncodeError:
        return None


# The codec takes a bare escape for a character, which 3GPP does not.
@given(st.text(st.characters(codec="utf-8", exclude_characters="\x1b"), max_size=400))
def test_encoding_and_parts_agree_with_an_independent_codec(text):
    size = measure_text(text)
    septets = _gsm_septets(text)

    if septets is None:
        units = len(text.encode("utf-16-be")) // 2
        assert size.encoding is Encoding.UCS_2
        least = 1 if units <= 70 else math.ceil(units / 67)
        most = 1 if units <= 70 else math.ceil(units / 66)
    else:
        assert size.encoding is Encoding.GSM_7
        least = 1 if septets <= 160 else math.ceil(septets / 153)
        most = 1 if septets <= 160 else math.ceil(septets / 152)
    assert least <= size.parts <= most


@given(st.text("a€^я😀", min_size=1, max_size=500))
def test_no_part_ends_inside_a_character(text):
    assert measure_text(text).parts == _count_by_hand(text)


def _count_by_hand(text: str) -> int:
    """Fill part after part, one whole character at a time."""
    if set(text) <= set("a€^"):
        costs, alone, joined = [1 if c == "a" else 2 for c in text], 160, 153
    else:
        costs, alone, joined = [len(c.encode("utf-16-be")) // 2 for c in text], 70, 67
    if sum(costs) <= alone:
        return 1
    parts, room = 1, joined
    for cost in costs:
        if cost > room:
            parts, room = parts + 1, joined
        room -= cost
    return parts
