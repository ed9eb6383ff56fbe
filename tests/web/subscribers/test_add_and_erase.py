"""A person is added and erased on pages."""

import pytest

from app.accounts.roles import Role
from tests.web.subscribers.conftest import ANN
from tests.web.visitor import read_text, visit

FORM = {
    "phone": "0046 70-123 45 67",
    "first_name": "Ann",
    "tags": "members, VIP",
    "agreed": "1",
    "wording": "Yes, text me",
    "source": "shop",
}


def add(visitor, **fields):
    return visitor.post("/people/add", FORM | fields, on="/people/add")


def show(visitor, page):
    return read_text(visitor.get(page))


def test_a_person_is_added_once(author):
    page = add(author).headers["Location"]

    text = show(author, page)
    assert f"{ANN} Gets everything" in text
    assert "Agreed to “Yes, text me” at shop. Recorded by a author." in text
    assert "members" in text
    assert add(author, first_name="Bob").headers["Location"] == page
    text = show(author, page)
    assert "Nothing was added. The number is one of this person already." in text
    assert "Bob" not in text


def test_without_an_agreement_they_get_no_marketing(author):
    page = add(author, agreed="").headers["Location"]

    assert "No marketing: has not agreed to it" in show(author, page)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"phone": ""}, "Write a phone number."),
        ({"phone": "+46123"}, "No country has numbers like this one."),
        ({"language": "german"}, "Write a language such as sv"),
        ({"time_zone": "Mars/Base"}, "Write a zone such as Europe/Stockholm."),
        ({"tags": "a/b"}, "A tag has 1 to 64 letters"),
        ({"wording": " "}, "Write what they agreed to, word for word."),
        ({"first_name": "x" * 101}, "At most 100 characters."),
    ],
)
def test_a_mistake_is_said_at_its_field_and_what_was_typed_stays(author, fields, sentence):
    answer = add(author, **fields)

    assert answer.status_code == 400
    assert sentence in read_text(answer)
    assert 'aria-invalid="true"' in answer.text
    assert 'value="shop"' in answer.text
    assert "No one is here yet." in show(author, "/people")


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_other_roles_may_not(service, sandbox, ann, role):
    visitor = visit(service, role)

    assert visitor.post(f"{ann}/erase", {"digits": ANN[-4:]}, on="/people").status_code == 403
    assert visitor.get(f"{ann}/erase").status_code == 403
    if role is Role.VIEWER:
        assert visitor.get("/people/add").status_code == 403
    else:
        assert "Erase" not in show(visitor, ann)


def test_a_person_is_erased_by_the_last_digits_of_the_number(service, sandbox, ann, caller):
    admin = visit(service, Role.ADMIN)
    assert "Erase this person" in show(admin, ann)
    page = f"{ann}/erase"
    refused = admin.post(page, {"digits": "0000"}, on=page)
    assert refused.status_code == 400
    assert "Nothing was erased." in read_text(refused)
    assert "Erase Ann Ekdahl for good" in read_text(refused)

    answer = admin.post(page, {"digits": ANN[-4:]}, on=page)

    assert answer.headers["Location"] == "/people"
    text = show(admin, "/people")
    assert "Erased. Nothing of the person is left but counts and the sealed mark." in text
    assert "Ekdahl" not in text
    assert admin.get(ann).status_code == 404
    assert admin.post(page, {"digits": ANN[-4:]}, on="/people").status_code == 404
    found = caller.post("/api/suppressions/lookup", {"phone": ANN}).get_json()
    assert found["suppression"]["cause"] == "erased"


def test_what_is_under_way_is_erased_later(service, sandbox, ann, caller):
    admin = visit(service, Role.ADMIN)
    caller.send(ANN)

    admin.post(f"{ann}/erase", {"digits": ANN[-4:]}, on=f"{ann}/erase")

    assert "Stopped, and erased in part." in show(admin, "/people")
