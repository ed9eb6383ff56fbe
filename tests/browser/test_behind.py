"""Counts that come behind their page, in a real browser."""

import pytest

from app.accounts.roles import Role
from tests.browser.chromium import CHROMIUM
from tests.browser.watching import note_complaints
from tests.callers import PATIENT
from tests.web.new.drafting import fill_in
from tests.web.visitor import PASSWORD, visit

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
MANY = [f"+4670{number:07}" for number in range(1_001)]


@pytest.fixture
def service(make_service, sandbox):
    return make_service(**PATIENT)


def test_a_large_quote_comes_by_itself_with_its_heading_and_its_button(page, url, service):
    draft = fill_in(visit(service, Role.SENDER), *MANY)
    complaints = note_complaints(page)
    page.goto(f"{url}{draft}/confirm")
    page.get_by_label("User name").fill("a sender")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()

    page.get_by_role("button", name="Send 1,001 texts").wait_for()

    assert "Quoted at" in page.locator("#beside").inner_text()
    assert not page.get_by_text("Count it now").is_visible()
    assert complaints == []
