"""What texts from phones ask for: every way of saying no more is heard, and nothing else is."""

import time
from pathlib import Path

import pytest

from app.keywords import vocabulary
from app.keywords.classify import KeywordIntent, classify_keyword
from app.keywords.vocabulary import LANGUAGES, STOP_KINDS
from tests.keywords.opt_outs import SENTENCES, VARIED, vary_keyword

ORDINARY = (Path(__file__).parent / "ordinary_replies.txt").read_text("utf-8").splitlines()
STOPS = (KeywordIntent.STOP, KeywordIntent.MAYBE_STOP)

OPT_OUTS = [text for said in SENTENCES for text in VARIED[said.mark](said.text)]
OTHERWISE = [
    (code, keyword.strip())
    for code, language in LANGUAGES.items()
    for kind in STOP_KINDS
    for keyword in language[kind].split(",")
    if keyword
]


def test_five_thousand_opt_outs_are_all_heard():
    texts = dict.fromkeys(OPT_OUTS)

    missed = [text for text in texts if classify_keyword(text).intent not in STOPS]

    assert len(texts) >= 6_000
    assert missed == []


def test_a_keyword_is_certain_however_it_is_written():
    texts = [text for said in SENTENCES if said.mark == "=" for text in vary_keyword(said.text)]

    unsure = [text for text in texts if classify_keyword(text).intent is not KeywordIntent.STOP]

    # What is signed, or has a sentence beside it, is reviewed.
    assert [text for text in unsure if not text.endswith("Anna")] == ["Ok, no más"]


def test_every_keyword_that_is_listed_stops_alone_and_with_courtesy():
    texts = [
        varied for _, keyword in OTHERWISE for varied in (keyword, f"{keyword}!", f"{keyword} 🙏")
    ]

    assert [text for text in texts if classify_keyword(text).intent is not KeywordIntent.STOP] == []


def test_a_long_keyword_with_one_letter_wrong_is_heard():
    long = [said.text for said in SENTENCES if said.mark == "=" and said.text.isalpha()]
    texts = [
        typo for text in long if len(text) >= 7 and text.isascii() for typo in list_typos(text)
    ]

    assert len(texts) > 300
    assert [text for text in texts if classify_keyword(text).intent not in STOPS] == []


def list_typos(word):
    """One letter missing, doubled elsewhere, or wrong; two in each other's place."""
    for place in range(1, len(word) - 1):
        yield word[:place] + word[place + 1 :]
        yield word[:place] + "x" + word[place + 1 :]
        yield word[:place] + "q" + word[place:]
        yield word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def test_no_ordinary_reply_is_a_stop_and_few_may_be():
    heard = {text: classify_keyword(text).intent for text in ORDINARY}

    assert len(heard) >= 900
    assert [text for text, intent in heard.items() if intent is KeywordIntent.STOP] == []
    unsure = [text for text, intent in heard.items() if intent is KeywordIntent.MAYBE_STOP]
    assert len(unsure) <= 18, unsure


@pytest.mark.parametrize("word", ["no", "nothing", "lunch"])
def test_a_long_text_with_a_stop_in_it_is_not_certain(word):
    long = f"I was at the {word} place with my friends and " * 4

    assert classify_keyword(f"{long}. Please stop texting me").intent is KeywordIntent.MAYBE_STOP
    assert classify_keyword(long + "stop texting me").intent is not KeywordIntent.STOP


@pytest.mark.parametrize(
    "text",
    ["STOP2", "2STOP", "ST⛔P", "st🚫p!", "STOP™", ">>STOP<<", "ЅТОР", "Men sluta!", "📵", "🖕",
     "ret b001", "3340 iptal", "1234 RET", "OUT 60300", "END 1234",
     "STOP https://acme.example/x?u=1", "Please remove 0701234567 from your list"],
)  # fmt: skip
def test_a_stop_with_a_digit_a_sign_or_a_link_in_it_or_beside_it_is_heard(text):
    assert classify_keyword(text).intent in STOPS


@pytest.mark.parametrize(
    "text",
    [
        "please cancel",
        "wrong number",
        "not interested",
        "I should stop texting so much",
        "don't text me while I am driving",
        "stop texting me until Monday",
        "ABMELDUNGX heute",
        "Stopp! Jag menar",
        "fuck off",
        "stop it",
        "⛔",
    ],
)
def test_what_can_be_meant_otherwise_is_never_certain(text):
    assert classify_keyword(text).intent is not KeywordIntent.STOP


@pytest.mark.parametrize(
    "text",
    [
        'Liked "Sale! Reply STOP to unsubscribe"',
        "Gillade ”Rea! Svara STOPP för att sluta”",
        "> Reply STOP to unsubscribe\nYes, see you there",
        "Sounds good\n\nOn Tue, Shop wrote:\nSTOP",
        "please don't stop sending these",
        "I never unsubscribed from texts",
        "",
        " \n ",
        "…",
        "\0",
        "\ud83d",
        "a" * 100_000,
    ],
)
def test_what_asks_for_nothing_is_nothing(text):
    assert classify_keyword(text).intent is KeywordIntent.NONE


@pytest.mark.parametrize(
    ("text", "intent", "language"),
    [
        ("START", KeywordIntent.START, None),
        ("start sms igen tack", KeywordIntent.START, "sv"),
        ("Yes, start", KeywordIntent.START, "en"),
        ("unstop please", KeywordIntent.START, "en"),
        ("Börja", KeywordIntent.START, "sv"),
        ("anmelden", KeywordIntent.START, "de"),
        ("start stop", KeywordIntent.MAYBE_STOP, None),
        ("Help!", KeywordIntent.HELP, None),
        ("hjälp", KeywordIntent.HELP, None),
        ("aide", KeywordIntent.HELP, "fr"),
        ("YES", KeywordIntent.YES, "en"),
        ("yes please!!", KeywordIntent.YES, "en"),
        ("Y", KeywordIntent.YES, "en"),
        ("ja", KeywordIntent.YES, None),
        ("oui merci", KeywordIntent.YES, "fr"),
        ("да", KeywordIntent.YES, "ru"),
        ("はい", KeywordIntent.YES, "ja"),
        ("yes, but not on Monday", KeywordIntent.NONE, None),
        ("No", KeywordIntent.NONE, None),
        ("nein danke", KeywordIntent.NONE, None),
        ("stop bitte", KeywordIntent.STOP, "de"),
        ("stop tack", KeywordIntent.STOP, "sv"),
        ("退订", KeywordIntent.STOP, "zh"),
    ],
)
def test_other_wishes_are_heard_with_their_language(text, intent, language):
    assert classify_keyword(text) == (intent, language)


def test_nothing_that_anybody_can_write_takes_long():
    nasty = [
        "stop the " * 200,
        "please stop all these sms text texts messages from sending " * 30,
        "don't want " * 150,
        "s t o p " * 200,
        "no more " * 200 + "\n" * 500,
        "“" * 2_000,
        "不要再" * 600,
    ]

    for text in nasty:
        start = time.process_time()
        classify_keyword(text)
        assert time.process_time() - start < 0.05


def write_table():
    """The keywords by language, as docs/opt-out.md has them."""
    for code, language in LANGUAGES.items():
        alone = [f"{word.strip()}*" for word in language["stop_alone"].split(",") if word.strip()]
        stop, *others = (
            " ".join(language[kind].split()) for kind in ("stop", "start", "help", "yes")
        )
        stops = ", ".join(part for part in (language["stop_within"], stop, *alone) if part)
        yield f"| {' | '.join((code or 'any', ' '.join(stops.split()), *others))} |"


def test_every_table_has_only_names_that_are_read():
    names = {name for language in LANGUAGES.values() for name, value in language.items() if value}

    for name in names:
        assert name in vocabulary.__doc__, name


def test_the_keywords_stand_in_the_document():
    document = (Path(__file__).parents[2] / "docs" / "opt-out.md").read_text("utf-8")

    assert document.endswith("\n".join(write_table()) + "\n")
