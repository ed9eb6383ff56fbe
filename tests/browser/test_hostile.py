"""What people write is text in a real browser: nothing of it runs, and no page is wider for it."""

import io

import pytest

from app.accounts.roles import Role
from app.accounts.users import create_user
from app.errors import BadInput, Conflict
from app.subscribers.attributes import make_tag_name
from tests.browser.chromium import CHROMIUM
from tests.browser.test_every_page import FIND_WIDER
from tests.browser.watching import Watcher
from tests.factories import in_hours
from tests.web.addresses import list_pages
from tests.web.hostile import COUNT, make_hostile, reach
from tests.web.samples import make_samples
from tests.web.visitor import Visitor, make_user

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]

# Of what takes a request each.
FEW = 54
# Its forms have the tokens of all pages, and it takes the least work.
TOKEN_PAGE = "/why"
ADMIN = "<b onclick=alert(1)>Anna</b>"
LISTS = (
    "/people",
    "/inbox",
    "/broadcasts",
    "/templates",
    "/tags",
    "/users",
    "/people/imports",
    "/people/suppressions",
)
# Elements and attributes that no page of ours has.
_FIND_FOREIGN = """() => {
  const runs = ({name, value}) => name.startsWith("on") ||
    (["href", "src", "action"].includes(name) && /^\\s*(javascript|data):/i.test(value));
  const isForeign = (element) => element.matches("img, base, iframe, style, main h1 ~ h1") ||
    [...element.attributes].some(runs);
  return [...document.querySelectorAll("*")].filter(isForeign)
    .map((element) => element.outerHTML.slice(0, 80));
}"""
_FIND_OLDER = """() => [...document.querySelectorAll("main a")]
  .find((link) => ["Older", "More"].includes(link.textContent.trim()))?.getAttribute("href")"""


@pytest.fixture
def service(make_service, sandbox):
    return make_service(LOG_LEVEL="error")


@pytest.fixture
def values(service):
    """Values for the addresses of pages, of things that have hostile strings as names and texts."""
    strings, (call, hear) = make_hostile(), reach(service)
    values = make_samples(call, hear, strings, send_at=in_hours(1))
    visitor = Visitor(service)
    visitor.sign_in(make_user(service, Role.ADMIN, ADMIN))
    ctx = service.extensions["clarion"]
    for string in strings[:FEW]:
        visitor.post("/tags", {"name": make_tag_name(string)[:64]}, on=TOKEN_PAGE)
        file = (io.BytesIO(f"phone,{string}\n+46701234567,{string}\n".encode()), string)
        visitor.post("/people/imports", {"file": file}, on=TOKEN_PAGE)
        call("POST", "/api/suppressions", {"phone": f"+4672{len(string):07}", "note": string})
        try:
            create_user(ctx.db, ctx.clock, string[:60], Role.VIEWER, actor="tests")
        except (BadInput, Conflict):  # characters that no name has
            continue
    return values


def test_what_people_write_neither_runs_nor_makes_a_page_wider(page, url, service, values):
    complaints = Watcher(page, url).complaints
    page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    page.set_viewport_size({"width": 360, "height": 800})
    visitor = Visitor(service)
    visitor.sign_in(ADMIN)
    cookie = visitor.client.get_cookie("clarion").value
    page.context.add_cookies([{"name": "clarion", "value": cookie, "url": url}])

    def look(path):
        page.goto(url + path)
        wrong = page.evaluate(FIND_WIDER) + page.evaluate(_FIND_FOREIGN)
        complaints.extend(f"{path}: {found}" for found in wrong)
        return page.evaluate(_FIND_OLDER)

    looked = 0
    for path in LISTS:
        while path:
            path, looked = look(path), looked + 1
    ours = [route for route in list_pages(service) if values[0].keys() & route.rule.arguments]
    for number, route in enumerate(ours * 3):
        answer = visitor.get(route.address(values[number * 7 % COUNT]))
        if answer.text.lstrip().startswith("<!doctype"):
            look(route.address(values[number * 7 % COUNT]))

    assert complaints == []
    assert looked > len(LISTS) + COUNT // 50
