"""A new broadcast from its text to its page: sent once, and asked again when something moved."""

import re
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from itertools import product

import phonenumbers
import pytest

from app.accounts.roles import Role
from app.operate.audit import list_entries
from app.sms.drafts.count import MAX_COUNTED
from app.sms.drafts.store import DraftChanged, find_draft, mark_sent, save_draft
from tests.background import work_off
from tests.callers import Caller
from tests.factories import many_numbers
from tests.people import add_people, stop
from tests.web.new.drafting import HIDDEN, begin, fill_in, read_form, send
from tests.web.new.test_behind import find_counted
from tests.web.visitor import read_text, visit

ANN, BOB, CLEO = "+46701234567", "+46702345678", "+46703456789"


@pytest.fixture
def sender(service, sandbox):
    return visit(service, Role.SENDER)


def test_a_text_to_pasted_numbers_is_quoted_sent_and_shown(sender, sandbox, caller):
    caller.post("/api/suppressions", {"phones": [CLEO], "scope": "all"})
    draft = fill_in(sender, ANN, "+46 70 234 56 78", CLEO)

    page = sender.get(f"{draft}/confirm")

    text = read_text(page)
    assert "This is what will happen" in text
    assert re.search(r"Sweden .*\d\d:\d\d in Stockholm 2 2 Together 2 2", text)
    assert "They opted out 1 Left out of 3 1" in text
    assert "Send 2 texts" in text
    (people,) = re.findall(
        r'<a href="([^"]+)" aria-label="They opted out: 1 person">1</a>', page.text
    )
    listed = read_text(sender.get(people))
    assert "They opted out Draft “Pickup moved to 08:30”, saved" in listed
    assert f"Name Number Gets Not among your people {CLEO} Times" in listed
    answer = send(sender, f"{draft}/confirm", read_form(sender, draft))
    shown = read_text(sender.get(answer.headers["Location"]))
    assert "Pickup moved to 08:30" in shown
    assert "Made by a sender." in shown
    assert sorted(sandbox.recipients()) == [ANN, BOB]
    broadcast_id = answer.headers["Location"].rpartition("/")[2]
    view = caller.get(f"/api/broadcasts/{broadcast_id}")
    assert view.status_code == 404
    assert sender.get(people).location == f"{draft}/confirm"  # which leads to the broadcast


def test_who_is_left_out_is_listed_by_reason_some_at_a_time(service, sender):
    ctx = service.extensions["clarion"]
    phones = many_numbers(53)
    add_people(ctx, phones[:51], first_name="Ann", last_name="Ek")
    stop(ctx, *phones[:51])
    draft = fill_in(sender, *phones, category="marketing")
    (following,) = re.findall(
        r'href="(/new[^"]+)">More</a>', sender.get(f"{draft}/left-out/opted_out").text
    )

    last = sender.get(unescape(following))

    (person,) = re.findall(r'<a href="(/people/\w+)">Ann Ek</a>', last.text)
    assert sender.get(person).status_code == 200
    assert f"Ann Ek {phones[50]} Nothing: opted out" in read_text(last)
    assert ">More</a>" not in last.text
    others = read_text(sender.get(f"{draft}/left-out/no_consent"))
    assert all(phone in others for phone in phones[51:])
    assert phones[50] not in others
    no_one = "left out for this now."
    for path in ("left-out/quiet_hours", "left-out/opted_out?start=99999999999999999999"):
        assert no_one in read_text(sender.get(f"{draft}/{path}"))
    assert sender.get(f"{draft}/left-out/canary").status_code == 404
    assert sender.get(f"{begin(sender)}/left-out/inactive").location.endswith("/confirm")


def test_people_who_are_left_out_for_a_rare_reason_are_looked_for_in_stretches(service, sender):
    ctx = service.extensions["clarion"]
    phones = many_numbers(25_003)
    add_people(ctx, phones, tags=["all"], first_name="Ann", last_name="Ek")
    stop(ctx, phones[0], phones[-1])
    draft = begin(sender)
    send(sender, f"{draft}/audience", {"kind": "people", "any": "all"})
    send(sender, f"{draft}/when", {"category": "transactional"})

    first = sender.get(f"{draft}/left-out/opted_out?counted=1")
    (second,) = re.findall(r'href="([^"]+)">Look further</a>', first.text)
    second = sender.get(find_counted(sender.get(unescape(second))))
    none = sender.get(f"{draft}/left-out/erased?counted=1")
    end = sender.get(find_counted(none))

    assert phones[0] in read_text(first)
    assert phones[-1] not in read_text(first)
    assert "The others have not been looked at yet." in read_text(first)
    assert phones[-1] in read_text(second)
    assert phones[0] not in read_text(second)
    assert "None among those looked at so far. Look further" in read_text(none)
    assert "No one else is left out for this now." in read_text(end)
    for page, further in product((second, end), (">Look further</a>", ">More</a>", "load, wake")):
        assert further not in page.text


def test_each_step_says_what_the_draft_comes_to_and_what_is_missing(sender, sandbox, caller):
    caller.put("/api/prices", {"currency": "EUR", "prices": {"SE": "0.05"}})
    caller.post("/api/subscribers", {"phone": ANN})

    def read_card(page):
        return read_text(page).partition("So far ")[2]

    new = read_card(sender.get(sender.get("/new").location or "/new"))
    assert new.startswith("Still missing: the text, the audience, its kind and its start.")
    draft = begin(sender)
    everybody = (
        "People all 1, until you choose Parts 1 Cost about €0.05 Still missing: the audience"
    )
    assert read_card(sender.get(f"{draft}/text")).startswith(everybody)
    numbers = {"kind": "numbers", "numbers": f"{ANN}\n{BOB}"}
    typed = read_card(send(sender, f"{draft}/audience/count", numbers))
    send(sender, f"{draft}/audience", numbers)

    known = "People 2 Parts 2 Cost about €0.10"
    assert typed == f"{known} Still missing: its kind and its start."
    for step in ("text", "audience", "when"):
        said = read_card(sender.get(f"{draft}/{step}"))
        assert said.startswith(f"{known} Still missing: its kind and its start.")
    kind = {"category": "transactional"}
    typed = read_card(send(sender, f"{draft}/when/send-times", kind))
    send(sender, f"{draft}/when", kind)

    known += " Starts As soon as it is confirmed"
    assert typed == f"{known} Nothing is missing."
    for step in ("text", "audience", "when"):
        assert read_card(sender.get(f"{draft}/{step}")).startswith(f"{known} Nothing is missing.")
    confirmed = read_text(sender.get(f"{draft}/confirm")).partition("Confirm From ")[2]
    assert "People 2 Starts As soon as it is confirmed 2 parts about €0.10" in confirmed


def test_the_line_about_stopping_is_added_and_what_it_costs_with_dear_characters_is_said(
    sender, sandbox, caller
):
    caller.put("/api/prices", {"currency": "EUR", "prices": {"SE": "0.05"}})
    text = "We’re open late on Friday, come and say hello to us!"
    draft = fill_in(sender, ANN, BOB, text=text)
    so_far = "So far People 2 Parts 2 Cost about €0.10 Starts As soon as it is confirmed"
    assert so_far in read_text(sender.get(f"{draft}/when"))
    assert "instead of" not in read_text(sender.get(f"{draft}/confirm"))

    send(sender, f"{draft}/when", {"category": "marketing"})

    assert "added to a text without one" in read_text(sender.get(f"{draft}/when"))
    shown = read_text(sender.get(f"{draft}/confirm"))
    assert "“’” makes it 2 parts instead of 1. Other characters say the same." in shown


@pytest.mark.parametrize(
    ("phones", "rate", "priced", "words"),
    [
        ((ANN,), "2", True, r"Send 1 text, about €0\.05, done by \d\d:\d\d It is sent once"),
        ((ANN, BOB), "", True, r"Send 2 texts, about €0\.10 It is sent once"),
        ((ANN, BOB), "2", False, r"Send 2 texts, done by \d\d:\d\d It is sent once"),
    ],
)
def test_the_button_says_how_many_at_what_cost_and_when_they_are_done(
    make_service, sandbox, phones, rate, priced, words
):
    service = make_service(SINCH_MESSAGES_PER_SECOND=rate)
    sender = visit(service, Role.SENDER)
    if priced:
        prices = {"currency": "EUR", "prices": {"SE": "0.05"}}
        assert Caller(service).put("/api/prices", prices).status_code == 200

    text = read_text(sender.get(f"{fill_in(sender, *phones)}/confirm"))

    assert re.search(words, text)
    assert ("No prices are stored, so the cost is not known." in text) is not priced


def test_pressed_again_reloaded_and_gone_back_it_is_sent_once(sender, sandbox):
    draft = fill_in(sender, ANN)
    form = read_form(sender, draft)

    first = send(sender, f"{draft}/confirm", form)

    page = first.headers["Location"]
    assert send(sender, f"{draft}/confirm", form).headers["Location"] == page
    for step in ("text", "audience", "when", "confirm"):
        assert sender.get(f"{draft}/{step}").headers["Location"] == page
    changed = send(sender, f"{draft}/text", {"message": "Something else", "go": "on"})
    assert changed.headers["Location"] == page
    assert "It was sent already." in read_text(sender.get(page))
    assert len(sandbox.recipients()) == 1


def test_a_draft_that_another_tab_changed_is_shown_again_and_not_sent(sender, sandbox):
    draft = fill_in(sender, ANN)
    form = read_form(sender, draft)
    send(sender, f"{draft}/text", {"message": "Pickup moved to 09:00", "go": "on"})

    answer = send(sender, f"{draft}/confirm", form)

    assert answer.status_code == 409
    assert "The draft was changed in another window." in read_text(answer)
    assert "Pickup moved to 09:00" in read_text(answer)
    assert sandbox.recipients() == []
    assert send(sender, f"{draft}/confirm", read_form(sender, draft)).status_code == 303
    assert sandbox.recipients() == [ANN]


def test_when_figures_have_moved_it_says_what_and_asks_again(sender, sandbox, caller):
    draft = fill_in(sender, ANN, BOB)
    form = read_form(sender, draft)
    caller.post("/api/suppressions", {"phones": [BOB], "scope": "all"})

    answer = send(sender, f"{draft}/confirm", form)

    assert answer.status_code == 409
    text = read_text(answer)
    again = r"1 person opted out: 1 text\. Nothing was sent\. Look again and press once more\."
    assert re.search(rf"Since \d\d:\d\d, {again}", text)
    assert "Texts 2 1 Left out 0 1 Parts 2 1" in text
    assert "Send 1 text" in text
    assert sandbox.recipients() == []


def test_many_presses_at_once_send_once_and_show_one_page(service, sender, sandbox):
    draft = fill_in(sender, ANN)
    form = read_form(sender, draft)

    def press(_):
        tab = sender.copy()
        return tab.client.post(f"{draft}/confirm", data=form | {"csrf_token": token})

    token = re.search(r'name="csrf_token" value="([^"]+)"', sender.get(f"{draft}/confirm").text)[1]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(press, range(8)))

    assert {answer.status_code for answer in answers} == {303}
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert sandbox.recipients() == [ANN]


def test_a_press_that_another_change_overtakes_stores_nothing(service, sender, sandbox):
    draft_id = fill_in(sender, ANN).rpartition("/")[2]
    ctx = service.extensions["clarion"]
    looked_at = find_draft(ctx, draft_id).version
    save_draft(ctx, draft_id, {"message": "Other"}, user="another")

    with pytest.raises(DraftChanged), ctx.db.write() as tx:
        mark_sent(tx, draft_id, looked_at, 1)

    assert find_draft(ctx, draft_id).broadcast_id is None


def test_a_broadcast_to_a_tag_waits_for_workers_and_knows_who_made_it(sender, sandbox, caller):
    for phone in (ANN, BOB):
        caller.post("/api/subscribers", {"phone": phone, "tags": ["vip"]})
    draft = begin(sender)
    send(sender, f"{draft}/audience", {"kind": "people", "any": "vip"})
    send(sender, f"{draft}/when", {"category": "transactional"})
    assert "Send 2 texts" in read_text(sender.get(f"{draft}/confirm"))

    answer = send(sender, f"{draft}/confirm", read_form(sender, draft))

    assert "Made by a sender." in read_text(sender.get(answer.headers["Location"]))


@pytest.mark.parametrize(
    ("step", "fields", "sentence"),
    [
        ("text", {"message": "  "}, "Write the text."),
        ("audience", {}, "Choose who gets it."),
        ("audience", {"kind": "people"}, "Choose at least one tag, or a condition."),
        ("audience", {"kind": "numbers"}, "Paste at least one number."),
        ("audience", {"kind": "numbers", "numbers": f"{ANN}\nAnna"}, "1 entry is no phone number."),
        ("when", {}, "Choose what kind of text it is."),
        ("when", {"category": "marketing", "sender": "not a sender"}, "Not a number like"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_what_was_typed_stays(
    sender, step, fields, sentence
):
    draft = begin(sender)

    answer = send(sender, f"{draft}/{step}", fields)

    assert answer.status_code == 400
    assert read_text(answer).startswith("Error: ")
    assert read_text(answer).count(sentence) == 2
    assert all(value.strip() in answer.text for value in fields.values())


def test_entries_that_are_no_numbers_are_left_out_if_that_is_wanted(sender):
    draft = begin(sender)
    pasted = {"kind": "numbers", "numbers": f"{ANN}\nAnna\n{ANN}"}
    assert "2 Anna Not a phone number." in read_text(send(sender, f"{draft}/audience", pasted))

    answer = send(sender, f"{draft}/audience", pasted | {"skip": "yes"})

    assert answer.headers["Location"] == f"{draft}/when"
    assert f">{ANN}</textarea>" in sender.get(f"{draft}/audience").text


def test_what_cannot_be_sent_says_why_and_where_it_is_mended(sender):
    draft = fill_in(sender, ANN, text="Hi ${first_name}")

    text = read_text(sender.get(f"{draft}/confirm"))

    assert "This cannot be sent yet" in text
    reason = "Numbers alone have no values: give a default for first_name."
    assert f"{reason} Change the text" in text
    assert reason in read_text(sender.get(f"{draft}/text"))
    filled = {"message": "Hi ${first_name}", "default-first_name": "you", "go": "on"}
    send(sender, f"{draft}/text", filled)
    assert "Send 1 text" in read_text(sender.get(f"{draft}/confirm"))


def test_a_step_that_is_missing_is_shown_instead_of_the_confirmation(sender):
    draft = begin(sender)

    assert sender.get(f"{draft}/confirm").headers["Location"] == f"{draft}/audience"


def test_drafts_are_listed_and_deleted_with_an_entry_of_the_audit_log(service, sender):
    draft = begin(sender, "A <b>bold</b> text")
    listed = sender.get("/drafts")
    assert "A &lt;b&gt;bold&lt;/b&gt; text" in listed.text

    send(sender, f"{draft}/delete")

    assert "There are no drafts." in read_text(sender.get("/drafts"))
    assert sender.get(f"{draft}/text").status_code == 404
    only = {"action": "delete draft"}
    (entry,) = list_entries(service.extensions["clarion"].db, only=only).rows
    assert entry.subject == draft.removeprefix("/new/")


def test_an_author_writes_and_a_sender_sends(service, sender, sandbox):
    author = visit(service, Role.AUTHOR)
    draft = fill_in(author, ANN)
    assert "A sender has to press the button." in read_text(author.get(f"{draft}/confirm"))
    form = read_form(sender, draft)

    assert send(author, f"{draft}/confirm", form).status_code == 403
    assert sandbox.recipients() == []
    assert send(sender, f"{draft}/confirm", form).status_code == 303


def test_a_viewer_sees_no_drafts(service):
    viewer = visit(service, Role.VIEWER)

    assert viewer.get("/drafts").status_code == 403
    assert viewer.get("/new").status_code == 403
    assert "New broadcast" not in read_text(viewer.get("/broadcasts"))


@pytest.fixture
def crowd(service, sender):
    """A draft to more people than are counted while a person waits, and its path."""
    add_people(service.extensions["clarion"], many_numbers(MAX_COUNTED + 1), tags=["vip"])
    draft = begin(sender)
    send(sender, f"{draft}/audience", {"kind": "people", "any": "vip"})
    send(sender, f"{draft}/when", {"category": "transactional"})
    return draft


def test_many_people_of_whom_none_has_moved_are_sent_to_once(service, sender, sandbox, crowd):
    form = read_form(sender, crowd)

    pages = {send(sender, f"{crowd}/confirm", form).headers["Location"] for _ in range(2)}

    (page,) = pages
    assert sender.get(f"{crowd}/confirm").headers["Location"] == page
    work_off(service)
    assert len(sandbox.recipients()) == MAX_COUNTED + 1


def test_when_one_of_many_has_moved_it_answers_at_once_and_counts_behind_its_page(
    service, sender, sandbox, crowd
):
    form = read_form(sender, crowd)
    stop(service.extensions["clarion"], many_numbers(1)[0])

    answer = send(sender, f"{crowd}/confirm", form)

    assert answer.status_code == 409
    assert "Something has moved since this was quoted. Nothing was sent." in read_text(answer)
    assert "Send 10" not in read_text(answer)
    counted = send(sender, f"{crowd}/confirm/count", {"quote": form["quote"]})
    again = "1 person opted out: 10,000 texts. Nothing was sent. Look again and press once more."
    assert again in read_text(counted)
    assert "Texts 10,001 10,000 Left out 0 1 Parts 10,001 10,000" in read_text(counted)
    form = dict(HIDDEN.findall(counted.text))
    assert send(sender, f"{crowd}/confirm", form).status_code == 303
    work_off(service)
    assert len(sandbox.recipients()) == MAX_COUNTED
    assert many_numbers(1)[0] not in sandbox.recipients()


def test_an_opt_out_after_the_press_is_heeded(service, sender, sandbox, crowd):
    send(sender, f"{crowd}/confirm", read_form(sender, crowd))

    stop(service.extensions["clarion"], many_numbers(1)[0])
    work_off(service)

    assert len(sandbox.recipients()) == MAX_COUNTED
    assert many_numbers(1)[0] not in sandbox.recipients()


def test_a_large_one_is_sent_by_workers(sender, sandbox):
    draft = fill_in(sender, *many_numbers(1_500))

    page = send(sender, f"{draft}/confirm", read_form(sender, draft)).headers["Location"]

    assert "in the queue" in read_text(sender.get(page))


def test_beyond_ten_countries_a_quote_has_one_line_with_their_sum_and_a_list(sender, caller):
    caller.put("/api/prices", {"currency": "EUR", "prices": {"*": "0.05"}})
    codes = ("30", "31", "32", "33", "34", "36", "40", "41", "43", "45", "48", "49")
    regions = [phonenumbers.region_code_for_country_code(int(code)) for code in codes]
    mobile = phonenumbers.PhoneNumberType.MOBILE
    samples = [phonenumbers.example_number_for_type(region, mobile) for region in regions]
    e164 = phonenumbers.PhoneNumberFormat.E164
    numbers = [phonenumbers.format_number(sample, e164) for sample in samples]

    text = read_text(sender.get(f"{fill_in(sender, *numbers)}/confirm"))

    table, _, rest = text.partition("The other 2 countries")
    assert "and 2 more countries 2 2 €0.10 Together 12 12 €0.60" in table
    assert (table.count(" 1 1 €0.05"), rest.count(" 1 1 €0.05")) == (10, 2)
    eleven = read_text(sender.get(f"{fill_in(sender, *numbers[:11])}/confirm"))
    assert (eleven.count(" 1 1 €0.05"), "more countr" in eleven) == (11, False)
