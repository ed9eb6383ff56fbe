import json
import unicodedata
from pathlib import Path

import gsm0338
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.text.lookalikes import NonGsmCharacter, find_non_gsm_characters, suggest_gsm_text
from app.text.segments import Encoding, is_gsm7, measure_text

VECTORS = json.loads(
    (Path(__file__).parent.parent / "payloads/sms-segment-vectors.json").read_text()
)
GSM_CODEC = gsm0338.Codec()
NBSP, ZWSP, COMBINING_ACUTE, COMBINING_CARON = "\xa0", "\u200b", "\u0301", "\u030c"
texts = st.text(
    st.sampled_from("aeZ1 €é’–…«»łőœпрCС™½\xa0\u200b\u0301\u030c😀Ωοα")
    | st.characters(codec="utf-8"),
    max_size=120,
)


@pytest.mark.parametrize(
    ("costly", "cheap"),
    [
        ("“Don’t” – he said…", '"Don\'t" - he said...'),
        (f"5{NBSP}€ • 10\u2009€ ‑ 15\u202f€", "5 € * 10 € - 15 €"),
        ("Łódź, Kraków, žluťoučký kůň", "Lodz, Krakow, zlutoucky kun"),
        ("Szép időt, jövő hétfőn, tűz", "Szép idöt, jövö hétfön, tüz"),
        ("cœur, façade, Đà Nẵng", "coeur, facade, Dà Nang"),
        ("one\ttwo", "one two"),
        (f"invis{ZWSP}ible\ufeff", "invisible"),
        (f"cafe{COMBINING_ACUTE} s{COMBINING_CARON}", "café s"),
        ("ﬁne ＡＢＣ", "fine ABC"),
        ("«Don´t»", "<<Don't>>"),
    ],
)
def test_a_costly_text_has_a_cheap_one_that_reads_alike(costly, cheap):
    assert suggest_gsm_text(costly) == cheap
    assert measure_text(cheap).encoding is Encoding.GSM_7


@pytest.mark.parametrize(
    "text",
    ["", "Pickup moved to 08:30", "€ [x] ~ é Ö", "Hi 🙂…", "Привет", "日本", "1½ h", "Acme™"],
)
def test_a_text_that_is_cheap_or_cannot_be_is_left_alone(text):
    assert suggest_gsm_text(text) is None


@pytest.mark.parametrize(
    "text",
    ["https://acme.example/–b", "acme.example/a’b – now", "see łódź.example – now",
     "ő@acme.example", "www.acme.example/?q=“x”&y=1", f"acme.example/{ZWSP}a",
     "Code ŁÓDŹ5 – now", "kod: 5Ő7",
     "ſAVE10 – now", "10ǃ – now", "from 5† – now", "5‡ people"],
)  # fmt: skip
def test_a_link_an_address_or_a_code_is_never_changed(text):
    assert suggest_gsm_text(text) is None


@pytest.mark.parametrize(
    ("costly", "cheap"),
    [("Look: “acme.example/a” – now…", 'Look: "acme.example/a" - now...'),
     ("Łódź – 5 € off", "Lodz - 5 € off"), ("“5–10”", '"5-10"'), ("See acme.example…", None)],
)  # fmt: skip
def test_signs_around_a_link_and_beside_digits_may_be_changed(costly, cheap):
    assert suggest_gsm_text(costly) == (cheap or "See acme.example...")


def test_a_look_alike_that_would_take_more_parts_is_not_suggested():
    assert suggest_gsm_text("…" * 70) is None
    assert suggest_gsm_text("…" * 53) == "." * 159


def test_each_dear_character_is_named_once_and_counted():
    found = find_non_gsm_characters("a’b’c 🙂 ’")

    assert found == (
        NonGsmCharacter("’", "right single quotation mark", 3, "'"),
        NonGsmCharacter("🙂", "slightly smiling face", 1, None),
    )


def test_a_character_is_dear_together_with_its_marks():
    found = find_non_gsm_characters(f"x{COMBINING_CARON} ❤\ufe0f")

    assert [(each.character, each.look_alike) for each in found] == [
        (f"x{COMBINING_CARON}", "x"),
        ("❤\ufe0f", None),
    ]
    assert found[0].name == "latin small letter x and combining caron"


def test_a_character_without_a_name_is_told_by_its_number():
    assert [each.name for each in find_non_gsm_characters("\t\ue000")] == ["U+0009", "U+E000"]


@pytest.mark.parametrize("character", "½²１٣Ⅳ‰₹¢₤°™©×−≤→αаАΑСあ中한º¶🙂")
def test_numbers_symbols_and_letters_of_other_scripts_are_never_replaced(character):
    [found] = find_non_gsm_characters(f"a {character} 1")

    assert found.look_alike is None
    assert suggest_gsm_text(f"“{character}”") is None


def test_what_is_dear_by_the_vectors_is_dear_here():
    wrong = [
        text
        for text, encoding, *_ in VECTORS
        if bool(find_non_gsm_characters(text)) != (encoding == Encoding.UCS_2)
    ]

    assert wrong == []


@given(texts)
def test_a_text_is_dear_for_what_is_found_in_it_and_for_nothing_else(text):
    found = find_non_gsm_characters(text)

    assert bool(found) == (not is_gsm7(text))
    assert all(each.character in text and each.count >= 1 for each in found)
    rest = text
    for each in sorted(found, key=lambda one: -len(one.character)):
        rest = rest.replace(each.character, "")
    assert all(is_gsm7(each) or unicodedata.category(each) in ("Mn", "Me") for each in rest)


@given(texts)
def test_a_suggestion_is_in_gsm7_in_no_more_parts_and_needs_no_other(text):
    cheap = suggest_gsm_text(text)

    if cheap is not None:
        GSM_CODEC.encode(cheap)
        assert measure_text(cheap).parts <= measure_text(text).parts
        assert suggest_gsm_text(cheap) is None
        assert find_non_gsm_characters(cheap) == ()
