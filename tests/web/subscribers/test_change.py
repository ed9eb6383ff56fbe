"""A person's details are changed on a page, and all that is stored is given as a file."""

import re
from html import unescape

import pytest

from app.accounts.roles import Role
from app.operate.audit import list_entries
from tests.web.subscribers.conftest import ANN
from tests.web.visitor import read_text, visit

_FIELD = re.compile(r'<input id="[^"]+" name="([^"]+)"(?: value="([^"]*)")?')
_SEEN = re.compile(r'name="seen" value="([^"]*)"')


def read_form(visitor, page):
    """Return the fields of the form as a browser would send them."""
    html = visitor.get(page).text
    form = {name: unescape(value) for name, value in _FIELD.findall(html)}
    return form | {"seen": unescape(_SEEN.search(html)[1]), "active": "1", "new_type": "text"}


def change(visitor, ann, **fields):
    page = f"{ann}/change"
    return visitor.post(page, read_form(visitor, page) | fields, on=page)


def look(caller, ann):
    return caller.get(f"/api/subscribers/{ann.rpartition('/')[2]}").get_json()


def test_details_are_changed_and_the_rest_stays(author, ann, caller):
    before = look(caller, ann)

    answer = change(
        author, ann, first_name="Anna", last_name="", language="pt_br", tags="VIP, members",
        time_zone="Europe/Lisbon", **{"value-city": "Lund", "value-visits": "8,5"},
    )  # fmt: skip

    assert answer.headers["Location"] == ann
    assert "Changed. Texts that are sent from now on use it." in read_text(author.get(ann))
    after = look(caller, ann)
    changed = {name: after[name] for name in after if after[name] != before[name]}
    assert changed.pop("updated_at") > before["updated_at"]
    assert changed == {
        "first_name": "Anna",
        "last_name": None,
        "language": "pt-BR",
        "time_zone": "Europe/Lisbon",
        "tags": ["members", "vip"],
        "attributes": {"city": "Lund", "visits": 8.5},
    }


def test_a_form_that_is_sent_as_it_was_shown_changes_nothing(author, ann, caller):
    value = {"big": 2**53, "half": 1234567.25, "vip": True, "note": "two\nlines", "word": "yes"}
    caller.patch(f"/api/subscribers/{ann.rpartition('/')[2]}", {"attributes": value})
    caller.post("/api/tags", {"name": "club", "double_opt_in": True})
    caller.patch(f"/api/subscribers/{ann.rpartition('/')[2]}", {"tags": ["members", "club"]})
    before = look(caller, ann)
    assert before["unconfirmed_tags"] == ["club"]

    change(author, ann, **{"value-note": "twolines"})  # as browsers send it

    assert look(caller, ann) == before


def test_a_value_is_added_and_taken_away(author, ann, caller):
    change(author, ann, new_name="vip", new_value="yes", new_type="boolean", **{"value-city": ""})

    assert look(caller, ann)["attributes"] == {"visits": 7, "vip": True}


def test_broadcasts_may_leave_a_person_out(author, ann, caller):
    change(author, ann, active="")

    assert look(caller, ann)["active"] is False


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"first_name": "x" * 101}, "first_name", "At most 100 characters."),
        ({"language": "german"}, "language", "Write a language such as sv"),
        ({"time_zone": "Mars/Base"}, "time_zone", "Write a zone such as"),
        ({"tags": "a/b"}, "tags", "A tag has 1 to 64 letters"),
        ({"value-visits": "often"}, "value-visits", "Write a number."),
        ({"value-city": "x" * 501}, "value-city", "Longer than 500 characters."),
        ({"new_value": "7"}, "new_name", "Write a name of 1 to 32 letters"),
        ({"new_name": "å", "new_value": "7"}, "new_name", "Write a name of 1 to 32 letters"),
        ({"new_name": "city", "new_value": "7"}, "new_name", "A value has this name already"),
        ({"new_name": "age"}, "new_value", "Write a value."),
        ({"new_name": "age", "new_value": "x" * 501}, "new_value", "Longer than 500 characters."),
        (
            {"new_name": "vip", "new_value": "perhaps", "new_type": "boolean"},
            "new_value",
            "Write yes or no.",
        ),
    ],
)
def test_a_mistake_is_said_at_its_field_and_nothing_changes(
    author, ann, caller, fields, field, sentence
):
    before = look(caller, ann)

    answer = change(author, ann, last_name="typed", **fields)

    assert answer.status_code == 400
    assert f'<li><a href="#{field}">{sentence}' in answer.text.replace("&#39;", "'")
    assert f'id="{field}-error"' in answer.text
    assert 'value="typed"' in answer.text or "last_name" in fields
    assert look(caller, ann) == before


def test_too_many_values_are_refused(author, ann, caller):
    many = {f"a{number}": number for number in range(48)}
    caller.patch(f"/api/subscribers/{ann.rpartition('/')[2]}", {"attributes": many})

    answer = change(author, ann, new_name="one_more", new_value="1")

    assert answer.status_code == 400
    assert "More than 50 attributes" in read_text(answer)


def test_a_change_meanwhile_is_not_undone(author, ann, caller):
    page = f"{ann}/change"
    form = read_form(author, page)
    caller.patch(f"/api/subscribers/{ann.rpartition('/')[2]}", {"tags": ["members", "new"]})

    refused = author.post(page, form | {"first_name": "Anna"}, on=page)

    assert refused.status_code == 409
    assert "They were changed elsewhere after this page was opened." in read_text(refused)
    assert 'value="Anna"' in refused.text
    assert look(caller, ann)["tags"] == ["members", "new"]
    again = form | {"first_name": "Anna", "seen": unescape(_SEEN.search(refused.text)[1])}
    assert author.post(page, again, on=page).status_code == 303
    assert look(caller, ann)["first_name"] == "Anna"


def test_all_that_is_stored_is_one_file_as_the_api_gives_it(author, ann, caller, text_from):
    caller.send(ANN, message="The kayaks are back")
    text_from(ANN, "When do you open?")

    answer = author.get(f"{ann}/data.json")

    subscriber_id = ann.rpartition("/")[2]
    assert answer.headers["Content-Disposition"] == (
        f"attachment; filename=person-{subscriber_id}.json"
    )
    assert answer.get_json() == caller.get(f"/api/subscribers/{subscriber_id}/export").get_json()
    assert "kayaks" in answer.text
    assert "When do you open?" in answer.text
    assert "Yes, text me offers." in answer.text


def test_the_file_of_a_person_is_in_the_audit_log(service, author, ann):
    assert author.get(f"{ann}/data.json").status_code == 200

    entry = list_entries(service.extensions["clarion"].db, only={"action": "export"}).rows[0]
    assert entry.actor == "people:a author"
    assert entry.subject == f"subscriber {ann.rpartition('/')[2]}"


def test_a_viewer_may_do_neither(service, sandbox, ann):
    viewer = visit(service, Role.VIEWER)

    assert viewer.get(f"{ann}/change").status_code == 403
    assert viewer.get(f"{ann}/data.json").status_code == 403
    assert viewer.post(f"{ann}/change", {"first_name": "Anna"}, on="/people").status_code == 403


def test_a_tag_is_added_beside_the_others_and_a_wrong_one_is_said_at_its_field(author, ann, caller):
    tags = f"{ann}/tags"
    assert "+ Tag" in read_text(author.get(ann))

    for typed in ("a/b", " "):
        wrong = author.post(tags, {"tag": typed}, on=ann)
        assert wrong.status_code == 400
        assert 'id="tag-error"' in wrong.text
        assert "<details open>" in wrong.text
    assert look(caller, ann)["tags"] == ["members"]

    answer = author.post(tags, {"tag": " VIP "}, on=ann)

    assert answer.headers["Location"] == ann
    assert "Changed. Broadcasts to the tag reach them" in read_text(author.get(ann))
    assert look(caller, ann)["tags"] == ["members", "vip"]
