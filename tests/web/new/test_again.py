"""A broadcast that is used again: what a new draft has of it, and what it says that it lacks."""

import re

import pytest

from app.accounts.roles import Role
from app.sms.drafts.numbers import MAX_NUMBERS
from app.sms.privacy.erase import erase_number
from tests.factories import in_hours, many_numbers
from tests.web.new.drafting import fill_in, read_form, send
from tests.web.visitor import read_text, visit

ANN, BOB = "+46701234567", "+46702345678"
_TEXTS = {"en": "Hi ${first_name}, we moved", "sv": "Hej ${first_name}, vi har flyttat"}
_TAG = {"audience": {"any": ["vip"]}}


@pytest.fixture
def author(service, sandbox):
    return visit(service, Role.AUTHOR)


@pytest.fixture
def vip(caller):
    for phone, more in ((ANN, {"first_name": "Ann", "language": "sv"}), (BOB, {})):
        caller.post("/api/subscribers", {"phone": phone, "tags": ["vip"]} | more)


def make(caller, **body):
    answer = caller.post("/api/broadcast", body)
    assert answer.status_code == 202, answer.get_json()
    return f"/broadcasts/{answer.get_json()['broadcast_id']}"


def use_again(visitor, page):
    """Press the button of a broadcast's page twice.  Returns the draft's path and first page."""
    fields = {"draft": re.search(r'name="draft" value="(\w+)"', visitor.get(page).text)[1]}
    answers = [visitor.post(f"{page}/draft", fields, on=page) for _ in range(2)]
    (target,) = {answer.headers["Location"] for answer in answers}
    return target.removesuffix("/text"), read_text(visitor.get(target))


def test_text_numbers_sender_and_kind_are_copied_and_the_start_is_not(service, author, sandbox):
    sender = visit(service, Role.SENDER)
    first = fill_in(sender, ANN, BOB)
    later = {"category": "transactional", "sender": "Acme", "start": "later"}
    day, clock = in_hours(48)[:16].split("T")
    send(sender, f"{first}/when", later | {"day": day, "clock": clock})
    page = send(sender, f"{first}/confirm", read_form(sender, first)).headers["Location"]

    draft, text = use_again(author, page)

    assert "Copied. Choose its start: that is not copied." in text
    assert ">Pickup moved to 08:30</textarea>" in author.get(f"{draft}/text").text
    assert f">{ANN}\n{BOB}</textarea>" in author.get(f"{draft}/audience").text
    when = author.get(f"{draft}/when").text
    assert 'value="Acme"' in when
    assert day not in when
    confirmed = read_text(sender.get(f"{draft}/confirm"))
    assert "Starts As soon as it is confirmed" in confirmed
    assert "Send 2 texts" in confirmed
    assert read_text(author.get("/drafts")).count("Pickup moved") == 1


def test_template_audience_and_defaults_are_copied(author, caller, vip):
    body = {"name": "moved", "texts": _TEXTS, "default_language": "en"}
    caller.post("/api/templates", body)
    parameters = {"first_name": {"default": "there"}}
    page = make(caller, template={"name": "moved"}, parameters=parameters, **_TAG)

    draft, text = use_again(author, page)

    assert "In sv Hej first_name , vi har flyttat" in text
    assert 'value="there"' in author.get(f"{draft}/text").text
    assert 'name="any" value="vip" checked' in author.get(f"{draft}/audience").text
    assert "In en, for 1 person" in read_text(author.get(f"{draft}/confirm"))


def test_a_template_that_is_newer_or_archived_is_said(author, caller, vip):
    body = {"name": "moved", "texts": _TEXTS, "default_language": "en"}
    caller.post("/api/templates", body)
    page = make(caller, template={"name": "moved"}, **_TAG)
    caller.put("/api/templates/moved", {"texts": {"en": "Hi"}, "default_language": "en"})

    assert "The template moved has version 2 now; it was 1." in use_again(author, page)[1]
    caller.delete("/api/templates/moved")
    text = use_again(author, page)[1]
    assert "The template moved cannot be used any more: its text is copied." in text
    assert "Of 2 languages one is copied." in text
    assert "Hi first_name , we moved" in text


def test_fields_of_an_audience_are_copied_and_do_not_hinder_other_people(author, caller, vip):
    page = make(caller, message="Hi ${n}", fields={"n": "first_name"}, **_TAG)
    draft, text = use_again(author, page)
    assert "As Ann gets it Hi Ann" in text
    assert "Left out of 2 1" in read_text(author.get(f"{draft}/confirm"))

    send(author, f"{draft}/audience", {"kind": "numbers", "numbers": BOB})
    send(author, f"{draft}/text", {"message": "Hi", "go": "on"})

    assert "Together 1 1" in read_text(author.get(f"{draft}/confirm"))


def test_values_of_single_people_and_options_of_the_api_are_said_not_to_be_copied(author, caller):
    values = {"n": {ANN: "Ann", "default": "friend"}}
    page = make(caller, recipients=[ANN, BOB], message="Hi ${n}", parameters=values, flash=True)

    _, text = use_again(author, page)

    assert "Not copied: values of single people; each gets the default." in text
    assert "Not copied: that it is shown at once and not stored." in text


def test_more_numbers_than_can_be_pasted_are_not_copied(author, caller):
    page = make(caller, recipients=list(many_numbers(MAX_NUMBERS + 1)), message="Hi")

    draft, text = use_again(author, page)

    assert "Its 10,001 numbers are not copied" in text
    assert author.get(f"{draft}/confirm").headers["Location"] == f"{draft}/audience"


def test_erased_people_are_not_copied(author, caller, service):
    page = make(caller, recipients=[ANN, BOB], message="Hi", send_at=in_hours(2))
    caller.act("cancel", page.rpartition("/")[2])
    assert erase_number(service.extensions["clarion"], ANN, actor="tests").remaining == []

    draft, text = use_again(author, page)

    assert "Not copied: 1 person whose data was erased." in text
    assert f">{BOB}</textarea>" in author.get(f"{draft}/audience").text


def test_a_viewer_is_not_offered_it(service, caller, sandbox):
    page = make(caller, recipients=[ANN], message="Hi")

    assert "Use again" not in visit(service, Role.VIEWER).get(page).text
