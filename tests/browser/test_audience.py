"""The audience of a new broadcast in a real browser: one choice is shown, and a file is counted."""

import pytest

from app.accounts.roles import Role
from tests.browser.chromium import CHROMIUM
from tests.browser.watching import note_complaints
from tests.callers import PATIENT
from tests.web.visitor import PASSWORD, make_user

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
FILE = b"Home,Mobile,Name\n+46701740621,+46701740634,Maja\n12,+447700900123,Owen\n1,x,Ylva\n"
_IS_WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture
def service(make_service, sandbox):
    return make_service(**PATIENT)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_file_becomes_the_audience(browser, url, service, scripts):
    context = browser.new_context(
        java_script_enabled=scripts, viewport={"width": 360, "height": 800}
    )
    page, sizes = context.new_page(), []
    complaints = note_complaints(page)
    page.on("request", lambda sent: sizes.append((sent.url, len(sent.post_data_buffer or b""))))
    page.goto(f"{url}/new")
    page.get_by_label("User name").fill(make_user(service, Role.AUTHOR))
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Text").first.fill("Hi ${name}")
    page.get_by_role("button", name="Save and choose the audience").click()

    page.get_by_role("radio", name="Pasted numbers").check()
    assert page.get_by_label("Numbers", exact=True).is_visible()
    assert not page.get_by_label("CSV file", exact=True).is_visible()
    page.get_by_role("radio", name="A CSV file").check()
    assert not page.get_by_label("Numbers", exact=True).is_visible()
    file = {"name": "vinter.csv", "mimeType": "text/csv", "buffer": FILE}
    page.get_by_label("CSV file", exact=True).set_input_files(file)
    page.get_by_role("button", name="Show its columns").click()

    page.get_by_role("heading", name="What is in vinter.csv?").wait_for()
    reach = page.locator("#reach")
    assert "2 people" in reach.inner_text()
    page.get_by_label("Mobile is").select_option("Leave out")
    page.get_by_label("Home is").select_option("Phone number")
    if scripts:
        reach.get_by_text("1 person").wait_for()
        assert page.evaluate(_IS_WIDER) is False
    page.get_by_role("button", name="Show the rows again").click()
    page.get_by_text("2 of 3 rows cannot be sent to.").wait_for()
    page.get_by_role("button", name="Go on without these 2 rows").click()
    page.wait_for_url("**/when")
    counts = [size for address, size in sizes if address.endswith("/audience/count")]
    assert bool(counts) is scripts
    assert complaints == []
    context.close()
