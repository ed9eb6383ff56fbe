"""Drafts to many need a second person; a change takes the approval away."""

import pytest

from app.accounts.roles import Role
from tests.web.new.drafting import fill_in, read_form, send
from tests.web.visitor import read_text, visit

ANN, BOB = "+46701234567", "+46702345678"


@pytest.fixture
def service(make_service):
    return make_service(APPROVAL_ABOVE="1")


@pytest.fixture
def anna(service, sandbox):
    return visit(service, Role.SENDER)


@pytest.fixture
def olof(service, sandbox):
    return visit(service, Role.OPERATOR)


def test_a_second_person_approves_and_then_it_can_be_sent(anna, olof, sandbox, caller):
    caller.put("/api/prices", {"currency": "EUR", "prices": {"SE": "0.05"}})
    draft = fill_in(anna, ANN, BOB)
    page = anna.get(f"{draft}/confirm")
    assert "Ask a second person to approve 2 texts, about €0.10" in read_text(page)
    form = read_form(anna, draft)

    assert send(anna, f"{draft}/ask", form).headers["Location"] == f"{draft}/confirm"

    assert "A second person has to approve it." in read_text(anna.get(f"{draft}/confirm"))
    assert "needs a second person: a sender has asked." in read_text(olof.get("/overview"))
    assert "Approve 2 texts, about €0.10" in read_text(olof.get(f"{draft}/confirm"))
    send(olof, f"{draft}/approve", form)
    shown = read_text(anna.get(f"{draft}/confirm"))
    assert "Approved by a operator" in shown
    assert send(anna, f"{draft}/confirm", read_form(anna, draft)).status_code == 303
    assert sorted(sandbox.recipients()) == [ANN, BOB]


def test_a_user_does_not_approve_their_own(anna, sandbox):
    draft = fill_in(anna, ANN, BOB)
    form = read_form(anna, draft)
    send(anna, f"{draft}/ask", form)

    send(anna, f"{draft}/approve", form)

    assert "you have worked on this draft yourself" in read_text(anna.get(f"{draft}/confirm"))
    assert "Approved by" not in read_text(anna.get(f"{draft}/confirm"))


def test_a_changed_draft_loses_its_approval(anna, olof, sandbox):
    draft = fill_in(anna, ANN, BOB)
    form = read_form(anna, draft)
    send(anna, f"{draft}/ask", form)
    send(olof, f"{draft}/approve", form)

    send(anna, f"{draft}/text", {"message": "Pickup moved to 09:00", "go": "on"})
    beyond = send(olof, f"{draft}/approve", form | {"version": str(10**30)})

    assert beyond.status_code == 409
    assert "Ask a second person" in read_text(anna.get(f"{draft}/confirm"))
    assert send(olof, f"{draft}/approve", form).status_code == 409


def test_few_people_need_no_approval(anna, sandbox):
    draft = fill_in(anna, ANN)

    assert send(anna, f"{draft}/confirm", read_form(anna, draft)).status_code == 303
    assert sandbox.recipients() == [ANN]
