"""Counts that come behind their page, in a real browser."""

import pytest

from app.accounts.roles import Role
from app.sms.drafts.count import MAX_COUNTED
from tests.browser.chromium import CHROMIUM
from tests.browser.watching import note_complaints
from tests.callers import PATIENT
from tests.factories import many_numbers
from tests.people import add_people, stop
from tests.web.new.drafting import begin, fill_in, send
from tests.web.visitor import PASSWORD, visit

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
MANY = [f"+4670{number:07}" for number in range(1_001)]


@pytest.fixture
def service(make_service, sandbox):
    return make_service(**PATIENT)


def sign_in_at(page, address):
    page.goto(address)
    page.get_by_label("User name").fill("a sender")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def test_a_large_quote_comes_by_itself_with_its_heading_and_its_button(page, url, service):
    draft = fill_in(visit(service, Role.SENDER), *MANY)
    complaints = note_complaints(page)

    sign_in_at(page, f"{url}{draft}/confirm")

    page.get_by_role("button", name="Send 1,001 texts").wait_for()

    assert "Quoted at" in page.locator("#beside").inner_text()
    assert not page.get_by_text("Count it now").is_visible()
    assert complaints == []


def test_a_count_that_is_refused_is_asked_for_again(page, url, service):
    draft = fill_in(visit(service, Role.SENDER), *MANY)
    busy = {"status": 503, "headers": {"Retry-After": "1"}}
    page.route("**/confirm?counted=1", lambda route: route.fulfill(**busy), times=1)

    sign_in_at(page, f"{url}{draft}/confirm")

    page.get_by_role("button", name="Send 1,001 texts").wait_for()


def test_what_has_moved_among_many_is_counted_by_itself(page, url, service):
    ctx, people = service.extensions["clarion"], many_numbers(MAX_COUNTED + 1)
    add_people(ctx, people, tags=["vip"])
    visitor = visit(service, Role.SENDER)
    draft = begin(visitor)
    send(visitor, f"{draft}/audience", {"kind": "people", "any": "vip"})
    send(visitor, f"{draft}/when", {"category": "transactional"})
    complaints = note_complaints(page)
    sign_in_at(page, f"{url}{draft}/confirm")
    button = page.get_by_role("button", name="Send 10,001 texts")
    button.wait_for()
    stop(ctx, people[0])

    button.click()

    page.get_by_text("1 person opted out: 10,000 texts.").wait_for()
    page.get_by_role("button", name="Send 10,000 texts").click()
    page.wait_for_url("**/broadcasts/*")
    sent = page.url
    page.go_back()
    page.wait_for_url(sent)
    assert [said for said in complaints if "409" not in said] == []
