"""Reactions, quotations and instructions: what is the sender's own word, and what is ours."""

import time
import tomllib
from pathlib import Path

import pytest

from app.keywords.classify import KeywordIntent, classify_keyword
from app.keywords.instructions import has_instruction
from app.keywords.vocabulary import LANGUAGES
from app.sms.content.footers import choose_footer
from app.sms.inbound import reply_texts
from tests.keywords.ways_out import FOOTER_LANGUAGES, NO_WAYS_OUT, WAYS_OUT, read_more

STOPS = (KeywordIntent.STOP, KeywordIntent.MAYBE_STOP)
HERE = Path(__file__).parent
FORMS = [
    line.split(" ", 1)
    for line in (HERE / "reactions.txt").read_text("utf-8").split("\n")
    if line and not line.startswith("#")
]
FOOTERS = {language: choose_footer(language, {}) for language in FOOTER_LANGUAGES}
REPLIES = tomllib.loads(Path(reply_texts.__file__).with_suffix(".toml").read_text("utf-8"))
OURS = [
    "STOP",
    "Please stop texting me",
    "Acme: 20% off today only. Reply STOP to unsubscribe",
    "Acme: our “best” sale – 20% off!\nReply STOP to unsubscribe",
    *FOOTERS.values(),
    *(f"Acme: 20%!\n{footer}" for footer in FOOTERS.values()),
    *(text for texts in REPLIES.values() for text in texts.values()),
]


def is_heard(text):
    return classify_keyword(text).intent in STOPS


@pytest.mark.slow
def test_reactions_of_phones_in_forty_languages_are_never_a_stop():
    texts = [form.replace("…", ours) for _, form in FORMS for ours in OURS]

    assert len({language for language, _ in FORMS}) >= 35
    assert len(texts) > 20_000
    assert [text for text in texts if is_heard(text)] == []


@pytest.mark.parametrize(
    "form",
    ["Gostei: «…»", "Zabavilo „…“", "Ni-like ang “…”", "Xyz “…” abc", "Mipenda «…»", "👍 “…”"],
)
def test_a_reaction_in_words_unknown_to_us_is_none_when_it_quotes_our_instruction(form):
    for footer in FOOTERS.values():
        assert not is_heard(form.replace("…", f"Acme: 20% today! {footer}"))


@pytest.mark.parametrize(
    "form",
    [
        "Anna liked “…”",
        "Deu risada de “…”",
        "Поставил(а) 👍 на «…»",
        "Vond ‘…’ geweldig",
        "「…」に❤️",
    ],
)
def test_a_reaction_in_words_unknown_to_us_to_our_answer_to_a_stop_is_none(form):
    for texts in REPLIES.values():
        assert not is_heard(form.replace("…", texts["stop"]))


@pytest.mark.parametrize(
    "text",
    [
        "Please no more texts “Acme: 20% today! Reply STOP to unsubscribe”",
        "“You are unsubscribed and will get no more messages. Reply START to resubscribe.” stop",
        "Stop - Sent from my T-Mobile 5G Device",
        "unsubscribe me Sent from my Verizon Motorola Smartphone",
        "STOP von meinem iPhone gesendet, bitte nicht antworten",
    ],
)
def test_what_the_sender_writes_beside_a_quotation_or_a_signature_is_heard(text):
    assert is_heard(text)


@pytest.mark.parametrize("form", ["{}", "{}.", "“{}”", "ok {}", "{} please"])
@pytest.mark.parametrize("language", FOOTERS)
def test_every_part_of_our_footer_that_has_its_keyword_is_heard(language, form):
    words = FOOTERS[language].split()
    place = next(number for number, word in enumerate(words) if word.strip(",").isupper())

    parts = [
        form.format(" ".join(words[start:end]))
        for start in range(place + 1)
        for end in range(place + 1, len(words) + 1)
    ]

    assert [text for text in parts if not is_heard(text)] == []
    assert [text for text in parts if not is_heard(text.lower())] == []


@pytest.mark.parametrize("language", REPLIES)
@pytest.mark.parametrize("reply", ["start", "help", "confirmed"])
def test_the_instruction_of_our_reply_sent_back_alone_is_heard(language, reply):
    text = REPLIES[language][reply]
    ends = [place for place, character in enumerate(text[:-1]) if character in ".:,。।"]

    assert is_heard(text[ends[-1] + 1 :].strip()) or is_heard(text[ends[-2] + 1 :].strip())


@pytest.mark.parametrize(
    "text",
    [
        "STOP to unsubscribe",
        "to unsubscribe",
        "STOP to leave this list",
        "stop to be removed from this list",
        "Reply STOP to unsubscribe",
        "reply stop to opt out",
        "Txt STOP to end",
        "STOP 2 END",
        "STOP=END",
        "Text STOP to 12345",
        "för att slippa",
        "om af te melden",
        "aby zrezygnować",
        "para cancelar",
        "pour vous désabonner",
        "per non ricevere più SMS",
        "for å melde deg av",
        "回复TD退订",
        "停止するにはSTOPと返信してください",
        "거부하려면 STOP이라고 답장하세요",
    ],
)
def test_an_instruction_that_is_done_to_the_letter_is_heard(text):
    assert is_heard(text)


@pytest.mark.parametrize("language", FOOTERS)
def test_our_whole_text_forwarded_is_not_a_stop(language):
    for body in ("Acme: 20% today only.", "Sale!", "Come and see us on Friday at noon"):
        assert not is_heard(f"{body}\n{FOOTERS[language]}")
        assert is_heard(f"{body}\n{FOOTERS[language]}\n\nSTOP")


@pytest.mark.parametrize(
    "text",
    [
        "On 3 May 2026 at 10:00 Acme wrote:\n> Sale today. 20% off\n\nSTOP",
        "On 3 May 2026 at 10:00 Acme\n<sms@acme.example> wrote:\n> Sale\n\nSTOP",
        "-----Original Message-----\nFrom: Acme\nSubject: Sale\n\n> Sale\n\nSTOP",
        "Begin forwarded message:\nFrom: Acme\n> Sale\n\nunsubscribe",
        "Am 3. Mai 2026 schrieb Acme:\n> Rabatt\n> Abmelden: STOP antworten\n\nSTOP",
        "Le 3 mai, Acme a écrit :\n> Promo\n\nARRET",
        "El 3 de mayo, Acme escribió:\n>\n> Oferta\n\nBAJA",
        "Dnia 3 maja Acme napisał(a):\n> Promocja\n\nWYPISZ",
        "Den 3 maj skrev Acme:\n> Rea\n\nSluta",
        "2026/5/3 Acme:\n> セール\n\n停止",
        "> Sale today\nSTOP",
        "| Sale today\nSTOP",
        "STOP\n\nOn Tue, Shop wrote:\n> Sale",
        "STOP\n\n-----Original Message-----\nFrom: Acme\nSale",
        "“Acme: 20% off. Reply STOP to end” STOP",
        "“Acme: 20% off. Reply STOP to end”\n\nplease stop texting me",
        "STOP “Acme: 20% off. Reply STOP to end”",
        "Replied to: Sale! Reply STOP to end\nSTOP",
        "“STOP”",
        'Please "unsubscribe" me',
        "I said “stop”",
        "No! “stop texting me”",
        "Liked it. STOP",
        "👍 STOP",
    ],
)
def test_the_senders_own_word_counts_above_and_below_a_quotation(text):
    assert is_heard(text)


@pytest.mark.parametrize(
    "text",
    [
        "On 3 May Acme wrote:\n> Sale. Reply STOP to end\n\nGreat, thanks",
        "Sounds good\n\nOn Tue, Shop wrote:\nSTOP",
        "Thanks!\n\n-----Original Message-----\nSale. Reply STOP to unsubscribe\nSTOP",
        "Danke\n\n________________________________\nVon: Acme\nAbmelden: STOP antworten",
        "> Odhlaseni: odpovezte STOP\nDekuji",
    ],
)
def test_a_quotation_of_ours_is_not_the_senders_word(text):
    assert not is_heard(text)


@pytest.mark.parametrize("text", WAYS_OUT)
def test_an_instruction_names_what_to_do(text):
    assert has_instruction(text)


@pytest.mark.parametrize("text", NO_WAYS_OUT)
def test_a_keyword_as_an_ordinary_word_is_no_instruction(text):
    assert not has_instruction(text)


@pytest.mark.parametrize("offer", ["", "Acme: 20% off all shoes until Sunday. "])
def test_ways_out_of_many_languages_are_told_from_offers_with_their_words(offer):
    ways_out, offers = read_more("+"), read_more("-")

    assert (len(ways_out) > 400, len(offers) > 280) == (True, True)
    assert [text for text in ways_out if not has_instruction(offer + text)] == []
    assert [text for text in offers if has_instruction(offer + text)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_keyword_of_any_language_is_an_instruction_by_itself(language):
    table = LANGUAGES[language]
    keywords = [
        keyword.strip().upper()
        for kind in ("stop_within", "stop", "stop_alone", "maybe_stop")
        for keyword in table[kind].split(",")
        if keyword.strip() and keyword.strip().isascii() and " " not in keyword.strip()
    ]

    # This one says what it is for.
    plain = [word for word in keywords if word != "STOP2END"]
    texts = [form.format(word) for word in plain for form in ("{}", "{} SALE", "WE {} PRICES")]

    assert [text for text in texts if has_instruction(text)] == []


@pytest.mark.slow
def test_quotations_and_instructions_are_read_in_linear_time():
    nasty = [
        "“" * 5_000,
        "“”" * 5_000,
        "reply stop " * 1_000,
        "reply " * 2_000 + "STOP",
        "STOP to " * 1_500,
        "www." * 3_000,
        "unsubscribe " * 1_000,
        "a.bc/" * 2_000,
        "> x\n" * 3_000,
        "-" * 10_000,
        "a:" * 5_000,
        "\u200a\u200b" * 4_000,
        "回复" * 4_000,
        "1 2 3 4 5 " * 1_000,
    ]

    for text in nasty:
        start = time.process_time()
        classify_keyword(text)
        has_instruction(text)
        assert time.process_time() - start < 1.0, text[:20]
