"""GET /docs in a real browser: it shows the API, from this server alone."""

import shutil
import threading

import pytest
from playwright.sync_api import sync_playwright
from werkzeug.serving import make_server

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


@pytest.fixture
def url(service, sandbox):
    server = make_server("127.0.0.1", 0, service, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page of a browser that has kept nothing."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


def test_the_api_is_shown_and_can_be_tried(page, url, sandbox, auth):
    requested, complaints = [], []
    page.on("request", lambda request: requested.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))

    page.goto(f"{url}/docs")
    page.get_by_role("button", name="Authorize").click()
    page.get_by_label("Value:").fill(auth["X-API-Key"])
    page.get_by_role("button", name="Apply credentials").click()
    page.get_by_role("button", name="Close").click()
    page.locator("#operations-sms-createBroadcast").click()
    page.get_by_role("button", name="Try it out").click()
    # The first click: the example as it is.
    page.get_by_role("button", name="Execute").click()
    page.locator(".live-responses-table .response-col_status", has_text="202").wait_for()

    assert sandbox.recipients() == ["+15551234567"]
    assert page.title() == "Clarion API"
    assert [each for each in requested if not each.startswith((url, "data:"))] == []
    assert complaints == []


def test_the_key_is_kept_when_the_page_is_loaded_again(page, url, sandbox, auth):
    page.goto(f"{url}/docs")
    page.get_by_role("button", name="Authorize").click()
    page.get_by_label("Value:").fill(auth["X-API-Key"])
    page.get_by_role("button", name="Apply credentials").click()
    page.get_by_role("button", name="Close").click()
    _send_example(page)

    page.reload()
    _send_example(page)

    assert sandbox.posts() == 2


def _send_example(page):
    page.locator("#operations-sms-createBroadcast").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    page.locator(".live-responses-table .response-col_status", has_text="202").wait_for()
