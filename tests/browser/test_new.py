"""The steps of a new broadcast in a real browser: regions that follow what is chosen."""

import pytest
from playwright.sync_api import expect

from app.accounts.roles import Role
from tests.browser.chromium import CHROMIUM
from tests.browser.watching import note_complaints
from tests.callers import PATIENT, Caller
from tests.web.visitor import PASSWORD, make_user

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
ANN, BOB = "+46701234567", "+46707654321"
_TEXTS = {"en": "Hi ${first_name}, we moved", "sv": "Hej ${first_name}, vi har flyttat"}


@pytest.fixture
def service(make_service, sandbox):
    service = make_service(**PATIENT)
    caller = Caller(service)
    template = {"name": "moved", "texts": _TEXTS, "default_language": "en"}
    assert caller.post("/api/templates", template).status_code == 201
    for phone, more in ((ANN, {"first_name": "Ann", "language": "sv"}), (BOB, {})):
        caller.post("/api/subscribers", {"phone": phone, "tags": ["vip"]} | more)
    return service


def test_a_template_is_read_when_it_is_chosen_and_when_it_is_sent_once_its_kind_is(
    page, url, service
):
    complaints = note_complaints(page)
    page.goto(f"{url}/new")
    page.get_by_label("User name").fill(make_user(service, Role.AUTHOR))
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/new")  # what is typed before the scripts are there is not counted

    page.route("**/text/count", lambda _: None)  # not answered before more is typed
    with page.expect_request("**/text/count"):
        page.get_by_label("Text", exact=True).fill("Typed")
    page.unroute("**/text/count")
    page.get_by_label("Text", exact=True).fill("Typed first")
    expect(page.locator("#count")).to_contain_text("11 characters")
    page.get_by_label("Template", exact=True).select_option("moved")
    expect(page.locator("#count")).to_contain_text("Hej first_name, vi har flyttat")
    expect(page.get_by_role("region", name="Preview")).to_contain_text("Hej Ann, vi har flyttat")
    page.get_by_label("first_name").fill("there")
    page.keyboard.press("Tab")
    expect(page.locator("#count")).to_contain_text("for each of 2 people")
    page.get_by_label("Template", exact=True).select_option("")
    expect(page.get_by_label("Text", exact=True)).to_have_value("Typed first")
    preview, seek = page.get_by_role("region", name="Preview"), page.get_by_label("Number or name")
    page.get_by_label("Text", exact=True).fill("Hi ${first_name}")
    seek.fill(BOB)
    seek.press("Enter")
    page.wait_for_url("**/text?search=*")
    expect(preview).to_contain_text(f"As {BOB} gets it")
    page.get_by_label("Text", exact=True).fill("Dear ${first_name}")
    expect(preview).to_contain_text("Dear there")
    expect(seek).to_have_value(BOB)
    seek.fill("Zoe")
    page.get_by_role("button", name="Show it").click()
    expect(preview).to_contain_text("No one has this number or name.")
    page.get_by_label("Text", exact=True).fill("Typed first")
    page.get_by_label("Template", exact=True).select_option("moved")
    expect(page.get_by_label("first_name")).to_have_value("there")
    page.get_by_role("button", name="Save and choose the audience").click()
    page.wait_for_url("**/audience")

    page.get_by_role("radio", name="People you have").check()
    page.get_by_role("group", name="Has any of these tags").get_by_label("vip").check()
    expect(page.locator("#reach")).to_contain_text("2 people")
    page.get_by_role("button", name="Save and choose when").click()
    page.wait_for_url("**/when")
    times = page.get_by_role("region", name="When it is sent there")
    expect(times).to_contain_text("Choose the audience and the kind")
    page.get_by_label("Transactional").check()

    expect(times).to_contain_text("2 at once")
    expect(times).to_contain_text("Stockholm")
    assert complaints == []
