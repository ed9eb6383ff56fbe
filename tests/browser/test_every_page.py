"""Every page in a browser: it fits its window, its shapes have their size, axe finds no fault."""

from pathlib import Path

import axe_playwright_python
import pytest

from app.accounts.roles import Role
from tests.browser.chromium import CHROMIUM
from tests.factories import broadcast_to
from tests.web.addresses import list_pages
from tests.web.samples import LONG, make_samples

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]

# axe is run at the last of these.
WIDTHS = (320, 360, 768, 1280)
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text("utf-8")

# The elements that make a page wider than its window, the innermost of them.
FIND_WIDER = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  const is_wider = (element) => element.getBoundingClientRect().right > width + 0.5;
  const wider = [...document.body.querySelectorAll("*")].filter(is_wider);
  return wider.filter((element) => ![...element.children].some(is_wider))
    .map((element) => `${element.tagName} ${element.getAttribute("class") ?? ""} `
      + element.textContent.trim().slice(0, 20));
}"""

# A shape without a size of its own fills its row.
_FIND_LARGE = """() => [...document.querySelectorAll("svg[class^='shape']")]
  .map((shape) => [shape.getAttribute("class"), shape.getBoundingClientRect().height])
  .filter(([, height]) => height > 24).map((found) => found.join(" "))"""

_ASK_AXE = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
  .filter((violation) => ["serious", "critical"].includes(violation.impact))
  .map((violation) => `${violation.id} ${violation.nodes[0].html.slice(0, 120)}`)"""


def test_every_page_fits_its_window_and_axe_finds_nothing_serious(
    clarion, open_browser, shared_service
):
    person = open_browser()
    page = person.page
    values = _make_something_to_show(clarion, person)
    routes = [
        route for route in list_pages(shared_service) if route.rule.arguments <= values.keys()
    ]
    assert len(routes) > 20

    wrong = []
    for route in routes:
        address = clarion.service.url + route.address(values)
        answer = page.request.get(address)
        wrong += [] if answer.ok else [f"{route}: {answer.status}"]
        if not answer.ok or not answer.text().lstrip().startswith("<!doctype"):
            continue  # a file, or a region that its page has
        page.goto(address)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            found = page.evaluate(FIND_WIDER) + page.evaluate(_FIND_LARGE)
            wrong += [f"{route} at {width}: {', '.join(found)}"] if found else []
        page.evaluate(AXE)
        wrong += [f"{route}: {violation}" for violation in page.evaluate(_ASK_AXE)]

    assert not wrong, "\n".join(wrong)


def _make_something_to_show(clarion, person):
    """Sign in.  Returns values for the arguments of routes, of things with long names."""
    clarion.sandbox.order_fault(on="POST /batches", do="cut", body_has="in doubt")
    body = broadcast_to("+46709000001", message="in doubt", allow_duplicate=True)
    doubtful = clarion.call("POST", "/api/broadcast", body)["broadcast_id"]
    invitation = clarion.invite(Role.VIEWER)
    person.sign_in_from(clarion.invite(Role.ADMIN))
    (samples,) = make_samples(clarion.call, clarion.hear, [LONG])
    page = person.page
    page.goto(f"{clarion.service.url}/new")
    page.get_by_label("Text").first.fill(LONG)
    page.get_by_role("button", name="Save and choose the audience").click()
    page.get_by_role("radio", name="Pasted numbers").check()
    page.get_by_label("Numbers", exact=True).fill("+46709000001\n+46719999999")
    page.get_by_role("button", name="Save and choose when").click()
    page.get_by_label("Transactional").check()
    page.get_by_role("button", name="Save and see what it comes to").click()
    page.get_by_role("link", name="They opted out: 1 person").click()
    page.wait_for_url("**/left-out/opted_out")
    return samples | {
        "token": invitation.rpartition("/")[2],
        "reference": clarion.wait_for_doubt(doubtful),
        "draft_id": page.url.split("/")[-3],
        "reason": "opted_out",
    }
