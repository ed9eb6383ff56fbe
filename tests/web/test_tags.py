"""Pages of tags: numbers, make, rename, delete; each refusal at its field."""

import pytest

from app.accounts.roles import Role
from tests.callers import Caller
from tests.web.visitor import read_text, visit

ANN = "+46701234567"


@pytest.fixture
def author(service, sandbox):
    return visit(service, Role.AUTHOR)


def create(visitor, name, **more):
    return visitor.post("/tags", {"name": name} | more, on="/tags")


def test_a_tag_is_made_renamed_and_deleted_with_its_numbers(author, service):
    made = create(author, "customers")
    Caller(service).post("/api/subscribers", {"phone": ANN, "tags": ["customers"]})

    assert (made.status_code, made.location) == (303, "/tags")
    text = read_text(author.get("/tags"))
    assert "The tag customers is made." in text
    assert "customers … …" in text
    assert "customers 1 1" in read_text(author.get("/tags?counted=1"))

    renamed = author.post("/tags/customers", {"name": "regulars"}, on="/tags/customers")
    assert renamed.location == "/tags/regulars"
    assert "Count its people" in read_text(author.get("/tags/regulars"))
    assert "1 person 1 get a broadcast to it" in read_text(author.get("/tags/regulars?counted=1"))
    assert author.get("/tags/customers").status_code == 404

    asked = read_text(author.get("/tags/regulars/delete"))
    assert "1 person loses the tag." in asked
    author.post("/tags/regulars/delete", on="/tags/regulars/delete")
    text = read_text(author.get("/tags"))
    assert "1 person had it. All of them are still there." in text
    assert "There is no tag." in text


def test_a_double_opt_in_is_switched_on_and_off(author):
    create(author, "news", double_opt_in="on")
    assert "checked" in author.get("/tags/news").text

    author.post("/tags/news", {"name": "news"}, on="/tags/news")

    assert "checked" not in author.get("/tags/news").text


@pytest.mark.parametrize("name", ["", "  ", "<b>", "x" * 65, "\0"])
def test_a_wrong_name_is_told_at_its_field(author, name):
    create(author, "customers")

    for path in ("/tags", "/tags/customers"):
        refused = author.post(path, {"name": name}, on=path)
        assert (refused.status_code, 'id="name-error"' in refused.text) == (400, True)
        assert "<b></" not in refused.text


def test_a_name_that_is_taken_is_told(author):
    create(author, "customers")
    create(author, "regulars")

    for path in ("/tags", "/tags/regulars"):
        refused = author.post(path, {"name": "customers"}, on=path)
        assert refused.status_code == 409
        assert "There is a tag customers already." in read_text(refused)


def test_a_viewer_sees_the_numbers_and_changes_nothing(author, service):
    create(author, "customers")
    viewer = visit(service, Role.VIEWER)

    text = read_text(viewer.get("/tags")) + read_text(viewer.get("/tags/customers"))
    assert "New tag" not in text
    assert "Delete" not in text
    for path in ("/tags", "/tags/customers", "/tags/customers/delete"):
        assert viewer.post(path, {"name": "x"}, on="/tags").status_code == 403


@pytest.mark.parametrize("path", ["/tags/none", "/tags/none/delete", "/tags/%00"])
def test_an_unknown_tag_is_not_found(author, path):
    assert author.get(path).status_code == 404
