"""The server ends before a press of "Send" is answered: pressed again, it sends at most once."""

import re

import pytest
import requests

from app.accounts.roles import Role
from app.accounts.users import create_user
from app.config import read_config
from app.sms.context import make_context
from tests.accounts.people import PASSWORD, give_password
from tests.factories import KEY, settings
from tests.kills.judging import is_settled
from tests.kills.mortal import PATIENT, mortal, wait_until
from tests.web.new.drafting import fill_in, read_form

SOON_S = 300.0
ANN, BOB = "+46701234567", "+46702345678"


class Browser:
    """A person's browser: a session over HTTP that follows no redirect."""

    def __init__(self, url):
        self._url, self._session = url, requests.Session()

    def get(self, path):
        return self._session.get(self._url + path, timeout=30, allow_redirects=False)

    def post(self, path, fields=None, *, on):
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.get(on).text)[1]
        data = {"csrf_token": token} | (fields or {})
        return self._session.post(self._url + path, data, timeout=30, allow_redirects=False)


def sign_in(service):
    """Make a sender, and return a browser in which they have signed in."""
    ctx = make_context(read_config(settings(DATABASE_URL=service.database_url)))
    create_user(ctx.db, ctx.clock, "Anna", Role.SENDER, actor="tests")
    give_password(ctx.db, "Anna")
    ctx.db.close()
    browser = Browser(service.url)
    fields = {"name": "Anna", "password": PASSWORD}
    assert browser.post("/login", fields, on="/login").status_code == 303
    return browser


# Before the broadcast is stored; claimed, and nothing sent; sent, and not recorded; recorded.
@pytest.mark.parametrize(
    ("point", "copies"), [("C0", 1), ("C1", 0), ("C3", 0), ("C4", 1), ("C6", 1), ("C9", 1)]
)
def test_a_press_that_a_crash_cuts_off_is_one_broadcast_when_it_is_repeated(
    sinch, database_url, tmp_path, point, copies
):
    ours = PATIENT | {"SINCH_REGION_URL": sinch.url, "DATABASE_URL": database_url}
    ours |= {"LEASE_S": "5", "RETRY_WAIT_MAX_S": "1"}
    ours |= {"API_KEYS": f"tests[* clients:all]:{KEY}"}
    with mortal(tmp_path, **ours) as service:
        service.start(FAILPOINT=f"{point}:1")
        browser = sign_in(service)
        draft = fill_in(browser, ANN, BOB)
        form = read_form(browser, draft)

        with pytest.raises(requests.ConnectionError):
            browser.post(f"{draft}/confirm", form, on="/new")
        service.kill()
        service.start()
        answers = [browser.post(f"{draft}/confirm", form, on="/new") for _ in range(2)]
        wait_until(lambda: is_settled(service), within_s=SOON_S, why="nothing is under way")

        assert {answer.status_code for answer in answers} == {303}
        (book,) = service.books()
        place = f"/broadcasts/{book['broadcast_id']}"
        assert {answer.headers["Location"] for answer in answers} == {place}
        assert sinch.copies() == ({ANN: 1, BOB: 1} if copies else {})
        # What was claimed may be at Sinch as far as we know: an operator decides.
        assert len(service.attention()) == 1 - copies
        service.kill()
        assert service.violations() == []
