"""Warnings of a quote, and of the answer to a broadcast: what is probably not meant."""

import pytest

from app.sms.request.prepare import MANY_PARTS
from tests.callers import Caller
from tests.factories import in_hours

SWEDE, AMERICAN, CANADIAN, BRAZILIAN = (
    "+46701234567",
    "+12025550126",
    "+14165550123",
    "+5511961234567",
)
VALUES = {"name": {"default": "Ann"}}


@pytest.fixture
def caller(service, sandbox):
    return Caller(service)


def quote(caller, *recipients, message="Hello", **more):
    body = {"recipients": recipients or [SWEDE], "message": message, **more}
    answer = caller.post("/api/broadcast/quote", body)
    assert answer.status_code == 200, answer.get_json()
    return answer.get_json()["warnings"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hi {name} {{name}}", "{name}, {{name}}"),
        ("Hi {{ first_name }}!", "{{ first_name }}"),
        ("Hej {förnamn}", "{förnamn}"),
        ("Hi ${name} {name}", "{name}"),
        ("Hi {0} {}", "{0}, {}"),
        ("Hi %name%, %%city%%", "%name%, %%city%%"),
        ("Hi *|FNAME|*", "*|FNAME|*"),
        ("Hi [[name]] <name> <<name>>", "[[name]], <name>, <<name>>"),
        ("Hi $name {$name} $(name)", "$name, {$name}, $(name)"),
        ("Hi %(name)s", "%(name)s"),
        ("Hi %s, %1$s", "%s, %1$s"),
        ("Hi <%= name %>{% if a %}", "<%= name %>, {% if a %}"),
        ("Hi __name__ ##name##", "__name__, ##name##"),
        ("Hi [First Name] [NAME] $FIRSTNAME", "[First Name], [NAME], $FIRSTNAME"),
        ("Hi {!Contact.Name} %recipient.name%", "{!Contact.Name}, %recipient.name%"),
        ("Hi {{name, hi name}}", "{{name, name}}"),
    ],
)
def test_a_placeholder_of_another_program_is_warned_of(caller, text, shown):
    (warning,) = quote(caller, message=text, parameters=VALUES)

    assert f"sent to every recipient as it is: {shown}. " in warning
    assert "${name}" in warning


@pytest.mark.parametrize(
    "text",
    [
        "Hi ${name}",
        "I <3 you",
        "100% of 50%",
        "$5 or $CAD 7",
        "a {b, c} d",
        "« Bonjour » [Acme]",
        "50%sale",
        "a 5%d",
    ],
)
def test_what_looks_a_little_like_a_placeholder_is_not_warned_of(caller, text):
    assert quote(caller, message=text, parameters=VALUES) == []


def test_the_texts_of_a_template_are_looked_at_too(caller):
    texts = {"en": "Hi {name}", "sv": "Hej {namn}"}
    caller.post("/api/templates", {"name": "hi", "texts": texts, "default_language": "en"})

    (warning,) = caller.post(
        "/api/broadcast/quote", {"recipients": [SWEDE], "template": {"name": "hi"}}
    ).get_json()["warnings"]

    assert "{name}, {namn}" in warning


def test_a_dear_text_is_warned_of_in_the_quote_and_in_the_answer(caller):
    text = "😀" * 600

    (quoted,) = quote(caller, message=text)
    (answered,) = caller.send(SWEDE, message=text).get_json()["warnings"]

    assert quoted == answered
    assert "takes 19 parts" in quoted
    assert "max_parts" in quoted


def test_a_text_that_is_dear_for_one_recipient_is_warned_of(caller):
    values = {"name": {SWEDE: "x" * 160, "default": "Ann"}}

    (warning,) = quote(caller, SWEDE, AMERICAN, message="${name}" * 6, parameters=values)

    assert "takes 7 parts" in warning


def test_a_text_that_is_sent_in_the_background_is_warned_of_as_well(caller):
    answer = caller.send(SWEDE, message="{name}", send_at=in_hours(24)).get_json()

    assert answer["status"] == "scheduled"
    assert "{name}" in answer["warnings"][0]


def test_an_ordinary_text_has_no_warning(caller):
    assert quote(caller, message="x" * 153 * MANY_PARTS) == []
    assert "warnings" not in caller.send(SWEDE, message="Hello").get_json()


@pytest.mark.parametrize(
    ("recipients", "named"),
    [
        ((AMERICAN,), "United States"),
        ((SWEDE, CANADIAN, AMERICAN), "Canada, United States"),
        ((BRAZILIAN,), "Brazil"),
    ],
)
def test_a_name_as_sender_is_warned_of_where_carriers_take_numbers_alone(caller, recipients, named):
    (warning,) = quote(caller, *recipients, sender="Acme")

    assert warning.startswith(f"Carriers in {named} take only numbers as senders")
    assert "Acme" in warning


@pytest.mark.parametrize("sender", ["+12015550100", "12345", None])
def test_a_number_as_sender_is_warned_of_nowhere(caller, sender):
    more = {"sender": sender} if sender else {}

    assert quote(caller, SWEDE, AMERICAN, **more) == []
    assert quote(caller, SWEDE, sender="Acme") == []
