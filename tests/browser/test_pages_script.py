"""What pages.js does: pages sleep while hidden, say that they are late, take a press once."""

import pytest

from app.accounts.roles import Role
from tests.browser.chromium import CHROMIUM
from tests.callers import id_of
from tests.endings import end_messages
from tests.web.visitor import PASSWORD, make_user

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]

POLLS = "**/overview/live*"


@pytest.fixture
def overview(page, url, service, sandbox):
    """The overview of a user who has signed in; its regions ask again at our word alone."""
    name = make_user(service, Role.SENDER)
    page.goto(f"{url}/overview")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/overview")
    return page


def wake(page):
    page.evaluate("htmx.trigger('#now', 'wake')")


def hide(page, hidden):
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", {get: () => hidden, configurable: true});
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_a_hidden_page_asks_for_nothing_and_asks_at_once_when_it_is_shown(overview):
    asked = []
    overview.on(
        "request", lambda request: asked.append(request.url) if "live" in request.url else None
    )

    hide(overview, True)
    wake(overview)
    while_hidden = list(asked)
    with overview.expect_response(POLLS):
        hide(overview, False)

    assert while_hidden == []
    assert len(asked) == 1


def test_a_region_that_cannot_be_read_says_since_when(overview):
    line = overview.locator("[data-as-of]")
    time = line.get_attribute("data-as-of")
    overview.route(POLLS, lambda route: route.fulfill(status=503, body=""))

    wake(overview)
    overview.get_by_text(f"Not updated since {time}.").wait_for()
    overview.unroute(POLLS)
    wake(overview)

    overview.get_by_text("Moves by itself").wait_for()


def test_a_region_of_an_ended_session_leads_to_the_sign_in(overview):
    overview.context.clear_cookies()

    wake(overview)

    overview.get_by_role("heading", name="Sign in").wait_for()


def test_what_is_unfolded_in_a_region_stays_unfolded(overview, url, service, caller):
    made = caller.send("+46701234567", "+46702345678")
    end_messages(service.extensions["clarion"], made, {"+46701234567": ("Delivered", 0)})
    overview.goto(f"{url}/broadcasts/{id_of(made)}")
    region = overview.locator("#live").get_attribute("hx-get")
    overview.locator("#curve-figures summary").click()

    with overview.expect_response("**/live*"):
        overview.evaluate("htmx.trigger('#live', 'wake')")
    overview.wait_for_function(
        f"document.querySelector('#live').getAttribute('hx-get') != '{region}'"
    )

    assert overview.locator("#curve-figures").get_attribute("open") is not None


def test_a_form_is_sent_once_however_often_it_is_pressed(overview, url):
    overview.goto(f"{url}/why")
    overview.get_by_label("Phone number").fill("+46 70 123 45 67")
    sent = []
    overview.on("request", lambda request: sent.append(request.method))
    # An answer without content leaves the page as it is.
    overview.route("**/why", lambda route: route.fulfill(status=204))

    overview.get_by_role("button", name="Look it up").dblclick()

    overview.locator("button:disabled", has_text="Look it up").wait_for()
    assert sent == ["POST"]


def test_the_account_menu_closes_by_escape_and_gives_the_focus_back(overview):
    menu = overview.locator("details.account")
    menu.locator("summary").click()
    overview.get_by_role("button", name="Sign out everywhere").wait_for()

    overview.keyboard.press("Escape")

    assert menu.get_attribute("open") is None
    assert overview.evaluate("document.activeElement.tagName") == "SUMMARY"


def test_the_way_back_to_a_refused_form_is_its_page(overview, url):
    overview.goto(f"{url}/why")
    overview.get_by_role("main").get_by_label("Phone number").fill("half a number")
    overview.get_by_role("button", name="Look it up").click()
    overview.get_by_text("Write the number with its country").wait_for()
    overview.get_by_role("link", name="Broadcasts").first.click()
    overview.wait_for_url("**/broadcasts")

    overview.go_back()

    overview.get_by_role("heading", name="Why did this number not get it?").wait_for()


def test_a_refusal_has_the_focus_and_the_name_stays(page, url, service, sandbox):
    page.goto(f"{url}/login")
    page.get_by_label("User name").fill("Anna")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("That name and password do not belong together.").wait_for()

    assert page.title() == "Error: Sign in - Clarion"
    assert page.evaluate("document.activeElement.id") == "note"
    assert page.get_by_label("User name").input_value() == "Anna"
    assert page.get_by_label("Password").input_value() == ""
