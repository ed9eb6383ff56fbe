"""Search by number and name, and one person's page: what they get, said and agreed to."""

import re
from html import unescape

import pytest

from app.accounts.roles import Role
from tests.web.subscribers.conftest import ANN, FIELDS, list_unclear_links
from tests.web.visitor import read_text, visit

HOSTILE = "<script>alert(1)</script>'\"&{{7*7}}"


def search(visitor, text):
    return visitor.look_up("/people", {"text": text}, on="/people")


def show(visitor, page):
    return read_text(visitor.get(page))


def test_without_people_the_page_says_how_they_come(author):
    assert "No one is here yet." in show(author, "/people")


@pytest.mark.parametrize("written", [ANN, " 0046 70-123 45 67", "+46 (0)70 123 45 67"])
def test_a_number_leads_to_the_person(author, ann, written):
    found = author.post("/people", {"text": written}, on="/people")

    assert found.headers["Location"] == ann


def test_a_number_that_opted_out_is_found_without_a_person(author, caller):
    caller.post("/api/suppressions", {"phone": ANN, "note": "Rang us"})

    page = author.post("/people", {"text": ANN}, on="/people").headers["Location"]

    assert page.startswith("/people/suppressions/")
    assert "“Rang us”" in show(author, page)


@pytest.mark.parametrize("written", ["ann", "ANN E", "Ekd", "ekdahl, an", "ann ekdahl"])
def test_the_beginning_of_a_name_finds_the_person(author, ann, written):
    text = read_text(search(author, written))

    assert "Ann Ekdahl" in text
    assert ANN in text
    assert "Gets everything" in text


def test_a_search_has_an_address_that_the_way_back_leads_to(author, ann, service):
    def find(text):
        return author.post("/people", {"text": text}, on="/people").location

    found, other = find("ekdahl"), find("Lindqvist-Bergstrom")

    assert "Ann Ekdahl" in show(author, found)
    assert "No one has this number or name." in show(author, other)
    assert "ekdahl" not in found.lower()
    for _ in range(3):
        find("ekdahl")
    assert "Newest" in show(author, found)  # too long ago
    assert "Newest" in show(visit(service, Role.VIEWER), find("ekdahl"))


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("dahl", "No one has this number or name."),
        ("+46709999999", "No one has this number or name."),
        (HOSTILE, "No"),
        ("%", "No one has this number or name."),
        ("", "Write a number, or the beginning of a name."),
        ("12", "Neither + nor 00 in front"),
    ],
)
def test_a_search_without_a_result_says_so(author, ann, written, sentence):
    answer = search(author, written)

    assert sentence in read_text(answer)
    assert "<script>alert" not in answer.text


def test_a_viewer_sees_neither_numbers_nor_names(service, ann):
    viewer = visit(service, Role.VIEWER)

    text = show(viewer, "/people")

    assert "A. E." in text
    assert "+46•••••••67" in text
    assert "Ekdahl" not in text
    assert ANN not in text
    assert viewer.get(ann).status_code == 403
    assert search(viewer, "ann").status_code == 403


def test_a_page_shows_what_is_stored_and_what_was_agreed(author, ann):
    text = show(author, ann)

    assert "Ann Ekdahl +46701234567 Gets everything" in text
    assert "Language sv Country Sweden city Malmö visits 7" in text
    assert "members" in text
    assert "Agreed to “Yes, text me offers.” at https://shop.example/club." in text
    assert "Sealed: nothing in this history was changed." in text
    assert "No text was sent to this number" not in text  # the agreement is in the thread


def test_texts_of_both_sides_are_one_thread(author, ann, caller, text_from):
    caller.send(ANN, message="The kayaks are back")
    text_from(ANN, "When do you open?")
    link = re.search(r'href="(/inbox/\d+)">Answer Ann Ekdahl<', author.get(ann).text)[1]
    assert "When do you open?" in show(author, link)
    text_from(ANN, "STOP")

    thread = show(author, f"{ann}/thread")

    order = [thread.index(said) for said in ("kayaks", "When do you", "STOP", "Opted out")]
    assert order == sorted(order)
    assert "On its way" in thread
    assert "heard as STOP" in thread
    assert "They get no answer: nothing is sent to this number." in show(author, ann)


def test_an_author_stops_marketing_then_everything(author, ann, caller):
    for scope, mark in (("marketing", "No marketing: stopped by hand"), ("all", "Nothing:")):
        answer = author.post(f"{ann}/suppress", {"scope": scope, "note": "Rang us"}, on=ann)

        assert answer.headers["Location"] == ann
        text = show(author, ann)
        assert mark in text
        assert "Stopped. It holds over every import." in text
        assert "“Rang us”" in text

    looked_up = caller.post("/api/suppressions/lookup", {"phone": ANN}).get_json()
    assert looked_up["suppression"]["scope"] == "all"
    assert looked_up["suppression"]["actor"] == "people:a author"


def test_an_operator_allows_texts_again_with_a_note(operator, ann, caller):
    caller.post("/api/suppressions", {"phone": ANN})

    refused = operator.post(f"{ann}/release", {"note": " "}, on=ann)
    assert refused.status_code == 400
    assert "Write why, for those who ask later" in read_text(refused)
    assert 'aria-invalid="true"' in refused.text

    operator.post(f"{ann}/release", {"note": "Asked to get texts again"}, on=ann)
    text = show(operator, ann)
    assert "Texts may go on." in text
    assert "No marketing: has not agreed to it" in text
    assert "“Asked to get texts again”. Recorded by a operator." in text

    again = operator.post(f"{ann}/release", {"note": "once more"}, on=ann)
    assert again.status_code == 303
    assert "Texts were allowed already." in show(operator, ann)


def test_an_author_may_not_allow_texts_again(author, ann, caller):
    caller.post("/api/suppressions", {"phone": ANN})

    assert author.post(f"{ann}/release", {"note": "please"}, on=ann).status_code == 403
    assert "An operator can allow texts again." in show(author, ann)


@pytest.mark.parametrize(
    ("action", "form", "field"),
    [
        ("suppress", {"scope": "all", "note": "x" * 201}, "reason"),
        ("suppress", {"note": "Rang us"}, "scope"),
        ("release", {"note": ""}, "release-note"),
    ],
)
def test_what_is_wrong_leads_to_its_field(operator, ann, caller, action, form, field):
    caller.post("/api/suppressions", {"phone": ANN, "scope": "marketing"})

    page = operator.post(f"{ann}/{action}", form, on=ann).text

    assert f'<li><a href="#{field}">' in page
    assert list_unclear_links(page) == []
    assert not form["note"] or f'value="{form["note"]}"' in page


def test_a_wrong_scope_or_a_long_note_changes_nothing(author, ann):
    for form in ({"scope": "some"}, {"scope": "all", "note": "x" * 201}):
        answer = author.post(f"{ann}/suppress", form, on=ann)

        assert answer.status_code == 400
        assert "<title>Error:" in answer.text
    assert "Gets everything" in show(author, ann)


def test_hostile_names_and_texts_are_shown_as_text(author, caller, text_from):
    phone = "+46701234568"
    names = {"phone": phone, "first_name": HOSTILE, "attributes": {"x": HOSTILE}}
    person = caller.post("/api/subscribers", FIELDS | names).get_json()["subscriber_id"]
    text_from(phone, HOSTILE)

    for page in ("/people", f"/people/{person}"):
        answer = author.get(page)
        assert "<script>alert" not in answer.text
        assert HOSTILE in read_text(answer)


def test_an_unknown_person_is_not_found(author):
    assert "There is no such person" in show(author, "/people/01ARZ3NDEKTSV4RRFFQ69G5FAV")


def test_older_texts_are_one_page_behind(author, ann, text_from):
    for number in range(45):
        text_from(ANN, f"text {number}.")

    newest = author.get(ann)
    link = newest.text.partition('id="older" href="')[2].partition('"')[0]
    older = author.get(unescape(link))

    assert "text 44." in read_text(newest)
    assert "text 4." not in read_text(newest)
    assert "text 4." in read_text(older)
    assert "text 44." not in read_text(older)
    assert ", wake" not in older.text
