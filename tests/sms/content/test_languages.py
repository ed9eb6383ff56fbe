"""The text that a reader gets: templates, footers and replies fall back by the rules of CLDR."""

from app.sms.content.footers import add_footer, choose_footer
from app.sms.inbound.reply_texts import Reply, choose_reply
from tests.callers import Caller
from tests.factories import many_numbers
from tests.people import add_people

READERS = [
    ("nb", ["en", "no"], "no"),
    ("nn", ["en", "no"], "no"),
    ("no", ["en", "nb"], "nb"),
    ("nn-NO", ["en", "nb"], "nb"),
    ("zh-TW", ["en", "zh-Hans", "zh-Hant"], "zh-Hant"),
    ("zh-HK", ["zh-Hans", "zh-Hant", "en"], "zh-Hant"),
    ("zh-MO", ["zh-Hans", "zh-Hant", "en"], "zh-Hant"),
    ("zh-CN", ["zh-Hant", "zh-Hans", "en"], "zh-Hans"),
    ("zh-SG", ["zh-Hant", "zh-Hans", "en"], "zh-Hans"),
    ("zh", ["zh-Hant", "zh-Hans", "en"], "zh-Hans"),
    ("zh-Hant", ["en", "zh-CN", "zh-TW"], "zh-TW"),
    ("zh-Hant-HK", ["en", "zh-Hans", "zh-TW"], "zh-TW"),
    ("yue", ["en", "zh-Hans", "zh-Hant"], "zh-Hant"),
    ("iw", ["en", "he"], "he"),
    ("he", ["en", "iw"], "iw"),
    ("in", ["en", "id"], "id"),
    ("tl", ["en", "fil"], "fil"),
    ("mo", ["en", "ro"], "ro"),
    ("sh", ["en", "sr-Cyrl", "sr-Latn"], "sr-Latn"),
    ("sr-ME", ["en", "sr-Cyrl", "sr-Latn"], "sr-Latn"),
    ("sr", ["en", "sr-Latn", "sr-Cyrl"], "sr-Cyrl"),
    ("pt-AO", ["en", "pt-BR", "pt-PT"], "pt-PT"),
    ("pt", ["en", "pt-PT", "pt-BR"], "pt-BR"),
    ("pt-PT", ["en", "pt"], "pt"),
    ("es-AR", ["en", "es-ES", "es-MX"], "es-MX"),
    ("en-AU", ["sv", "en-US", "en-GB"], "en-GB"),
    ("en", ["sv", "en-GB", "en-US"], "en-US"),
    ("sv-FI", ["en", "sv"], "sv"),
    ("uz-Cyrl", ["en", "uz"], "en"),
    ("pa-PK", ["en", "pa-Guru"], "en"),
    ("sv", ["en", "da"], "en"),
    ("fr-CA", ["en", "fr-FR", "fr-CA"], "fr-CA"),
    ("nn-NO", ["en", "nb", "nn"], "nn"),
    ("no", ["en", "nn", "nb"], "nb"),
    ("ru-Cyrl", ["en", "ru"], "ru"),
    ("sv", ["en", "sv-Latn-SE"], "sv-Latn-SE"),
    ("es-PH", ["en", "es-MX", "es-ES"], "es-ES"),
    ("de", ["en", "de-AT", "de-DE"], "de-DE"),
    ("fr-BE", ["en", "fr-CA", "fr-FR"], "fr-FR"),
    ("zh-Hant", ["en", "zh-HK", "zh-TW"], "zh-TW"),
    ("zh-MO", ["en", "zh-TW", "zh-HK"], "zh-HK"),
    ("sv", ["en", "sv-FI", "sv-SE"], "sv-SE"),
    ("en-PR", ["sv", "en-GB", "en-US"], "en-US"),
]


def test_each_reader_gets_the_translation_that_suits(service, at_sinch):
    caller, ctx = Caller(service), service.extensions["clarion"]
    phones = many_numbers(len(READERS))
    for place, (phone, (reader, languages, _)) in enumerate(zip(phones, READERS, strict=True)):
        add_people(ctx, [phone], language=reader)
        texts = {language: f"text in {language}" for language in languages}
        default = "en" if "en" in languages else languages[0]
        body = {"name": f"t{place}", "texts": texts, "default_language": default}
        assert caller.post("/api/templates", body).status_code == 201
        sent = caller.post(
            "/api/broadcast", {"recipients": [phone], "template": {"name": f"t{place}"}}
        )
        assert sent.status_code == 202, sent.get_json()

    got = {f"+{batch['to'][0]}": batch["body"] for batch in at_sinch()}
    wanted = {
        phone: f"text in {language}"
        for phone, (_, _, language) in zip(phones, READERS, strict=True)
    }
    assert got == wanted


def test_the_language_of_a_request_falls_back_like_that_of_a_reader(service, at_sinch):
    caller = Caller(service)
    texts = {"en": "in English", "no": "på norsk", "zh-Hant": "繁體"}
    caller.post("/api/templates", {"name": "t", "texts": texts, "default_language": "en"})
    (phone,) = many_numbers(1)

    for language in ("nb", "zh-HK", "en-GB"):
        body = {"recipients": [phone], "template": {"name": "t"}, "language": language}
        assert caller.post("/api/broadcast", body | {"allow_duplicate": True}).status_code == 202
    refused = caller.post(
        "/api/broadcast", {"recipients": [phone], "template": {"name": "t"}, "language": "sv"}
    )

    assert [batch["body"] for batch in at_sinch()] == ["på norsk", "繁體", "in English"]
    assert refused.status_code == 400
    assert "language" in refused.get_json()["fields"]


def test_footers_and_replies_fall_back_by_the_same_rules():
    own = {"zh-Hant": "回覆STOP退訂", "zh-Hans": "回复TD退订", "no": "Svar STOPP"}

    assert choose_footer("zh-TW", own) == own["zh-Hant"]
    assert add_footer("DON'T STOP NOW", "en", {"en": "STOP"}) == "DON'T STOP NOW\nSTOP"
    assert add_footer("Rea\nSTOPP avslutar", "sv", {"sv": "STOPP avslutar"}).count("STOPP") == 1
    assert choose_footer("nn", own) == own["no"]
    assert choose_footer("nn", {}) == choose_footer("nb", {}) != choose_footer("en", {})
    assert choose_reply(Reply.STOP, "iw") == choose_reply(Reply.STOP, "he")
    assert choose_reply(Reply.STOP, "in-ID") == choose_reply(Reply.STOP, "id")
    assert choose_reply(Reply.STOP, "xx", None, "no") == choose_reply(Reply.STOP, "nb")
