"""A person at the pages, without a browser: signs in, reads, presses buttons."""

import re
from dataclasses import dataclass
from html import unescape
from typing import Any

import requests
from flask import Flask
from werkzeug.test import TestResponse

from app.accounts.roles import Role
from app.accounts.users import create_user
from app.sms.context import Context
from tests.accounts.people import PASSWORD, give_password

_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
_ONCE = re.compile(r'name="once" value="([^"]+)"')


@dataclass
class Visitor:
    """A browser's cookies and the pages it shows."""

    service: Flask

    def __post_init__(self) -> None:
        self.client = self.service.test_client()

    def copy(self) -> "Visitor":
        """Return another window of the same browser."""
        other = Visitor(self.service)
        other.client._cookies = dict(self.client._cookies or {})
        return other

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.client.get(path, headers=headers)

    def post(
        self, path: str, fields: dict[str, Any] | None = None, *, on: str = "/login", **headers: str
    ) -> TestResponse:
        """Send a form with the tokens of the page `on`."""
        page = self.get(on).get_data(as_text=True)
        found = {"csrf_token": _TOKEN.search(page), "once": _ONCE.search(page)}
        data = {name: token[1] if token else "" for name, token in found.items()} | (fields or {})
        return self.client.post(path, data=data, headers=headers)

    def look_up(
        self, path: str, fields: dict[str, Any], *, on: str = "/why", **headers: str
    ) -> TestResponse:
        """Send a form, and read the page that its answer leads to, if it leads to one."""
        answer = self.post(path, fields, on=on, **headers)
        return self.get(answer.location, **headers) if answer.status_code == 303 else answer

    def sign_in(self, name: str, password: str = PASSWORD, **fields: str) -> TestResponse:
        return self.post("/login", {"name": name, "password": password} | fields)


def make_user(service: Flask, role: Role, name: str | None = None) -> str:
    """Make a user who has set a password.  Returns the name."""
    ctx: Context = service.extensions["clarion"]
    name = name or f"a {role.value}"
    create_user(ctx.db, ctx.clock, name, role, actor="tests")
    give_password(ctx.db, name)
    return name


def visit(service: Flask, role: Role) -> Visitor:
    """Return a visitor who is signed in with a role."""
    visitor = Visitor(service)
    assert visitor.sign_in(make_user(service, role)).status_code == 303
    return visitor


def sign_in_at(url: str, name: str, password: str = PASSWORD) -> requests.Session:
    """Return a browser that has tried to sign in to a running service."""
    browser = requests.Session()
    token = _TOKEN.search(browser.get(f"{url}/login", timeout=60).text)
    assert token
    form = {"csrf_token": token[1], "name": name, "password": password}
    browser.post(f"{url}/login", data=form, timeout=60)
    return browser


def read_text(response: TestResponse) -> str:
    """Return the words of a page, without markup."""
    return read_words(response.get_data(as_text=True))


def read_words(html: str) -> str:
    """Return the words of a piece of a page."""
    text = re.sub(r"<(script|style|svg)\b.*?</\1>", " ", html, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())
