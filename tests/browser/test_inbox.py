"""The inbox in a real browser: what is typed stays, a press counts once, phones have two pages."""

import pytest

from app.accounts.roles import Role
from tests.background import context_of
from tests.browser.chromium import CHROMIUM
from tests.browser.watching import note_complaints
from tests.callers import PATIENT
from tests.reporting import inbound, tell
from tests.web.visitor import PASSWORD, make_user

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
ANN, BOB = "+46701234567", "+46707654321"


@pytest.fixture
def service(make_service, sandbox):
    return make_service(**PATIENT)


def write(service, phone, text, name):
    tell(context_of(service), inbound(phone, text, name=name))


def sign_in(page, url, name):
    page.goto(f"{url}/inbox")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Inbox").wait_for()


@pytest.fixture
def author(service):
    return make_user(service, Role.AUTHOR)


def test_what_is_typed_stays_while_texts_come_and_is_sent_once(page, url, service, sandbox, author):
    complaints = note_complaints(page)
    write(service, ANN, "Does it hold online too?", "01A")
    sign_in(page, url, author)
    page.get_by_role("link", name=ANN).click()
    page.get_by_label("Answer").fill("It does")

    write(service, ANN, "<b>Hello?</b>", "01B")
    page.evaluate("htmx.trigger('#texts', 'wake'); htmx.trigger('#threads', 'wake')")
    page.locator("#texts", has_text="<b>Hello?</b>").wait_for()
    page.locator("#threads", has_text="<b>Hello?</b>").wait_for()

    assert page.get_by_label("Answer").input_value() == "It does"
    page.get_by_role("button", name="Send the answer").dblclick()
    page.locator("#texts", has_text="It does").wait_for()
    page.reload()
    assert sandbox.recipients() == [ANN]
    assert page.get_by_label("Answer").input_value() == ""
    assert complaints == []


def test_a_double_press_without_scripts_sends_once(browser, url, service, sandbox, author):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    write(service, ANN, "Does it hold online too?", "01A")
    sign_in(page, url, author)
    page.get_by_role("link", name=ANN).click()

    page.get_by_label("Answer").fill("It does")
    page.get_by_role("button", name="Send the answer").dblclick()
    page.locator("#texts", has_text="It does").wait_for()

    assert sandbox.recipients() == [ANN]
    context.close()


def test_phones_have_the_list_and_the_thread_on_two_pages(browser, url, service, author):
    context = browser.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    write(service, ANN, "Does it hold online too?", "01A")
    write(service, BOB, "w" * 300, "01B")
    sign_in(page, url, author)

    page.get_by_role("link", name=BOB).click()
    page.get_by_role("heading", name=BOB).wait_for()

    assert not page.locator("#threads").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("link", name="All threads").click()
    page.locator("#threads").wait_for()
    assert not page.get_by_role("heading", name=BOB).is_visible()
    context.close()
