"""Signing in and out, and what a page refuses from those who have not signed in."""

import pytest

from app.accounts.roles import Role
from app.accounts.users import change_role, create_user
from tests.factories import production
from tests.web.visitor import PASSWORD, Visitor, make_user, read_text, visit

BROWSER = {"Accept": "text/html"}


@pytest.fixture
def visitor(service):
    return Visitor(service)


def test_a_page_leads_to_sign_in_and_then_on(service, visitor):
    name = make_user(service, Role.VIEWER)

    asked = visitor.get("/broadcasts?status=paused")
    assert (asked.status_code, asked.headers["Location"]) == (
        303,
        "/login?next=/broadcasts?status%3Dpaused",
    )
    signed_in = visitor.sign_in(name, next="/broadcasts?status=paused")

    assert signed_in.headers["Location"] == "/broadcasts?status=paused"
    assert visitor.get("/broadcasts").status_code == 200


@pytest.mark.parametrize(
    "target", ["https://evil.test/", "//evil.test", "/\\evil.test", "javascript:alert(1)", "/a b"]
)
def test_a_sign_in_leads_to_no_other_host(service, visitor, target):
    answer = visitor.sign_in(make_user(service, Role.VIEWER), next=target)

    assert answer.headers["Location"] == "/overview"


def test_one_answer_is_for_an_unknown_name_and_a_wrong_password(service, visitor):
    make_user(service, Role.VIEWER, "Anna")

    answers = [visitor.sign_in(name, "wrong wrong wrong") for name in ("Anna", "Unknown")]

    assert [answer.status_code for answer in answers] == [401, 401]
    first, second = (read_text(answer) for answer in answers)
    assert "That name and password do not belong together." in first
    assert "You can try again in" in second
    assert 'value="Anna"' in answers[0].text
    assert "wrong wrong" not in answers[0].text


def test_an_invitation_sets_the_password_once(service, visitor):
    ctx = service.extensions["clarion"]
    token = create_user(ctx.db, ctx.clock, "Anna", Role.SENDER, actor="tests")
    page = f"/invite/{token}"
    assert "Anna" in read_text(visitor.get(page))

    short = visitor.post(page, {"password": "short", "password_again": "short"}, on=page)
    other = visitor.post(page, {"password": PASSWORD, "password_again": "x" * 20}, on=page)
    done = visitor.post(page, {"password": PASSWORD, "password_again": PASSWORD}, on=page)

    assert (short.status_code, other.status_code) == (400, 400)
    assert "The two differ" in read_text(other)
    assert (done.status_code, done.headers["Location"]) == (303, "/overview")
    assert visitor.get("/overview").status_code == 200
    assert Visitor(service).get(page).status_code == 404


def test_signing_out_ends_one_session_or_all(service):
    name = make_user(service, Role.VIEWER)
    first, second, third = (Visitor(service) for _ in range(3))
    for visitor in (first, second, third):
        visitor.sign_in(name)

    assert first.post("/logout", on="/why").headers["Location"] == "/login"
    assert first.get("/overview").status_code == 303
    assert second.get("/overview").status_code == 200

    second.post("/logout/everywhere", on="/why")
    assert third.get("/overview").headers["Location"].endswith("ended=1")


def test_who_was_signed_out_by_another_role_is_not_told_that_they_were_idle(service):
    visitor, ctx = visit(service, Role.VIEWER), service.extensions["clarion"]
    change_role(ctx.db, ctx.clock, "a viewer", Role.AUTHOR, actor="tests")

    told = read_text(visitor.get(visitor.get("/overview").location))

    assert "You were signed out. That happens after 12 hours without use" in told
    assert "and when your password or role changes." in told


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"csrf_token": ""}, {}),
        ({"csrf_token": "forged"}, {}),
        ({}, {"Sec-Fetch-Site": "cross-site"}),
        ({}, {"Sec-Fetch-Site": "same-site"}),
    ],
)
def test_a_form_of_another_site_does_nothing(service, fields, headers):
    visitor = visit(service, Role.VIEWER)

    answer = visitor.post("/logout", fields, on="/why", **headers)

    assert answer.status_code == 400
    assert "nothing was done" in read_text(answer)
    assert visitor.get("/overview").status_code == 200


def test_a_region_of_an_ended_session_has_the_page_loaded_anew(visitor):
    answer = visitor.get("/overview/live", **{"HX-Request": "true"})

    assert (answer.status_code, answer.headers["HX-Refresh"]) == (401, "true")


def test_every_page_has_the_policy_and_the_cookie_its_attributes(service, visitor):
    make_user(service, Role.VIEWER, "Anna")
    page = visitor.get("/login")
    cookie = page.headers["Set-Cookie"]

    assert page.headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert page.headers["Cache-Control"] == "no-store"
    assert cookie.startswith("clarion=")
    for attribute in ("HttpOnly", "SameSite=Lax", "Path=/"):
        assert attribute in cookie


def test_in_production_the_cookie_is_bound_to_this_host(make_service):
    service = make_service(**production(), APP_ENV="")

    cookie = service.test_client().get("/login").headers["Set-Cookie"]

    assert cookie.startswith("__Host-clarion=")
    assert "Secure" in cookie
    assert "Domain" not in cookie


def test_the_api_sets_no_cookie(service, auth):
    answer = service.test_client().get("/api/broadcasts", headers=auth)

    assert "Set-Cookie" not in answer.headers
