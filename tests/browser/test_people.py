"""People in a real browser: a file is imported while its page watches, with and without scripts."""

import pytest

from app.accounts.roles import Role
from app.subscribers.imports.job import work_imports
from tests.background import context_of
from tests.browser.chromium import CHROMIUM
from tests.browser.watching import note_complaints
from tests.callers import PATIENT
from tests.web.visitor import PASSWORD, make_user

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
FILE = b"Mobil;Namn\n+46701740621;<b>Elin</b> Sandberg\n+46701740634;Maja Ekdahl\n12;Ylva\n"


@pytest.fixture
def service(make_service, sandbox):
    return make_service(**PATIENT)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_file_is_imported_and_its_person_is_found(browser, url, service, scripts):
    context = browser.new_context(java_script_enabled=scripts)
    page = context.new_page()
    complaints = note_complaints(page)
    page.goto(f"{url}/people/imports")
    page.get_by_label("User name").fill(make_user(service, Role.AUTHOR))
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()

    file = {"name": "members.csv", "mimeType": "text/csv", "buffer": FILE}
    page.get_by_label("CSV file").set_input_files(file)
    page.get_by_role("button", name="Show its columns").click()
    page.get_by_role("heading", name="What is in members.csv?").wait_for()
    page.get_by_role("button", name="Import 3 lines").click()
    page.get_by_role("heading", name="members.csv is being imported").wait_for()
    while work_imports(context_of(service).subscriber_context):
        pass
    if not scripts:
        page.reload()
    page.get_by_role("heading", name="members.csv is imported").wait_for()
    assert page.locator("tfoot .figures").inner_text() == "3"

    page.get_by_role("link", name="People").first.click()
    page.get_by_label("Number or name").fill("maja")
    page.get_by_role("button", name="Find").click()
    page.get_by_role("link", name="Maja Ekdahl").click()
    page.get_by_role("heading", name="Maja Ekdahl").wait_for()
    page.go_back()  # what was found is shown without a form that is sent again
    page.get_by_role("link", name="Maja Ekdahl").click()
    page.get_by_text("Everything", exact=True).click()
    page.get_by_label("Why?").fill("Rang us")
    page.get_by_role("button", name="Stop these texts").click()
    page.get_by_text("Nothing: stopped by hand today").wait_for()
    assert complaints == []
    context.close()
