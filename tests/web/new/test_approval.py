"""Drafts to many need a second person; a change takes the approval away."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from app.accounts.roles import Role
from app.worker.jobs import sweep
from tests.background import context_of, work_off
from tests.callers import TWO_UNWALLED, id_of
from tests.endings import end_messages
from tests.people import add_people
from tests.shifting import shift_clock
from tests.web.new.drafting import begin, fill_in, read_form, send
from tests.web.visitor import read_text, visit

ANN, BOB, CEC = "+46701234567", "+46702345678", "+46703456789"


@pytest.fixture
def service(make_service):
    return make_service(APPROVAL_ABOVE="1", API_KEYS=TWO_UNWALLED)


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
    asked = (
        "needs a second person. a sender has asked to send it to 2 people: 2 parts, about €0.10."
    )
    assert asked in read_text(olof.get("/overview"))
    assert "Approve 2 texts, about €0.10" in read_text(olof.get(f"{draft}/confirm"))
    send(olof, f"{draft}/approve", read_form(olof, draft))
    shown = read_text(anna.get(f"{draft}/confirm"))
    assert "Approved by a operator" in shown
    assert "is not sent yet: a operator has approved it." in read_text(anna.get("/overview"))
    assert send(anna, f"{draft}/confirm", read_form(anna, draft)).status_code == 303
    assert "is not sent yet" not in read_text(anna.get("/overview"))
    assert sorted(sandbox.recipients()) == [ANN, BOB]


def test_the_overview_says_until_when_an_approval_is_needed(anna, olof):
    draft, day = fill_in(anna, ANN, BOB), datetime.now(UTC) + timedelta(days=2)
    later = {"start": "later", "day": f"{day:%Y-%m-%d}", "clock": "10:30"}
    send(anna, f"{draft}/when", {"category": "transactional"} | later)
    send(anna, f"{draft}/ask", read_form(anna, draft))

    said = read_text(olof.get("/overview"))

    start = rf"{day:%a} {day.day} {day:%b}(?: {day.year})?, 10:30"
    assert re.search(f"needs a second person before {start}\\. a sender has asked to send it", said)


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
    form = read_form(olof, draft)
    send(olof, f"{draft}/approve", form)

    send(anna, f"{draft}/text", {"message": "Pickup moved to 09:00", "go": "on"})
    beyond = send(olof, f"{draft}/approve", form | {"version": str(10**30)})

    assert beyond.status_code == 409
    assert "Ask a second person" in read_text(anna.get(f"{draft}/confirm"))
    assert send(olof, f"{draft}/approve", form).status_code == 409


def test_an_approval_is_of_a_text_and_so_many_people(anna, olof, service, sandbox):
    ctx = service.extensions["clarion"]
    add_people(ctx, [ANN, BOB], tags=["vip"])
    _write_template(anna, "/templates/new", "Doors open at 8")
    draft = begin(anna)
    send(anna, f"{draft}/text", {"template": "doors", "go": "on"})
    send(anna, f"{draft}/audience", {"kind": "people", "any": "vip"})
    send(anna, f"{draft}/when", {"category": "transactional"})
    send(anna, f"{draft}/ask", read_form(anna, draft))
    send(olof, f"{draft}/approve", read_form(olof, draft))
    assert "Approved by a operator" in read_text(anna.get(f"{draft}/confirm"))

    _write_template(anna, "/templates/people/doors/edit", "Doors open at 9")
    other_text = read_text(anna.get(f"{draft}/confirm"))
    refused = send(anna, f"{draft}/confirm", read_form(anna, draft))
    _write_template(anna, "/templates/people/doors/edit", "Doors open at 8")
    add_people(ctx, [CEC], tags=["vip"])
    more_people = read_text(anna.get(f"{draft}/confirm"))

    for page in (other_text, more_people):
        assert "but not like this. The text is another one by now, or more people get it." in page
        assert "Ask a second person to approve" in page
    assert refused.status_code == 409
    assert sandbox.recipients() == []


@pytest.mark.parametrize("first", [[ANN], [ANN, BOB]])
def test_who_joins_the_audience_after_an_approval_waits_for_another(
    anna, olof, service, sandbox, caller, first
):
    ctx = service.extensions["clarion"]
    add_people(ctx, first, tags=["vip"])
    caller.put("/api/prices", {"currency": "EUR", "prices": {"SE": "0.05"}})
    draft, at = begin(anna), ctx.now() + timedelta(hours=2)
    send(anna, f"{draft}/audience", {"kind": "people", "any": "vip"})
    later = {"start": "later", "day": f"{at:%Y-%m-%d}", "clock": f"{at:%H:%M}"}
    send(anna, f"{draft}/when", {"category": "transactional"} | later)
    if len(first) > 1:
        send(anna, f"{draft}/ask", read_form(anna, draft))
        send(olof, f"{draft}/approve", read_form(olof, draft))
    page = send(anna, f"{draft}/confirm", read_form(anna, draft)).headers["Location"]
    add_people(ctx, [number for number in (BOB, CEC) if number not in first], tags=["vip"])

    shift_clock(service, 2.1 * 3600)
    sweep(context_of(service))
    work_off(service)

    shown, comes_to = read_text(anna.get(page)), "about 3 parts, about €0.15"
    waits = f"3 people are in its audience by now, more than were approved: {comes_to}."
    assert f"{waits} Nothing is sent until it is approved again." in shown
    said = read_text(olof.get("/overview"))
    assert f"needs a second person again. {waits} Nothing is sent." in said
    send(anna, f"{page}/resume")
    assert "you have worked on it yourself" in read_text(anna.get(page))
    broadcast_id = page.rpartition("/")[2]
    by_key = caller.act("resume", broadcast_id)
    assert (by_key.status_code, by_key.json["status"]) == (409, "paused")
    assert "a second person has to resume it on its page" in by_key.json["error"]
    by_command = service.test_cli_runner().invoke(args=["broadcasts", "resume", broadcast_id])
    assert by_command.exit_code == 1
    assert "a second person has to resume it on its page" in by_command.output
    work_off(service)
    assert sandbox.recipients() == []
    assert f"Approve it for 3 people: {comes_to}" in read_text(olof.get(page))
    send(olof, f"{page}/resume")
    work_off(service)
    assert sorted(sandbox.recipients()) == [ANN, BOB, CEC]
    assert "and at most" in read_text(olof.get(page))
    assert "second person" not in read_text(olof.get("/overview"))


def _write_template(visitor, page, text):
    fields = {"name": "doors", "language": ["en"], "text": [text]}
    assert visitor.post(page, fields, on=page).status_code == 303


@pytest.fixture
def unreached(service, anna, sandbox, caller):
    """A broadcast that two people did not get, whom another try may reach."""
    made = caller.send(ANN, BOB, CEC)
    ends = {ANN: ("Failed", 153), BOB: ("Failed", 153), CEC: ("Delivered", 0)}
    end_messages(service.extensions["clarion"], made, ends)
    return f"/broadcasts/{id_of(made)}"


def test_to_send_again_to_many_needs_a_second_person_too(anna, olof, sandbox, unreached, caller):
    before = len(sandbox.recipients())
    caller.put("/api/prices", {"currency": "EUR", "prices": {"SE": "0.05"}})
    assert "Ask a second person to approve 2 texts" in read_text(anna.get(unreached))
    early = send(anna, f"{unreached}/resend", {"people": "2"})
    assert early.headers["Location"] == unreached
    assert "A second person has to approve it first" in read_text(anna.get(unreached))

    send(anna, f"{unreached}/resend/ask")
    asked = "has asked to send it again to 2 people: 2 parts, about €0.10. Show it"
    assert asked in read_text(olof.get("/overview"))
    send(anna, f"{unreached}/resend/approve", {"people": "2"})
    assert "you have asked for it yourself" in read_text(anna.get(unreached))
    send(anna, f"{unreached}/resend", {"people": "2"})
    send(olof, f"{unreached}/resend/approve", {"people": "1"})
    assert "The number of people has changed" in read_text(olof.get(unreached))
    send(olof, f"{unreached}/resend", {"people": "2"})
    assert len(sandbox.recipients()) == before
    assert "Approve 2 texts: 2 parts, about €0.10" in read_text(olof.get(unreached))

    send(olof, f"{unreached}/resend/approve", {"people": "2"})

    assert "needs a second person" not in read_text(olof.get("/overview"))
    assert "Send to the 2 not reached Approved by a operator." in read_text(anna.get(unreached))
    sent = send(anna, f"{unreached}/resend", {"people": "2"})
    assert "Sent again to 2 people." in read_text(anna.get(sent.headers["Location"]))
    assert "approved to send it again to 2 people." in read_text(anna.get(unreached))


def test_few_people_need_no_approval(anna, sandbox):
    draft = fill_in(anna, ANN)

    assert send(anna, f"{draft}/confirm", read_form(anna, draft)).status_code == 303
    assert sandbox.recipients() == [ANN]
