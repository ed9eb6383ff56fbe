"""Saved audiences on pages: saved by name, copied into drafts, renamed, deleted."""

import pytest

from app.accounts.roles import Role
from tests.web.new.drafting import begin, send
from tests.web.visitor import read_text, visit

PHONE = "+46701234567"
CHOSEN = {"kind": "people", "any": "vip", "field": "attributes.city", "op": "eq", "value": "Lund"}


@pytest.fixture
def author(service, sandbox, caller):
    body = {"phone": PHONE, "tags": ["vip", "staff"], "attributes": {"city": "Lund"}}
    caller.post("/api/subscribers", body)
    return visit(service, Role.AUTHOR)


def keep(visitor, draft, name):
    return send(visitor, f"{draft}/audience", {**CHOSEN, "go": "keep", "audience_name": name})


def test_an_audience_is_saved_by_a_name_and_copied_into_another_draft(author):
    draft, other = begin(author), begin(author, "Another text")

    assert keep(author, draft, "Regulars").headers["Location"] == f"{draft}/audience"

    assert "Saved as regulars." in read_text(author.get(f"{draft}/audience"))
    send(author, f"{other}/audience", {"kind": "people", "go": "use", "saved": "regulars"})
    page = author.get(f"{other}/audience")
    assert 'name="any" value="vip" checked' in page.text
    assert "Fit the audience 1 Get it 1" in read_text(page)


def test_a_draft_keeps_what_it_copied(author):
    draft = begin(author)
    keep(author, draft, "regulars")

    send(author, "/audiences/regulars", {"name": "Regulars of Lund"})
    listed = read_text(author.get("/audiences"))
    assert "It is regulars of lund now." in listed
    assert "regulars of lund any of vip; city is Lund Saved" in listed
    send(author, "/audiences/regulars of lund/delete")

    assert "There is no saved audience." in read_text(author.get("/audiences"))
    assert "Fit the audience 1 Get it 1" in read_text(author.get(f"{draft}/audience"))


def test_a_name_that_is_taken_or_none_is_refused_at_its_field_and_what_was_typed_stays(author):
    draft = begin(author)
    keep(author, draft, "regulars")
    keep(author, draft, "others")

    for name, sentence in (
        ("REGULARS", "There is an audience regulars already."),
        ("a/b", "Not a name:"),
    ):
        answer = keep(author, draft, name)
        assert answer.status_code == 400
        assert read_text(answer).count(sentence) == 2
        assert f'value="{name}"' in answer.text
    renamed = send(author, "/audiences/others", {"name": "regulars"})
    assert renamed.status_code == 409
    assert "There is an audience regulars already." in read_text(renamed)


def test_numbers_have_no_name_and_an_unknown_audience_is_not_copied(author):
    draft = begin(author)
    typed = {"kind": "numbers", "numbers": PHONE, "go": "keep", "audience_name": "x"}
    assert "import them with a tag" in read_text(send(author, f"{draft}/audience", typed))
    keep(author, draft, "regulars")

    answer = send(author, f"{draft}/audience", {"kind": "people", "go": "use", "saved": "gone"})

    assert read_text(answer).count("Choose one of the saved audiences.") == 2


def test_a_chosen_tag_that_is_deleted_since_is_shown_and_named(author, caller):
    draft = begin(author)
    send(author, f"{draft}/audience", CHOSEN)

    caller.delete("/api/tags/vip")

    page = author.get(f"{draft}/audience")
    assert 'name="any" value="vip" checked' in page.text
    assert "There is no tag vip." in read_text(page)


def test_hostile_values_of_a_saved_audience_are_text(author, caller):
    where = [{"field": "attributes.city", "op": "eq", "value": "<script>x</script>"}]
    caller.post("/api/audiences", {"name": "hostile", "audience": {"where": where}})

    page = author.get("/audiences")

    assert "city is &lt;script&gt;x&lt;/script&gt;" in page.text
    assert "<script>x" not in page.text
