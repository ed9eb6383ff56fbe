"""Pages of templates: write, edit with versions, archive; each refusal at its field."""

import pytest

from app.accounts.roles import Role
from tests.callers import Caller
from tests.web.visitor import read_text, visit

NEW = "/templates/new"
PAGE = "/templates/people/welcome"
ENGLISH, SWEDISH = "Hi ${first_name}, welcome", "Hej ${first_name}, välkommen"


@pytest.fixture
def author(service, sandbox):
    return visit(service, Role.AUTHOR)


def texts(*rows, **more):
    return {"language": [row[0] for row in rows], "text": [row[1] for row in rows]} | more


def create(visitor, *rows, name="welcome"):
    return visitor.post(NEW, texts(*rows, name=name), on=NEW)


def test_a_template_is_written_and_shown_with_what_it_costs(author):
    made = create(author, ("en", ENGLISH), ("sv", SWEDISH), ("", ""))

    assert (made.status_code, made.location) == (303, PAGE)
    text = read_text(author.get(PAGE))
    assert "Version 1 of 1" in text
    assert "Hi ${first_name} , welcome" in text
    assert "1 part, GSM-7, 12 characters and what the placeholders add." in text
    assert "welcome en, sv" in read_text(author.get("/templates"))


def test_each_edit_is_a_version_unless_nothing_changes(author):
    create(author, ("en", ENGLISH))
    edit = f"{PAGE}/edit"
    assert ENGLISH in author.get(edit).text

    author.post(edit, texts(("en", ENGLISH)), on=edit)
    assert "Nothing was changed." in read_text(author.get(PAGE))
    author.post(edit, texts(("en", "Hello ${first_name} – welcome"), ("sv", SWEDISH)), on=edit)

    newest = read_text(author.get(PAGE))
    assert "Version 2 is kept." in newest
    assert "Version 2 of 2" in newest
    assert "instead of 160: – (use -)." in newest
    assert "Hi ${first_name}" in read_text(author.get(f"{PAGE}?version=1"))


def test_an_archived_template_is_not_listed_and_can_be_read(author):
    create(author, ("en", ENGLISH))

    gone = author.post(f"{PAGE}/archive", on=PAGE)

    assert gone.location == "/templates"
    text = read_text(author.get("/templates"))
    assert "The template welcome is archived." in text
    assert "There is no template." in text
    assert "Archived" in read_text(author.get(PAGE))
    assert f"{PAGE}/edit" not in author.get(PAGE).text
    assert author.post(f"{PAGE}/edit", texts(("en", "x")), on=NEW).status_code == 404


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([("en", "")], "Not 1 to 2000 characters."),
        ([("english!", "Hi")], "Not a language such as sv"),
        ([("", "Hi")], "Not a language such as sv"),
        ([("en", "Hi"), ("en", "Hello")], "Given twice."),
        ([("en", ENGLISH), ("sv", "Hej")], "${first_name} is in only one of them."),
        ([("en", "x" * 2001)], "Not 1 to 2000 characters."),
        ([], "Write the text."),
    ],
)
def test_a_wrong_text_is_told_below_it_and_what_was_typed_stays(author, rows, reason):
    refused = create(author, *rows)

    assert refused.status_code == 400
    assert reason in read_text(refused)
    assert "Error: New template" in refused.text
    for language, text in rows:
        assert f'value="{language}"' in refused.text
        assert text in refused.text
    assert author.get(PAGE).status_code == 404


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 65, "<script>"])
def test_a_wrong_name_is_told_at_its_field(author, name):
    refused = create(author, ("en", "Hi"), name=name)

    assert (refused.status_code, 'id="name-error"' in refused.text) == (400, True)
    assert "<script>" not in refused.text.replace('<script src="', "")


def test_a_name_that_is_taken_is_told(author):
    create(author, ("en", "Hi"))

    refused = create(author, ("en", "Hello"))

    assert refused.status_code == 409
    assert "There is a template welcome already." in read_text(refused)


def test_templates_of_clients_are_apart_from_those_of_pages(author, service):
    Caller(service).post(
        "/api/templates", {"name": "welcome", "texts": {"en": "Of tests"}, "default_language": "en"}
    )
    create(author, ("en", "Of pages"))

    assert "Of tests" in read_text(author.get("/templates/tests/welcome"))
    assert "Of pages" in read_text(author.get(PAGE))
    assert author.get("/templates/other/welcome").status_code == 404


def test_a_viewer_reads_and_changes_nothing(author, service):
    create(author, ("en", "Hi"))
    viewer = visit(service, Role.VIEWER)

    assert "Edit" not in read_text(viewer.get(PAGE))
    assert "New template" not in read_text(viewer.get("/templates"))
    for path in (NEW, f"{PAGE}/edit", f"{PAGE}/archive"):
        assert viewer.post(path, texts(("en", "x"), name="x"), on="/templates").status_code == 403


def test_hostile_texts_are_shown_as_texts(author):
    create(author, ("en", "<img src=x onerror=alert(1)>{{7*7}}"))

    for page in (PAGE, f"{PAGE}/edit"):
        assert "<img src=x" not in author.get(page).text
        assert "&lt;img src=x onerror=alert(1)&gt;{{7*7}}" in author.get(page).text


def test_what_is_wrong_with_a_template_is_said_on_top_with_links_to_its_fields(author):
    wrong = create(author, ("en", "Hi ${first name}"), name="moved again")

    assert wrong.status_code == 400
    assert "2 things are not right yet." in read_text(wrong)
    for field in ("name", "text-1"):
        assert f'href="#{field}"' in wrong.text
        assert f'id="{field}-error"' in wrong.text
