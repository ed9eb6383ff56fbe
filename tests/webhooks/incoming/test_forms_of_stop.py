"""A STOP in every form that a phone sends, over signed callbacks: is the number suppressed?"""

import base64
import json

import pytest

from app.subscribers.suppressions.store import find_suppressed
from tests.background import context_of

ANN = "+46701234567"
_MEDIA = [{"url": "https://example.com/i.jpg", "content_type": "image/jpeg", "status": "Uploaded"}]


def text(body, *, sender=ANN, kind="mo_text", **more):
    """A callback with a text from a phone."""
    fields = {"type": kind, "id": f"01{sender[1:]}", "from": sender.lstrip("+")}
    return json.dumps(fields | {"to": "12015550199", "body": body, **more}).encode()


def mms(message, subject, **more):
    """A callback with an MMS from a phone."""
    body = {"subject": subject, "message": message, "media": _MEDIA}
    return text(body, kind="mo_media", **more)


@pytest.fixture
def suppressed_by(callbacks):
    """A function that posts a signed callback and returns who is suppressed with its answer."""

    def post(raw, phone=ANN):
        assert callbacks.post(raw).status_code == 200
        ctx = context_of(callbacks.service)
        with ctx.db.read() as tx:
            return bool(find_suppressed(tx, ctx.subscriber_context, [phone], marketing=True))

    return post


@pytest.mark.parametrize(
    ("message", "subject"),
    [
        ("STOP", ""),
        ("", "STOP"),
        (None, "Stop"),
        ("stop", None),
        ("STOP", "NoSubject"),
        ("see the picture", "UNSUBSCRIBE"),
        ("Sluta, tack!", "Re: Acme"),
        ("please stop texting me", "hello"),
        ("START", "STOP"),
    ],
)
def test_a_stop_in_the_text_or_the_subject_of_an_mms_suppresses(suppressed_by, message, subject):
    assert suppressed_by(mms(message, subject))


@pytest.mark.parametrize(
    ("message", "subject"),
    [("", ""), (None, None), ("what a sale", "bus stop"), (7, ["STOP"]), ("Liked “STOP”", "")],
)
def test_an_mms_that_asks_for_nothing_suppresses_nobody(suppressed_by, message, subject):
    assert not suppressed_by(mms(message, subject))


def test_an_mms_whose_body_is_plain_text_is_read_as_a_text(suppressed_by):
    assert suppressed_by(text("STOP", kind="mo_media"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-be", "utf-16-le", "utf-16"])
@pytest.mark.parametrize("written", ["STOP", "СТОП"])
@pytest.mark.parametrize("padding", ["=", ""])
def test_a_stop_sent_as_bytes_suppresses(suppressed_by, encoding, written, padding):
    body = base64.b64encode(written.encode(encoding)).decode().rstrip("=" if not padding else "")

    assert suppressed_by(text(body, kind="mo_binary", udh="0500034a0101"))


@pytest.mark.parametrize("kind", ["MO_TEXT", "Mo_Text", " mo_text ", "mo_rcs", "mo_unicode"])
def test_a_type_in_capitals_or_a_new_one_takes_effect_with_the_answer(suppressed_by, kind):
    assert suppressed_by(text("STOP", kind=kind))


@pytest.mark.parametrize("name", ["message", "Message", "text", "body", "caption"])
def test_the_text_of_a_new_kind_of_message_is_read_whatever_it_is_called(suppressed_by, name):
    assert suppressed_by(text({name: "STOP", "id": "7"}, kind="mo_rcs"))


@pytest.mark.parametrize("kind", ["MO_MEDIA", "Mo_Media"])
def test_the_type_of_an_mms_may_be_in_capitals_too(suppressed_by, kind):
    assert suppressed_by(text({"subject": "", "message": "STOP", "media": []}, kind=kind))


def test_an_escaped_type_or_another_encoding_takes_effect_with_the_answer(suppressed_by):
    escaped = text("STOP").replace(b"mo_text", b"\\u006d\\u006f_text")
    other, wide = "+46701234568", text("STOP", sender="+46701234568").decode().encode("utf-16")

    assert suppressed_by(escaped)
    assert suppressed_by(wide, other)


@pytest.mark.parametrize(
    "number",
    [
        *("50051234", "29051234", "2908123", "68250123", "6834002", "6907290", "24765012"),
        *("67774321", "67855123", "68620123", "68540123", "67651234", "0050051234", "+50051234"),
    ],
)
def test_a_number_is_no_short_code_because_it_is_short(suppressed_by, number):
    phone = "+" + number.lstrip("+").removeprefix("00")

    assert suppressed_by(text("STOP", **{"from": number}), phone)


@pytest.mark.parametrize("code", ["71234", "262966", "12345", "Acme"])
def test_a_short_code_or_a_name_stays_what_it_is(callbacks, code):
    assert callbacks.post(text("STOP", **{"from": code})).status_code == 200

    ctx = context_of(callbacks.service)
    with ctx.db.read() as tx:
        assert not find_suppressed(tx, ctx.subscriber_context, [f"+{code}"], marketing=True)


HEARD = [
    "STOP to unsubscribe",
    "Svara STOPP för att slippa",
    "Cikmak icin RET yaziniz",
    "On 3 May 2026 at 10:00 Acme wrote:\n> Sale today. 20% off\n\nSTOP",
    "“Acme: 20% off. Reply STOP to end” STOP",
    # Instructions as installations write them, sent back whole or from their middle on.
    "Reply STOP to cancel, HELP for help",
    "STOP to cancel, HELP for help",
    "Msg & data rates may apply. Reply STOP to cancel.",
    "Vill du inte ha fler sms? Svara STOPP",
    "Keine SMS mehr? STOP antworten",
    "Para darte de baja responde BAJA",
    "Pour ne plus recevoir de SMS: STOP au 36180",
    "STOP til 1234 for at framelde",
    "Iptal icin RET yazip 3340'a gonderin",
    "Tu choi QC, soan TC gui 9241",
    *(
        "UNREG ACME",
        "RET 1234",
        "RET ACME",
        "TC ACME",
        "TC QC",
        "回T",
        "回复T",
        "OFF 11",
        "BAJA 1234",
    ),
    *("No stop", "stop for good", "Stop at once!", "stop until further notice", "stop and desist"),
    *("Stop4ever", "Stop on 12345", "STOPSTOPSTOP", "TEXTSTOP", "5T0P", "S/T/O/P", "$top"),
    *(
        "STOP12345",
        "12345 STOP",
        "syop",
        "dtop",
        "stopo",
        "who is this stop",
        "you were told to stop",
    ),
    *("STOPしてください", "ارجوك توقف", "onttrek", "одјави", "NO ENVIAR MAS"),
    *("ꜱᴛᴏᴘ", "ยกเลิกค่ะ", "tama na po", "end this", "take me off ur list", "I want this to stop"),
    *("Asked you to stop", "told you to stop", "stop using my number", "Stop before I report you"),
    *("no texts", "NO SMS", "not my number", "wrong #", "I object", "DND", "отпишись", "відпишись"),
    *("stop or I will sue", "keine SMS", "pas de sms", "inga sms", "ich widerspreche", "me opongo"),
    *(
        "🙅🏽‍♀️",
        "❌",
        "🆂🆃🅾🅿",
        "st\u043ep",
        "ST\u039fP",
        "StopMsg",
        "não quero receber",
        "no moleste",
    ),
    *("நிறுத்து", "ఆపండి", "ನಿಲ್ಲಿಸಿ", "નથી જોઈતું", "ရပ်ပါ", "បញ្ឈប់", "შეწყვეტა", "ՍՏՈՊ", "አቁም"),
]
NOT_HEARD = [
    " ​👍​ to “ Acme: 20% off today only. Reply STOP to unsubscribe ” ",
    " ‌👍‌ removed from “ Acme. Reply STOP to unsubscribe ” ",
    "Removed a like from “Acme: 20% off. Reply STOP to unsubscribe”",
    "Reacted 🛑 to “Acme: 20% off. Reply STOP to unsubscribe”",
    "Gefällt „Acme: 20%! Abmelden: STOP antworten“",
    "A aimé « Acme : -20 %. Répondez STOP pour vous désabonner »",
    "Le gustó “Acme: 20%. Responda BAJA para no recibir más”",
    "Gillade ”Rea! Svara STOPP för att slippa”",
    "“Acme セール 停止するにはSTOPと返信してください。”に「いいね」",
    "“Acme 할인. 거부하려면 STOP이라고 답장하세요.”에 좋아요를 표시함",
    "对“Acme特价。回复TD退订”表示喜爱",
    "Понравилось «Acme: скидка. Отписаться: СТОП.»",
    "Indirim! Cikmak icin RET yaziniz\nhttps://acme.example",
    "Sounds good\n\nOn Tue, Shop wrote:\nReply STOP to end",
    # Shortened by the phone, under a word that no list has.
    "Lajknuo “Acme: 20% off today only, unsubscribe wh…”",
    *("What happens if I reply STOP?", "Is it true I can reply STOP to end these?"),
    *("bus stop", "Full stop.", "stop at 5", "Stop by at 5", "end of june", "nonstop", "stopover"),
]


def test_every_way_to_say_stop_suppresses_with_the_answer_and_no_reaction_does(callbacks):
    texts = [*HEARD, *NOT_HEARD]
    phones = [f"+4670174{place:04}" for place in range(len(texts))]

    for phone, body in zip(phones, texts, strict=True):
        assert callbacks.post(text(body, sender=phone)).status_code == 200

    ctx = context_of(callbacks.service)
    with ctx.db.read() as tx:
        stopped = find_suppressed(tx, ctx.subscriber_context, phones, marketing=False)
    heard = [body for phone, body in zip(phones, texts, strict=True) if phone in stopped]
    assert heard == HEARD
