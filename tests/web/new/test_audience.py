"""The audience of a new broadcast: tags and conditions, counted with who is left out and why."""

import re

import pytest

from app.accounts.roles import Role
from tests.factories import many_numbers
from tests.web.new.drafting import begin, send
from tests.web.visitor import read_text, visit

ANN, BOB, CLEO = "+46701234567", "+46702345678", "+46703456789"


@pytest.fixture
def author(service, sandbox):
    return visit(service, Role.AUTHOR)


@pytest.fixture
def draft(author, caller):
    for phone, city, visits, tags in (
        (ANN, "Malmö", 3, ["vip", "member"]),
        (BOB, "Lund", 1, ["vip"]),
        (CLEO, "Lund", 7, ["staff", "vip"]),
    ):
        body = {"phone": phone, "tags": tags, "attributes": {"city": city, "visits": visits}}
        assert caller.post("/api/subscribers", body).status_code == 201
    return begin(author)


def count(visitor, draft, **fields):
    fields = {"kind": "people"} | fields
    return read_text(send(visitor, f"{draft}/audience/count", fields))


def test_tags_of_any_all_and_none_are_counted_while_they_are_chosen(author, draft, caller):
    caller.post("/api/suppressions", {"phones": [BOB], "scope": "all"})

    text = count(author, draft, any="vip", none="staff")

    assert "1 person Fit the audience 2 They opted out − 1 Get it 1" in text
    assert "1 person Fit the audience 1 Get it 1" in count(author, draft, all=["vip", "member"])


@pytest.mark.parametrize(
    ("field", "op", "value", "reached"),
    [
        ("attributes.city", "eq", "Lund", 2),
        ("attributes.city", "in", "Lund, Malmö", 3),
        ("attributes.visits", "gte", "3", 2),
        ("attributes.city", "missing", "", 0),
        ("first_name", "exists", "", 0),
        ("subscribed_at", "gte", "2020-01-31", 3),
    ],
)
def test_conditions_need_no_sql(author, draft, field, op, value, reached):
    text = count(author, draft, field=field, op=op, value=value)

    assert f"Get it {reached}" in text


def test_a_half_filled_condition_is_not_counted_and_says_so(author, draft):
    typed = {"kind": "people", "field": "attributes.city", "op": "eq", "value": ""}

    answer = send(author, f"{draft}/audience", typed)

    assert answer.status_code == 400
    sentence = "city: Give a value, or take this condition away. It is not counted yet."
    assert read_text(answer).count(sentence) == 2
    assert sentence in count(author, draft, field="attributes.city", op="eq", value="")
    half = {"field": "attributes.city", "op": "eq", "value": ""}
    text = count(author, draft, any="vip", **half)
    assert f"3 people {sentence} Fit the audience 3 Get it 3" in text
    typed = {"field": "attributes.visits", "op": "gte", "value": "many"}
    assert "visits: Write a number." in count(author, draft, **typed)


def test_what_was_chosen_is_shown_again(author, draft):
    chosen = {"kind": "people", "any": "vip", "field": "attributes.visits", "op": "gte"}
    answer = send(author, f"{draft}/audience", chosen | {"value": "3", "go": "condition"})
    assert answer.headers["Location"] == f"{draft}/audience#conditions"

    page = author.get(f"{draft}/audience")

    assert 'name="any" value="vip" id="any"' not in page.text  # it is not the first tag
    assert 'name="any" value="vip" checked' in page.text
    assert '<option value="attributes.visits" selected>visits</option>' in page.text
    assert 'name="value" value="3"' in page.text
    assert "2 people Fit the audience 2" in read_text(page)


def test_a_condition_is_removed_by_its_button(author, draft):
    typed = {
        "kind": "people",
        "field": ["attributes.city", "attributes.visits"],
        "op": ["eq", "gte"],
        "value": ["", "3"],
    }

    send(author, f"{draft}/audience", typed | {"go": "remove-1"})

    page = author.get(f"{draft}/audience")
    assert '<option value="attributes.visits" selected>visits</option>' in page.text
    assert "Fit the audience 2" in read_text(page)
    assert "attributes.city" not in page.text.partition("</select>")[0].partition("selected")[2]


def test_no_one_is_left_says_why(author, draft, caller):
    caller.post("/api/suppressions", {"phones": [ANN, BOB, CLEO], "scope": "all"})

    text = count(author, draft, any="vip")

    assert "No one is left. All 3 people are left out, as follows." in text
    assert "They opted out − 3 Get it 0" in text
    none = count(author, draft, field="attributes.city", op="eq", value="Umeå")
    assert "No one fits." in none


def test_ten_of_them_are_shown_with_the_values_that_the_text_uses(author, caller):
    people = many_numbers(12)
    for phone in people:
        body = {"phone": phone, "first_name": "<b>Ann", "last_name": "Berg", "tags": ["vip"]}
        caller.post("/api/subscribers", body | {"attributes": {"city": "Malmö", "shoe": 43.50}})
    caller.post("/api/suppressions", {"phones": people[:1], "scope": "all"})
    draft = begin(author, "Hi ${first_name} of ${city}, size ${shoe}, ${gift}")
    text = "Hi ${first_name} of ${city}, size ${shoe}, ${gift}"
    send(author, f"{draft}/text", {"message": text, "default-gift": "a cap"})

    answer = count(author, draft, any="vip")

    (shown,) = re.findall("Look at ten of them (.*) So far", answer)
    values = "first_name: <b>Ann city: Malmö shoe: 43.5 gift: a cap"
    assert shown == " ".join(f"<b>Ann Berg {phone} {values}" for phone in people[1:11])


def test_few_are_all_shown_and_none_who_gets_nothing(author, draft, caller):
    caller.post("/api/suppressions", {"phones": [BOB], "scope": "all"})

    numbers = count(author, draft, kind="numbers", numbers=f"{ANN}\n{BOB}")
    none = count(author, draft, kind="numbers", numbers=BOB)

    assert f"when it starts. Look at them {ANN} So far People 1 Parts 1" in numbers
    assert "Look at" not in none


def test_pasted_numbers_are_counted_too(author, draft):
    assert "2 people" in count(author, draft, kind="numbers", numbers=f"{ANN}\n{BOB}")


def test_hostile_names_of_tags_and_attributes_are_text(author, caller):
    caller.post("/api/subscribers", {"phone": ANN, "tags": ["<script>x"]})
    draft = begin(author)

    page = author.get(f"{draft}/audience")

    assert "<script>x" not in page.text
