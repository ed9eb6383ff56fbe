"""Pages of users: an administrator makes them, gives them roles and links, and keeps their own."""

import re

import pytest

from app.accounts.roles import Role
from tests.web.new.drafting import begin
from tests.web.visitor import PASSWORD, Visitor, read_text, visit

_LINK = re.compile(r"https?://\S+?(/invite/[\w-]+)")


@pytest.fixture
def admin(service, sandbox):
    return visit(service, Role.ADMIN)


def create(admin, name, role):
    return admin.post("/users", {"name": name, "role": role}, on="/users")


def page_of(admin, name):
    found = re.search(rf'href="(/users/\d+)">{name}<', admin.get("/users").text)
    return found[1]


def accept(service, link):
    """Choose a password by a link, in another browser."""
    visitor = Visitor(service)
    passwords = {"password": PASSWORD, "password_again": PASSWORD}
    return visitor, visitor.post(link, passwords, on=link)


def test_a_new_user_signs_in_by_a_link_that_is_shown_once(admin, service):
    shown = read_text(create(admin, "Jonas Wikander", "author"))
    again = read_text(admin.get("/users"))

    assert _LINK.search(again) is None
    assert "Jonas Wikander Author Invited until" in again
    visitor, accepted = accept(service, _LINK.search(shown)[1])
    assert accepted.status_code == 303
    assert visitor.get("/overview").status_code == 200
    assert "Jonas Wikander Author Has a password" in read_text(admin.get("/users"))


def test_another_role_and_a_reset_end_the_sessions(admin, service):
    made = read_text(create(admin, "Jonas", "author"))
    visitor, _ = accept(service, _LINK.search(made)[1])
    page = page_of(admin, "Jonas")

    admin.post(f"{page}/role", {"role": "sender"}, on=page)
    assert "Jonas has the role sender now." in read_text(admin.get(page))
    assert visitor.get("/overview").status_code == 303
    assert visitor.sign_in("Jonas").status_code == 303

    link = _LINK.search(read_text(admin.post(f"{page}/link", on=page)))[1]
    assert visitor.get("/overview").status_code == 303
    assert visitor.sign_in("Jonas").status_code == 401
    assert visitor.get(link).status_code == 200


def test_a_new_link_ends_the_one_before(admin, service):
    first = _LINK.search(read_text(create(admin, "Jonas", "viewer")))[1]
    page = page_of(admin, "Jonas")

    second = _LINK.search(read_text(admin.post(f"{page}/link", on=page)))[1]

    assert Visitor(admin.service).get(first).status_code == 404
    assert Visitor(admin.service).get(second).status_code == 200


def test_administrators_cannot_lock_themselves_out(admin):
    page = page_of(admin, "a admin")

    assert "This is you." in read_text(admin.get(page))
    assert admin.post(f"{page}/role", {"role": "viewer"}, on="/users").status_code == 409
    assert admin.post(f"{page}/link", on="/users").status_code == 409
    assert admin.get(f"{page}/remove").status_code == 409
    assert admin.post(f"{page}/remove", on="/users").status_code == 409
    assert admin.get("/users").status_code == 200


def test_a_user_is_removed_for_good_and_their_draft_stays(admin, service):
    made = read_text(create(admin, "Jonas", "author"))
    visitor, _ = accept(service, _LINK.search(made)[1])
    draft = begin(visitor, "The kayaks are back")
    page = page_of(admin, "Jonas")

    asked = read_text(admin.get(f"{page}/remove"))
    assert "Remove Jonas for good?" in asked
    assert "Stays: their drafts and broadcasts, and their name on what they did." in asked
    answer = admin.post(f"{page}/remove", on=f"{page}/remove")

    assert answer.location == "/users"
    text = read_text(admin.get("/users"))
    assert "Jonas is removed." in text
    assert "Jonas Author" not in text
    assert visitor.get("/overview").status_code == 303
    assert visitor.sign_in("Jonas").status_code == 401
    assert admin.get(page).status_code == 404
    assert "Jonas" in read_text(admin.get("/drafts"))
    assert admin.get(f"{draft}/text").status_code == 200


@pytest.mark.parametrize("name", ["", " ", "x" * 61, "a\u200bb"])
def test_a_wrong_name_is_told_at_its_field(admin, name):
    refused = create(admin, name, "viewer")

    assert (refused.status_code, 'id="name-error"' in refused.text) == (400, True)


def test_a_name_that_is_taken_and_a_role_that_does_not_exist_are_told(admin):
    create(admin, "Jonas", "viewer")

    taken, unknown = create(admin, "JONAS", "viewer"), create(admin, "Anna", "owner")

    assert (taken.status_code, unknown.status_code) == (409, 400)
    assert "There is a user with this name already" in read_text(taken)
    assert "Choose one of the five." in read_text(unknown)
    page = page_of(admin, "Jonas")
    assert admin.post(f"{page}/role", {"role": "owner"}, on=page).status_code == 400


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_others_see_no_users(service, admin, role):
    visitor = visit(service, role)
    page = page_of(admin, "a admin")

    assert 'href="/users"' not in visitor.get("/overview").text
    assert 'href="/users"' in admin.get("/overview").text
    assert [visitor.get(path).status_code for path in ("/users", page)] == [403, 403]
    for path in ("/users", f"{page}/role", f"{page}/link", f"{page}/remove"):
        answer = visitor.post(path, {"name": "x", "role": "admin"}, on="/overview")
        assert answer.status_code == 403


def test_an_unknown_user_is_not_found(admin):
    assert admin.get("/users/999").status_code == 404
    assert admin.post("/users/999/link", on="/users").status_code == 404
