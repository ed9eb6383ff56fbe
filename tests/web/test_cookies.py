"""Cookies: they are signed and can be read, so that they have the session and no other secret."""

import re

import pytest
from pyotp import TOTP

from app.accounts.roles import Role
from tests.accounts.people import PASSWORD, give_password
from tests.web.visitor import visit

_COOKIE = "clarion"
# What names the browser's own session, and the notes for the next page.
_PARTS = {"token", "csrf_token", "_permanent", "_flashes"}
_KEY, _LINK = re.compile(r"clarion_[a-z0-9]{58}"), re.compile(r"/invite/([\w-]{20,})")
_SECRET, _CODE = re.compile(r"secret=([A-Z2-7]{32})"), re.compile(r"<code>([a-z0-9-]{19})</code>")


@pytest.fixture
def admin(service):
    return visit(service, Role.ADMIN)


def _read_cookie(visitor, answer):
    """Return what a form's answer left in the browser."""
    app = visitor.service
    serializer = app.session_interface.get_signing_serializer(app)
    names = [cookie.partition("=")[0] for cookie in answer.headers.getlist("Set-Cookie")]
    assert set(names) <= {_COOKIE}
    return serializer.loads(visitor.client.get_cookie(_COOKIE).value)


def _check(visitor, answer, secret):
    """Check that a form showed a secret that is in no cookie and not shown again."""
    (*_, shown) = found = secret.findall(answer.text)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    cookie = _read_cookie(visitor, answer)
    assert set(cookie) <= _PARTS
    assert not any(each in str(cookie) for each in found)
    assert not secret.search(visitor.get("/overview").text)
    return str(shown)


def test_a_new_key_is_in_no_cookie(admin):
    form = {"name": "shop", "scopes": ["broadcasts:read"], "kind": "live"}

    made = _check(admin, admin.post("/keys", form, on="/keys"), _KEY)
    replaced = _check(admin, admin.post("/keys/1/replace", on="/keys"), _KEY)

    assert made != replaced
    assert not _KEY.search(admin.get("/keys").text)


def test_a_link_that_invites_or_resets_is_in_no_cookie(admin):
    form = {"name": "Jonas", "role": "viewer"}

    invited = _check(admin, admin.post("/users", form, on="/users"), _LINK)
    page = re.search(r'href="(/users/\d+)">Jonas<', admin.get("/users").text)[1]
    again = _check(admin, admin.post(f"{page}/link", on=page), _LINK)
    give_password(admin.service.extensions["clarion"].db, "Jonas")
    reset = _check(admin, admin.post(f"{page}/link", on=page), _LINK)

    assert len({invited, again, reset}) == 3
    assert not _LINK.search(admin.get("/users").text + admin.get(page).text)


def test_the_secret_and_the_codes_of_a_second_factor_are_in_no_cookie(admin):
    secret = _check(admin, admin.post("/account/factor", on="/account"), _SECRET)
    code = TOTP(secret).at(admin.service.extensions["clarion"].now())

    confirmed = admin.post("/account/factor/confirm", {"code": code}, on="/account")
    first = _check(admin, confirmed, _CODE)
    renewed = admin.post("/account/factor/codes", {"present": PASSWORD}, on="/account")
    second = _check(admin, renewed, _CODE)

    assert first != second
    assert not _CODE.search(admin.get("/account").text)
