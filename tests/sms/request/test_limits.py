"""What one request may cost: bounded before the cost arises, and said in words."""

import pytest

from tests.callers import Caller
from tests.factories import many_numbers

PATHS = ["/api/broadcast", "/api/broadcast/quote"]


@pytest.fixture
def caller(service):
    return Caller(service)


def personal(recipients, text):
    """A request in which every recipient has a value of their own."""
    phones = many_numbers(recipients)
    values = {phone: str(index) for index, phone in enumerate(phones)}
    return {"recipients": phones, "message": text, "parameters": {"a": values}}


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_fifty_thousand_recipients_times_333_placeholders_are_refused(caller, sandbox, path):
    answer = caller.post(path, personal(50_000, "${a}" * 333))

    assert answer.status_code == 400
    (reason,) = answer.get_json()["fields"]["message"]
    assert reason.startswith("recipients times placeholders are 16,650,000, more than 10,000,000")
    assert sandbox.posts() == 0


@pytest.mark.parametrize("path", PATHS)
def test_the_translations_of_a_template_count_together(caller, path):
    texts = {f"{letter}{letter}": "${a}" * 100 for letter in "abcdefghijk"}
    template = {"name": "many", "texts": texts, "default_language": "aa"}
    assert caller.post("/api/templates", template).status_code == 201
    body = personal(10_000, "")
    del body["message"]

    answer = caller.post(path, {**body, "template": {"name": "many"}})

    assert answer.status_code == 400
    assert "more than 10,000,000" in answer.get_json()["fields"]["template"][0]


def test_defaults_cost_nothing_however_many_placeholders_there_are(caller, sandbox):
    body = personal(3_000, "${a}" + "".join(f"${{d{number}}}" for number in range(99)))
    body["parameters"] |= {f"d{number}": {"default": "x"} for number in range(99)}

    quote = caller.post("/api/broadcast/quote", body)

    assert quote.status_code == 200
    assert quote.get_json()["parts_histogram"] == {"1": 3_000}


@pytest.mark.parametrize(
    "whom", [{"recipients": ["+46701234567"]}, {"audience": {"any": ["customers"]}}]
)
@pytest.mark.parametrize("path", PATHS)
def test_a_text_has_at_most_a_hundred_different_placeholders(caller, path, whom):
    text = "".join(f"${{n{number}}}" for number in range(101))
    values = {f"n{number}": {"default": ""} for number in range(100)}

    answer = caller.post(path, {"message": text, "parameters": values, **whom})

    assert answer.status_code == 400
    assert answer.get_json()["fields"]["message"] == [
        "it has more than 100 different placeholders."
    ]


def test_a_template_has_at_most_a_hundred_different_placeholders(caller):
    text = "".join(f"${{n{number}}}" for number in range(101))

    answer = caller.post(
        "/api/templates", {"name": "t", "texts": {"en": text}, "default_language": "en"}
    )

    assert answer.status_code == 400
