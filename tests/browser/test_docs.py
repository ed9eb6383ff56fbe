"""GET /docs in a real browser: it shows the API, from this server alone."""

import pytest

from tests.browser.chromium import CHROMIUM
from tests.browser.watching import note_complaints

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


def test_the_api_is_shown_and_can_be_tried_and_a_reload_keeps_the_key(page, url, sandbox, auth):
    requested, complaints = [], note_complaints(page)
    page.on("request", lambda request: requested.append(request.url))

    page.goto(f"{url}/docs")
    page.get_by_role("button", name="Authorize").click()
    page.get_by_label("Value:").fill(auth["X-API-Key"])
    page.get_by_role("button", name="Apply credentials").click()
    page.get_by_role("button", name="Close").click()
    # The first click: the example as it is.
    _send_example(page)
    sent_first = sandbox.recipients()
    # Loaded anew without the fragment, by which the operation would be open, and scrolled to.
    page.goto(f"{url}/docs")
    _send_example(page)

    assert sent_first == ["+15551234567"]
    assert sandbox.posts() == 2
    assert page.title() == "Clarion API"
    assert [each for each in requested if not each.startswith((url, "data:"))] == []
    assert complaints == []


def _send_example(page):
    page.locator("#operations-sms-createBroadcast").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    page.locator(".live-responses-table .response-col_status", has_text="202").wait_for()
