"""A template as the text of a new broadcast: its languages, its defaults, and its changes."""

import pytest

from app.accounts.roles import Role
from tests.callers import OTHER_KEY, TWO_CLIENTS, Caller
from tests.factories import KEY
from tests.web.new.drafting import begin, read_form, send
from tests.web.visitor import read_text, visit

ANN, BOB = "+46701234567", "+46702345678"
_TEXTS = {"en": "Hi ${first_name}, we moved", "sv": "Hej ${first_name}, vi har flyttat"}


@pytest.fixture
def sender(service, sandbox):
    return visit(service, Role.SENDER)


@pytest.fixture
def people(caller):
    for phone, more in ((ANN, {"first_name": "Ann", "language": "sv"}), (BOB, {})):
        caller.post("/api/subscribers", {"phone": phone, "tags": ["vip"]} | more)


@pytest.fixture
def moved(caller):
    body = {"name": "moved", "texts": _TEXTS, "default_language": "en"}
    assert caller.post("/api/templates", body).status_code == 201


def fill_in(sender, **text):
    """Make a draft with this template for the tag.  Returns its path."""
    draft = begin(sender)
    text = {"template": "moved", "go": "on"} | text
    assert send(sender, f"{draft}/text", text).headers["Location"] == f"{draft}/audience"
    send(sender, f"{draft}/audience", {"kind": "people", "any": "vip"})
    when = send(sender, f"{draft}/when", {"category": "transactional"})
    assert when.headers["Location"] == f"{draft}/confirm"
    return draft


def test_each_person_gets_it_in_their_language_with_the_default_for_a_name(
    sender, people, moved, at_sinch
):
    draft = fill_in(sender, **{"default-first_name": "there"})

    page = sender.get(f"{draft}/confirm")

    text = read_text(page)
    assert "In en, for 1 person Hi first_name , we moved" in text
    assert "In sv, for 1 person Hej first_name , vi har flyttat" in text
    assert send(sender, f"{draft}/confirm", read_form(sender, draft)).status_code == 303
    by_text = {batch["body"]: (batch["to"], batch["parameters"]) for batch in at_sinch()}
    default = {"default": "there"}
    assert by_text == {
        _TEXTS["en"]: ([BOB[1:]], {"first_name": default}),
        _TEXTS["sv"]: ([ANN[1:]], {"first_name": {ANN: "Ann"} | default}),
    }


def test_without_a_default_a_person_without_a_name_is_left_out(sender, people, moved):
    draft = fill_in(sender)

    page = sender.get(f"{draft}/confirm")

    assert f'href="{draft}/text#parameters"' in page.text
    text = read_text(page)
    assert (
        "A placeholder has no value for them, and no default. Set a default 1 Left out of 2 1"
        in text
    )


def test_it_is_counted_and_read_when_it_is_chosen_and_what_was_typed_stays(sender, people, moved):
    draft = begin(sender)

    answer = send(
        sender,
        f"{draft}/text/count",
        {"message": "Typed", "template": "moved", "default-city": "Lund"},
    )

    text = read_text(answer)
    assert "How it is read In en Hi first_name , we moved In sv Hej first_name" in text
    assert "26 to 33 characters, GSM-7." in text
    assert '<input type="hidden" name="default-city" value="Lund">' in answer.text
    assert 'name="default-first_name"' in answer.text


def test_a_text_that_was_typed_comes_back_when_no_template_is_chosen(sender, people, moved):
    draft = begin(sender, "Typed first")
    send(sender, f"{draft}/text", {"message": "Typed first", "template": "moved", "go": "on"})
    page = sender.get(f"{draft}/text")
    assert '<input type="hidden" name="message" value="Typed first">' in page.text
    assert "Draft “moved”" in read_text(page)

    send(sender, f"{draft}/text", {"message": "Typed first", "template": "", "go": "on"})

    assert ">Typed first</textarea>" in sender.get(f"{draft}/text").text
    assert "Draft “Typed first”" in read_text(sender.get(f"{draft}/text"))


def test_the_language_of_the_others_is_chosen_among_those_of_the_template(sender, people, moved):
    draft = fill_in(sender, language="sv", **{"default-first_name": "du"})

    assert "In sv, for 2 people" in read_text(sender.get(f"{draft}/confirm"))
    assert "<option selected>sv</option>" in sender.get(f"{draft}/text").text


def test_a_template_that_was_changed_after_the_quote_is_said_and_asked_again(
    sender, people, moved, sandbox, caller
):
    draft = fill_in(sender)
    form = read_form(sender, draft)
    changed = {"texts": {"en": "Hi ${first_name}, we stay"}, "default_language": "en"}
    assert caller.put("/api/templates/moved", changed).status_code == 200

    answer = send(sender, f"{draft}/confirm", form)

    assert answer.status_code == 409
    text = read_text(answer)
    assert ", the template moved was changed: 1 text. Nothing was sent." in text
    assert "Hi first_name , we stay" in text
    assert send(sender, f"{draft}/confirm", read_form(sender, draft)).status_code == 303


def test_a_template_that_was_archived_after_the_quote_is_said_and_nothing_is_sent(
    sender, people, moved, sandbox, caller
):
    draft = fill_in(sender)
    form = read_form(sender, draft)
    assert caller.delete("/api/templates/moved").status_code == 204

    answer = send(sender, f"{draft}/confirm", form)

    assert answer.status_code == 409
    text = read_text(answer)
    assert "The template moved is archived. Nothing was sent." in text
    assert "Change the text" in text
    page = sender.get(f"{draft}/text")
    assert "The template moved is archived." in read_text(page)
    saved = send(sender, f"{draft}/text", {"template": "moved", "go": "on"})
    assert saved.status_code == 400
    assert read_text(saved).count("The template moved is archived.") == 2
    assert sandbox.recipients() == []


def test_a_template_is_tried_on_the_own_number(sender, people, moved, at_sinch):
    draft = begin(sender)
    form = {"template": "moved", "go": "test", "phone": "+46709998877", "trial": "a"}

    send(sender, f"{draft}/text", form)

    assert [batch["body"] for batch in at_sinch()] == ["Hej Ann, vi har flyttat"]


def test_a_template_that_several_clients_have_is_said_at_its_field(make_service, sandbox):
    service = make_service(API_KEYS=TWO_CLIENTS)
    sender = visit(service, Role.SENDER)
    for key in (KEY, OTHER_KEY):
        body = {"name": "moved", "texts": _TEXTS, "default_language": "en"}
        assert Caller(service, key).post("/api/templates", body).status_code == 201

    answer = send(sender, f"{begin(sender)}/text", {"template": "moved", "go": "on"})

    assert answer.status_code == 400
    assert "Several clients have a template moved" in read_text(answer)
