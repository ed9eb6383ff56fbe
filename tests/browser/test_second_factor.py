"""A second factor in a real browser: set up, signed in with, lost, and set up again."""

import re
import time

import pytest
from pyotp import TOTP

from app.accounts.roles import Role
from tests.browser.chromium import CHROMIUM
from tests.web.visitor import PASSWORD

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]

_SECOND_STEP = re.compile("/login/code")


def give_password(page, name):
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(_SECOND_STEP)


def sign_out(page):
    page.locator("summary").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.wait_for_url("**/login")


@pytest.mark.parametrize(
    ("scripts", "width"), [(True, 1280), (False, 360)], ids=["script", "no script, phone"]
)
def test_a_person_signs_in_with_a_phone_and_without_it(clarion, open_browser, scripts, width):
    person = open_browser(scripts=scripts, width=width)
    person.sign_in_from(clarion.invite(Role.SENDER))
    page, account = person.page, f"{clarion.service.url}/account"
    name = page.locator("summary").inner_text()

    page.locator("summary").click()
    page.get_by_role("link", name="Your account").click()
    page.get_by_role("button", name="Set up a second factor").click()
    page.get_by_role("img", name="QR code of the secret below").wait_for()
    secret = page.locator("code").inner_text().replace(" ", "")
    page.get_by_label("Six digits from your app").fill(TOTP(secret).now())
    page.get_by_role("button", name="Turn the second factor on").click()
    page.get_by_role("link", name="I have kept them").wait_for()
    codes = page.locator("li code").all_inner_texts()
    assert len(codes) == 10
    page.get_by_role("link", name="I have kept them").click()
    page.wait_for_url("**/overview")

    sign_out(page)
    give_password(page, name)
    # The code of now confirmed the set-up; the next one may come half a minute early.
    page.get_by_label("Six digits from your app").fill(TOTP(secret).at(time.time() + 30))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/overview")

    sign_out(page)
    give_password(page, name)
    page.get_by_role("link", name="Use a recovery code").click()
    page.get_by_label("Recovery code").fill(codes[0])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/overview")

    page.goto(account)
    page.get_by_text("You have 9 recovery codes left.").wait_for()
    page.get_by_label("Code of your app, or a recovery code").fill(codes[1])
    page.get_by_role("button", name="Turn the second factor off").click()
    page.get_by_text("The second factor is off.").wait_for()
    page.get_by_role("button", name="Set up a second factor").wait_for()
