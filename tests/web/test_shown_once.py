"""Secrets that a page shows once: a reload of it, which sends the form again, makes no other."""

import re

import pytest
from pyotp import TOTP

from app.accounts.roles import Role
from tests.accounts.people import PASSWORD, give_password
from tests.web.visitor import read_text, visit

_KEY = {"name": "shop", "scopes": ["broadcasts:read"], "kind": "live"}
_SECRET = re.compile(r"secret=([A-Z2-7]{32})")


@pytest.fixture
def admin(service):
    return visit(service, Role.ADMIN)


def _send_twice(visitor, path, fields, *, on):
    """Send a form, and again as it was.  Returns both answers; the second as it reads."""
    page = visitor.get(on).text
    tokens = re.findall(r'name="(csrf_token|once)" value="([^"]+)"', page)
    form = dict(tokens) | fields
    first = visitor.client.post(path, data=form)
    again = visitor.client.post(path, data=form)
    assert first.status_code == 200
    return first.text, read_text(visitor.get(again.location) if again.location else again)


def test_a_key_is_made_once(admin):
    _, again = _send_twice(admin, "/keys", _KEY, on="/keys")

    assert "Nothing was done again. The new key was shown once." in again
    assert "If you missed that, revoke it below and make another." in again
    assert "Revoke key 1" in again
    assert "Revoke key 2" not in again


def test_a_key_is_replaced_once(admin):
    admin.post("/keys", _KEY, on="/keys")

    _, again = _send_twice(admin, "/keys/1/replace", {}, on="/keys")

    assert "Nothing was done again. The new key was shown once." in again
    assert "Revoke key 3" not in again


def test_a_user_is_invited_once(admin):
    shown, again = _send_twice(admin, "/users", {"name": "Jonas", "role": "viewer"}, on="/users")

    link = re.search(r"/invite/[\w-]{20,}", shown)[0]
    assert "Their link was shown once." in again
    assert "If you missed that, open the user and make a new one." in again
    assert admin.get(link).status_code == 200


def test_a_password_is_reset_once(admin):
    admin.post("/users", {"name": "Jonas", "role": "viewer"}, on="/users")
    give_password(admin.service.extensions["clarion"].db, "Jonas")
    page = re.search(r'href="(/users/\d+)">Jonas<', admin.get("/users").text)[1]

    shown, again = _send_twice(admin, f"{page}/link", {}, on=page)

    link = re.search(r"/invite/[\w-]{20,}", shown)[0]
    assert "The new link was shown once. If you missed that, make another here." in again
    assert admin.get(link).status_code == 200


def test_a_second_factor_and_its_codes_are_made_once(admin):
    shown, again = _send_twice(admin, "/account/factor", {}, on="/account")

    assert "The secret was shown once." in again
    assert "if your app has it, type its code." in again
    code = TOTP(_SECRET.search(shown)[1]).at(admin.service.extensions["clarion"].now())
    confirm = {"code": code}
    _, again = _send_twice(admin, "/account/factor/confirm", confirm, on="/account")
    assert "The second factor is on already." in again

    renew = {"present": PASSWORD}
    shown, again = _send_twice(admin, "/account/factor/codes", renew, on="/account")
    assert "The new codes were shown once. If you missed that, make new ones here." in again
    first_code = re.search(r"<code>([a-z0-9-]{19})</code>", shown)[1]
    turned_off = admin.post("/account/factor/off", {"code": first_code}, on="/account")
    assert turned_off.status_code == 303


@pytest.mark.parametrize("path", ["/keys", "/users", "/account/factor"])
def test_a_form_without_its_token_is_refused(admin, path):
    fields = {"name": "Jonas", "role": "viewer", "kind": "live", "scopes": ["broadcasts:read"]}

    answer = admin.post(path, fields | {"once": ""}, on="/account")

    assert answer.status_code == 400
    assert "The form was not sent from a page of your session" in read_text(answer)
