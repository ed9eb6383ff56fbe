"""The count of a text while it is written: parts, cost, costly characters, a person's copy."""

import re

import pytest

from app.accounts.roles import Role
from app.phone.e164 import mask_number
from tests.factories import many_numbers
from tests.web.new.drafting import begin, send
from tests.web.visitor import read_text, visit

ANN, BOB, CAT, DAN = "+46701234567", "+46702345678", "+46703456789", "+46704567890"
_COSTLY = "Don’t wait – it’s 30% off skis and boots till Sunday, all days"


@pytest.fixture
def author(service, sandbox):
    return visit(service, Role.AUTHOR)


def count(visitor, draft, message, **fields):
    return send(visitor, f"{draft}/text/count", {"message": message} | fields)


def subscribe(caller):
    caller.post("/api/subscribers", {"phone": ANN, "first_name": "Ann", "tags": ["vip"]})
    caller.post("/api/subscribers", {"phone": BOB, "first_name": "Bartholomew"})


def test_without_an_audience_it_is_counted_over_all_subscribers(author, caller):
    subscribe(caller)

    text = read_text(count(author, begin(author), "Pickup moved to 08:30"))

    assert "1 part for each of 2 people , 21 characters, GSM-7." in text
    assert "Counted over all 2 people until you choose." in text


def test_without_subscribers_the_text_alone_is_counted(author):
    assert "1 part , 2 characters, GSM-7." in read_text(count(author, begin(author), "Hi"))


def test_a_long_name_pushes_its_person_into_a_second_part(author, caller):
    subscribe(caller)

    text = read_text(count(author, begin(author), "Hi ${first_name}, " + "a" * 150))

    assert "1 part for 1 person, 2 parts for 1 person" in text


def test_long_names_say_what_fewer_characters_would_save(author, caller):
    subscribe(caller)
    caller.put("/api/prices", {"currency": "EUR", "prices": {"SE": "0.05"}})
    text = "Hi ${first_name}, " + "a" * 148  # 156 with Ann, 164 with Bartholomew

    said = read_text(count(author, begin(author), text))

    sentence = "Long names or values push 1 person into a second part. "
    assert sentence + "4 characters less would save about €0.05." in said
    shorter = read_text(count(author, begin(author), text[:-4]))
    assert "1 part for each of 2 people" in shorter
    assert "Long names" not in shorter


def test_characters_that_cost_only_with_long_names_say_what_they_add(author, caller):
    subscribe(caller)
    draft, text = begin(author), "Hi ${first_name}, it’s" + "a" * 50  # 61 with Ann, 69, then 72

    unpriced = read_text(count(author, draft, text + "aaa"))
    caller.put("/api/prices", {"currency": "EUR", "prices": {"SE": "0.05"}})
    priced = read_text(count(author, draft, text + "aaa"))

    assert "One character makes it UCS-2: 1 part more." in unpriced
    assert "One character makes this text cost about €0.05 more. " in priced
    assert "instead of 1." not in unpriced + priced
    assert "One character" not in read_text(count(author, draft, text))


def test_costly_characters_are_named_with_their_cost_and_replaced_by_one_press(author, caller):
    subscribe(caller)
    caller.put("/api/prices", {"currency": "EUR", "prices": {"SE": "0.05"}})
    draft = begin(author)

    text = read_text(count(author, draft, _COSTLY + "!" * 9))

    assert "2 parts for each of 2 people , 71 characters, UCS-2. About €0.20." in text
    assert "Two characters make this text cost about €0.10 more: 2 parts instead of 1." in text
    assert "Use ' and - instead: 1 part, about €0.10" in text
    rows = "’ right single quotation mark 2 ' – en dash 1 - Use ' and -"
    assert f"Character Times Instead {rows}" in text
    page = send(author, f"{draft}/text", {"message": _COSTLY, "go": "cheaper"})
    shown = author.get(page.headers["Location"])
    assert "Don&#39;t wait - it&#39;s 30% off" in shown.text
    assert "UCS-2" not in read_text(shown)


def test_costly_characters_that_cost_nothing_are_not_mentioned(author):
    assert "instead" not in read_text(count(author, begin(author), _COSTLY))


def test_what_is_read_aloud_changes_with_parts_and_encoding_alone(author):
    draft = begin(author)
    first = count(author, draft, "Hi")
    assert 'id="said"' in first.text

    assert 'id="said"' not in count(author, draft, "Hi you", said="1 part, GSM-7").text


def test_a_person_of_the_audience_is_shown_with_their_copy(author, caller):
    subscribe(caller)
    draft = begin(author, "Hi ${first_name}")
    first = author.get(f"{draft}/text")
    assert "As Ann gets it Hi Ann Person 1 of 2" in read_text(first)

    other = send(author, f"{draft}/text", {"message": "Hi ${first_name}", "go": "person-2"})
    longest = send(author, f"{draft}/text", {"message": "Hi ${first_name}", "go": "person-0"})

    for answer in (other, longest):
        shown = read_text(author.get(answer.headers["Location"]))
        assert "As Bartholomew gets it Hi Bartholomew Person 2 of 2" in shown


@pytest.fixture(params=["audience", "numbers"])
def sought(request, author, caller):
    """Show the copy of the person whom a search names: of two with a tag, or of two numbers."""
    subscribe(caller)
    for phone, more in (
        (CAT, {"first_name": "Cat", "tags": ["vip"]}),
        (DAN, {"first_name": "Dan"}),
    ):
        caller.post("/api/subscribers", {"phone": phone} | more)
    caller.post("/api/suppressions", {"phones": [CAT], "scope": "all"})
    draft, more = begin(author, "Hi all"), {}
    pasted = {"kind": "numbers", "numbers": f"{ANN}\n{CAT}"}
    audience = {"kind": "people", "any": "vip"} if request.param == "audience" else pasted
    send(author, f"{draft}/audience", audience)
    if request.param == "numbers":
        more["default-first_name"] = "Ann"

    def search(person):
        form = {"message": "Hi ${first_name}", "seek": person, "go": "seek"}
        answer = send(author, f"{draft}/text", form | more)
        assert re.search(r"/text\?search=[\w-]{8}#preview$", answer.location)
        page = author.get(answer.location)
        assert f'type="search" value="{person}"' in page.text
        typed = count(author, draft, "Hi ${first_name}!", seek=person, **more)
        return read_text(page).partition("Number or name")[0], read_text(typed)

    return search


def test_any_person_of_the_audience_is_shown_by_a_number_or_a_name(sought):
    for person in ("ann", ANN, "+46 70 123 45 67"):
        page, typed = sought(person)
        assert page.endswith("As Ann gets it Hi Ann Another The longest ")
        assert "As Ann gets it Hi Ann! " in typed


def test_a_person_who_gets_nothing_is_said_to_and_why(sought):
    for person, sentence in (
        ("cat", "Cat gets nothing. They opted out."),
        (DAN, "Dan is not in the audience."),
        ("Zoe", "No one has this number or name."),
        ("+46709999999", "No one has this number or name."),
        ("7", "Neither + nor 00 in front: a national number needs a country."),
    ):
        page, typed = sought(person)
        assert f"As one person gets it {sentence} Another" in page
        assert f"As one person gets it {sentence} Another" in typed


def test_of_people_with_such_a_name_one_who_gets_the_text_is_shown(author, caller):
    for phone, name, active in ((ANN, "Ana", False), (BOB, "Anita", True)):
        person = {"phone": phone, "first_name": name, "active": active}
        assert caller.post("/api/subscribers", person).status_code == 201
    draft = begin(author)

    both, inactive = (read_text(count(author, draft, "Hi", seek=name)) for name in ("an", "ana"))

    others = "Others have such a name, too: write more of it, or the number."
    assert f"As Anita gets it Hi {others} Another" in both
    assert "Ana gets nothing. They are inactive. Another" in inactive


def test_a_text_that_cannot_be_sent_says_why_instead(author):
    text = read_text(count(author, begin(author), "Hi ${"))

    assert "begins no placeholder: after it write a name" in text


def test_the_text_is_tried_on_the_own_number_once_a_press(author, caller, sandbox):
    subscribe(caller)
    draft = re.search(r'action="(/new/\w+)/text"', author.get("/new").text)[1]
    form = {"message": "Hi ${first_name}", "go": "test", "phone": "+46 70 999 88 77", "trial": "a"}

    for _ in range(2):
        assert send(author, f"{draft}/text", form).headers["Location"] == f"{draft}/text"

    assert sandbox.recipients() == ["+46709998877"]
    page = author.get(f"{draft}/text")
    assert f"A test is on its way to {mask_number('+46709998877')}." in read_text(page)
    assert 'value="+46709998877"' in page.text
    wrong = send(author, f"{draft}/text", form | {"phone": "Anna"})
    assert wrong.status_code == 400
    assert "One thing is not right yet. Not a phone number." in read_text(wrong)
    assert 'value="Anna"' in wrong.text
    assert "1 part for each of" in read_text(wrong)
    others = [send(author, f"{draft}/text", form | {"phone": to}) for to in many_numbers(5)]
    assert [answer.status_code for answer in others] == [303] * 4 + [400]
    assert "changed your own number 5 times within a day" in read_text(others[-1])
