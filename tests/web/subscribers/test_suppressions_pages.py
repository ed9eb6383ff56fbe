"""Numbers that get no texts, and texts that may mean STOP, on pages."""

import pytest

from app.accounts.roles import Role
from app.phone.e164 import mask_number
from tests.web.subscribers.conftest import ANN, list_unclear_links
from tests.web.visitor import read_text, visit

BOB = "+46702345678"
PERHAPS = "start stop"


def show(visitor, page):
    return read_text(visitor.get(page))


@pytest.fixture
def review(ann, text_from):
    """The address that judges Ann's text."""
    text_from(ANN, PERHAPS)
    return "/people/review"


@pytest.fixture
def suppressed(caller):
    """The id of Bob's suppression."""
    caller.post("/api/suppressions", {"phone": BOB, "note": "Asked by phone"})
    looked_up = caller.post("/api/suppressions/lookup", {"phone": BOB}).get_json()
    return looked_up["suppression"]["suppression_id"]


def judge(visitor, caller, **form):
    looked_up = caller.post("/api/suppressions/lookup", {"phone": ANN}).get_json()
    page = f"/people/review/{looked_up['suppression']['suppression_id']}"
    return visitor.post(page, form, on="/people/review")


def test_a_text_that_may_mean_stop_needs_attention_until_it_is_judged(operator, review, caller):
    assert "1 person wrote something that may mean “stop”." in show(operator, "/overview")
    text = show(operator, review)
    assert "Ann Ekdahl" in text
    assert PERHAPS in text

    judge(operator, caller, meant="go_on", note="It was about an order")

    text = show(operator, review)
    assert "Texts may go on." in text
    assert "No text waits to be read." in text
    assert "may mean “stop”" not in show(operator, "/overview")
    assert not caller.post("/api/suppressions/lookup", {"phone": ANN}).get_json()["suppressed"]


def test_a_text_that_meant_stop_stops_all_texts(operator, review, caller):
    judge(operator, caller, meant="stop", note="They want none")

    assert "Stopped." in show(operator, review)
    found = caller.post("/api/suppressions/lookup", {"phone": ANN}).get_json()["suppression"]
    assert (found["active"], found["needs_review"]) == (True, False)
    again = judge(operator, caller, meant="go_on", note="late")
    assert again.status_code == 303
    assert "The text was judged meanwhile." in show(operator, review)


@pytest.mark.parametrize("form", [{"meant": "stop"}, {"meant": "x", "note": "why"}, {}])
def test_without_a_note_or_a_choice_nothing_is_judged(operator, review, caller, form):
    answer = judge(operator, caller, **form)

    assert answer.status_code == 400
    assert 'aria-invalid="true"' in answer.text
    assert PERHAPS in show(operator, review)


def test_an_author_judges_nothing(author, review, caller):
    assert author.get(review).status_code == 403
    assert judge(author, caller, meant="stop", note="why").status_code == 403
    assert "An operator decides." in show(author, "/overview")


def test_the_list_has_who_why_and_by_whom(author, suppressed, ann):
    text = show(author, "/people/suppressions")

    assert f"{BOB} Everything Stopped by hand today the client tests Asked by phone" in text
    assert ANN not in text
    assert "No number is in this list." in show(author, "/people/suppressions?active=false")
    assert author.get("/people/suppressions?color=red").status_code == 400


def test_a_viewer_sees_masked_numbers_and_no_notes(service, suppressed):
    viewer = visit(service, Role.VIEWER)

    text = show(viewer, "/people/suppressions")

    assert "+46•••••••78" in text
    assert BOB not in text
    assert "Asked by phone" not in text
    assert viewer.get(f"/people/suppressions/{suppressed}").status_code == 403


def test_an_operator_lifts_one_with_a_note(operator, suppressed):
    page = f"/people/suppressions/{suppressed}"
    refused = operator.post(f"{page}/release", {"note": ""}, on=page)
    assert refused.status_code == 400
    assert "Write why, for those who ask later" in read_text(refused)

    operator.post(f"{page}/release", {"note": "Wants texts"}, on=page)

    text = show(operator, page)
    assert "Texts may go on." in text
    assert "Lifted" in text
    assert BOB in show(operator, "/people/suppressions?active=false")


def test_that_of_an_erased_person_cannot_be_lifted(operator, caller):
    caller.post("/api/suppressions/erase", {"phone": BOB})
    listed = caller.get("/api/suppressions").get_json()["suppressions"][0]
    page = f"/people/suppressions/{listed['suppression_id']}"

    assert "the number itself is not known, and stays stopped" in show(operator, page)
    operator.post(f"{page}/release", {"note": "why"}, on="/people")
    assert "Nothing was done. The person was erased" in show(operator, page)


def test_what_is_wrong_leads_to_its_field(operator, suppressed):
    page = "/people/suppressions"
    long = {"number": BOB, "scope": "all", "note": "x" * 201}
    answers = [
        operator.post(page, long, on=page),
        operator.post(f"{page}/{suppressed}/release", {"note": ""}, on=page),
    ]

    for answer in answers:
        assert '<li><a href="#reason">' in answer.text
        assert list_unclear_links(answer.text) == []


def test_a_number_that_is_not_known_is_stopped(author, caller):
    page = "/people/suppressions"
    for form in ({"number": "12", "scope": "all"}, {"number": BOB, "scope": "x"}):
        answer = author.post(page, form, on=page)
        assert answer.status_code == 400
        assert f'value="{form["number"]}"' in answer.text

    author.post(page, {"number": "0046 70-234 56 78", "scope": "all", "note": "Rang"}, on=page)

    assert f"Texts to {mask_number(BOB)} are stopped." in show(author, page)
    assert caller.post("/api/suppressions/lookup", {"phone": BOB}).get_json()["suppressed"]
