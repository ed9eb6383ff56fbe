"""Invalid arguments are refused in plain words: the field, the reason and what to write."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.callers import Caller
from tests.factories import AUTH, broadcast_to

ANN = "+46701234567"
# Words of the library below, which nobody outside of it knows.
JARGON = re.compile(
    r"aware|naive|datetime|null\.|Missing data|Field may|mapping|utf-8 string|expected pattern"
    r"|greater than|Invalid (input )?type|Length must|(Shorter|Longer) than m|Not a valid|_schema"
)


def _refuse(caller, body, path="/api/broadcast"):
    answer = caller.post(path, body)
    assert answer.status_code == 400, answer.get_json()
    return answer.get_json()


@pytest.fixture
def caller(make_service, sandbox):
    return Caller(make_service(LOG_LEVEL="error"))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("mesage", "message"), ("Message", "message"), ("text", "message"), ("body", "message"),
        ("to", "recipients"), ("numbers", "recipients"), ("recipient", "recipients"),
        ("from", "sender"), ("sendAt", "send_at"), ("send-at", "send_at"), ("when", "send_at"),
        ("expires_at", "expire_at"), ("tag", "audience"), ("allowDuplicates", "allow_duplicate"),
        ("catagory", "category"), ("deliveryReport", "delivery_report"),
        ("phoneNumbers", "recipients"), ("phone_numbers", "recipients"),
        ("scheduledAt", "send_at"), ("scheduled_for", "send_at"), ("validityPeriod", "expire_at"),
    ],
)  # fmt: skip
def test_a_misspelt_field_is_told_what_was_meant_and_what_is_missing(asker, written, meant):
    refused = _refuse(asker, {written: "x"})

    assert refused["fields"][written] == [f"Unknown field: did you mean {meant}?"]
    assert "give phone numbers here" in refused["fields"]["recipients"][0]
    assert "give the text here" in refused["fields"]["message"][0]
    for name in (written, "recipients", "message"):
        assert f"{name}: " in refused["error"]


def test_a_field_that_is_like_none_is_told_which_there_are(caller):
    refused = _refuse(caller, broadcast_to(ANN, zzzz=1))

    assert "Known are allow_duplicate, audience, canary" in refused["fields"]["zzzz"][0]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("message", "x" * 2001, ["2,000", "2,001"]),
        ("message", "", ["Empty", "1 to 2,000 characters"]),
        ("message", " \n\t", ["Only blanks", "1 to 2,000 characters"]),
        ("message", "\u200b\u3164 \u2800", ["Only blanks", "1 to 2,000 characters"]),
        ("message", None, ["null", "leave the field out"]),
        ("message", 5, ["text", "double quotes", "a number"]),
        ("message", ["Hi"], ["text", "a list"]),
        ("recipients", [], ["1 to 1,000,000", "here are 0"]),
        ("recipients", None, ["null"]),
        ("recipients", ANN, ["a list", "[ ]"]),
        ("reference", "x" * 65, ["64", "65"]),
        ("priority", 12, ["from 1 to 9", "12"]),
        ("priority", "high", ["whole number", "5"]),
        ("priority", 1.5, ["whole number", "5"]),
        ("max_parts", 0, ["from 1 to 255", "0"]),
        ("category", "promo", ["transactional, marketing"]),
        ("category", None, ["null"]),
        ("flash", "yes", ["true or false"]),
        ("audience", ["customers"], ["object", "{ }"]),
        ("template", "welcome", ["object", "{ }"]),
        ("parameters", [], ["object"]),
    ],
)
def test_each_reason_says_what_was_given_and_what_to_write(asker, field, value, words):
    refused = _refuse(asker, broadcast_to(ANN) | {field: value})

    assert field in refused["fields"]
    assert not JARGON.search(str(refused["fields"]) + refused["error"]), refused
    assert [word for word in words if word not in str(refused["fields"][field])] == []


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("2026-12-05T10:00:00", ["no offset", "2026-12-05T10:00:00+01:00", "2026-12-05T10:00:00Z"]),
        ("2026-12-05", ["no time and no offset", "2026-12-05T10:00:00+01:00"]),
        ("2026-12-05T10:00:00 Europe/Stockholm", ["zone", "2026-12-05T10:00:00+01:00"]),
        ("2026-12-05T10:00:00+01:00[Europe/Stockholm]", ["zone", "2026-12-05T10:00:00+01:00"]),
        (1796464800, ["Unix time", "2026-12-05T10:00:00Z"]),
        ("1796464800", ["Unix time", "2026-12-05T10:00:00Z"]),
        (1796464800000, ["Unix time", "2026-12-05T10:00:00Z"]),
        ("2026-12-05T10:00:00+25:00", ["+25:00", "2026-12-05T10:00:00+01:00"]),
        ("2026-12-05T10:00:00-15:00", ["-15:00"]),
        ("2026-12-05T10:00:00 01:00", ["%2B"]),
        ("2026-02-30T10:00:00Z", ["no such day"]),
        ("2026-12-05T24:00:00Z", ["no such day or time"]),
        ("2026-12-05T10:60:00Z", ["no such day or time"]),
        ("1712051212345Z", ["Not a time"]),
        ("2026-W49-6T10:00:00Z", ["Not a time"]),
        ("05/12/2026 10:00", ["Not a time", "2026-12-05T10:00:00+01:00"]),
        ("tomorrow", ["Not a time", "2026-12-05T10:00:00+01:00"]),
        (True, ["Not a time"]),
        ({}, ["Not a time"]),
    ],
)
@pytest.mark.parametrize("field", ["send_at", "expire_at"])
def test_a_time_that_cannot_be_read_is_told_how_to_write_it(asker, field, value, words):
    refused = _refuse(asker, broadcast_to(ANN) | {field: value})

    reason = refused["fields"][field][0]
    assert [word for word in words if word not in reason] == []
    assert not JARGON.search(reason)


@pytest.mark.parametrize(
    "value",
    ["%Y-%m-%dT10:00:00Z", "%Y-%m-%dt11:00:00+01:00", "%Y-%m-%d 10:00:00 +00:00",
     "%Y%m%dT100000Z", "%Y-%m-%dT10:00Z", " %Y-%m-%dT10:00:00.000+00 "],
)  # fmt: skip
def test_times_with_an_offset_are_one_time_in_each_spelling(caller, value):
    day = datetime.now(UTC) + timedelta(days=7)

    made = caller.send(ANN, send_at=f"{day:{value}}")

    assert caller.show(made)["send_at"] == f"{day:%Y-%m-%dT10:00:00+00:00}"


def test_each_entry_that_is_no_number_gets_a_hint_with_its_index(caller):
    wrong = ["0701234567", "+0123", "46701234567", "0046 70 123 45 67", "", 7, "+" + "4" * 16]
    wrong += ["x", "x" * 101]

    refused = _refuse(caller, broadcast_to(ANN, *wrong))

    assert "of which the first is 1 to 9" in refused["error"]
    assert [hint["index"] for hint in refused["invalid_hints"]] == list(range(1, 10))
    hints = [hint["hint"] for hint in refused["invalid_hints"]]
    for hint, word in zip(
        hints,
        [
            "country code",
            "begins with 0",
            "+46701234567",
            "+46701234567",
            "Empty",
            "quotes",
            "16",
            "",
            "Longer than any phone number",
        ],
        strict=True,
    ):
        assert word in hint, hints


def test_of_a_million_wrong_entries_the_first_twenty_get_a_hint(caller):
    refused = _refuse(caller, broadcast_to(*["0701234567"] * 50_000))

    assert (refused["invalid_count"], len(refused["invalid_hints"])) == (50_000, 20)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/templates", {"name": "x y", "texts": {"en": ""}, "default_language": None}),
        ("/api/templates", {"name": None, "texts": [], "default_language": 5}),
        ("/api/tags", {"name": 7, "double_opt_in": "no"}),
        ("/api/tags", {"nmae": "x"}),
        ("/api/webhooks", {"url": None, "event_types": []}),
        ("/api/webhooks", {"url": 5, "event_types": "all"}),
        ("/api/subscribers", {"phone": None, "attributes": [], "tags": "a", "active": 1}),
        ("/api/subscribers", {"phone": "0701234567", "subscribed_at": "2026-12-05"}),
        ("/api/subscribers/bulk", {"subscribers": [], "on_conflict": "x"}),
        ("/api/suppressions", {"phones": [], "scope": "x", "note": "x" * 201}),
        ("/api/subscribers/imports", {"country": "se", "columns": [], "ignore": [5], "mode": 1}),
        ("/api/messages/search", {"recipient": 5, "limit": 0}),
        ("/api/messages/search", {}),
        ("/api/broadcast", {"recipients": [ANN], "audience": {"where": [{"op": 5, "field": []}]}}),
    ],
)
def test_no_route_answers_in_the_words_of_a_library(asker, path, body):
    refused = _refuse(asker, body, path)

    assert refused["fields"]
    assert not JARGON.search(str(refused["fields"]) + refused["error"]), refused


def test_a_misspelt_field_of_an_object_is_told_what_was_meant_too(caller):
    refused = _refuse(caller, {"recipients": [ANN], "template": {"nam": "x"}})

    assert refused["error"] == "template: Missing: this field is required"
    assert refused["fields"]["template"]["nam"] == ["Unknown field: did you mean name?"]


def test_a_query_string_is_refused_in_plain_words_too(service):
    client = service.test_client()

    wrong = client.get("/api/broadcasts?limit=many&stauts=x", headers=AUTH).get_json()

    assert wrong["fields"]["stauts"] == ["Unknown field: did you mean status?"]
    assert wrong["fields"]["limit"] == ["Not a whole number such as 5, without quotes."]


def test_an_option_in_the_url_of_a_call_with_a_body_is_not_ignored(service, sandbox):
    body = {"recipients": [ANN], "message": "Hi"}

    answer = service.test_client().post("/api/broadcast?dry_run=1", json=body, headers=AUTH)

    assert answer.status_code == 400
    assert answer.get_json()["fields"] == {
        "dry_run": ["Not read from the URL: put it in the body."]
    }
    assert sandbox.posts() == 0
