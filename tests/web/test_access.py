"""Who may open which page and send which form: every route is tried by each who may not."""

import re
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from html.parser import HTMLParser

import pytest

from app.accounts.roles import Role
from app.accounts.sessions import end_all_sessions
from app.accounts.users import list_users
from tests.callers import PATIENT
from tests.factories import in_hours, settings
from tests.web.addresses import list_pages, list_routes
from tests.web.hostile import make_hostile, reach
from tests.web.samples import make_samples
from tests.web.visitor import Visitor, make_user, read_text, visit

# What anyone may open.  A page that is added here is one that needs no user.
OPEN = {
    "GET /login",
    "POST /login",
    "GET /login/code",
    "POST /login/code",
    "POST /logout",
    "GET /invite/<token>",
    "POST /invite/<token>",
}
LOOKS = 500
# Elements of the strings below that no page of ours has.
_FOREIGN = {"base", "img", "style"}
_CSRF = re.compile(r'name="csrf_token" value="([^"]+)"')
_FORGED = "The form was not sent from a page of your session, and nothing was done."


@dataclass(frozen=True)
class Browser:
    """The cookie of a browser, and the token of its forms."""

    cookie: str
    csrf: str


@pytest.fixture(scope="module")
def path(tmp_path_factory, migrated_file):
    path = tmp_path_factory.mktemp("access") / "clarion.db"
    path.write_bytes(migrated_file.read_bytes())
    return path


@pytest.fixture(scope="module")
def service(services, sandbox_server, path):
    """One service for all tests here, whose database no refusal may change."""
    urls = {"SINCH_REGION_URL": sandbox_server.url, "DATABASE_URL": f"sqlite:///{path}"}
    service = services.take(settings(**urls | PATIENT, LOG_LEVEL="error"))
    yield service
    ctx = service.extensions["clarion"]
    ctx.sinch.close()
    ctx.db.close()
    services.give_back(service)


@pytest.fixture(scope="module")
def browsers(service):
    """A browser of each role that is signed in."""
    return {role: remember(visit(service, role)) for role in Role}


def remember(visitor, page="/why"):
    csrf = _CSRF.search(visitor.get(page).text)[1]
    return Browser(visitor.client.get_cookie("clarion").value, csrf)


def knock(service, route, browser=None, *, csrf=None, values=None, **headers):
    """Ask for a page or send a form, with a cookie that stays what it is."""
    if browser:
        headers["Cookie"] = f"clarion={browser.cookie}"
    data = {} if route.method == "GET" or csrf is None else {"csrf_token": csrf}
    client = service.test_client(use_cookies=False)
    return client.open(route.address(values), method=route.method, headers=headers, data=data)


def dump(path):
    """Return all that a database has, except when sessions were seen."""
    with closing(sqlite3.connect(path)) as db:
        return [line for line in db.iterdump() if '"user_sessions"' not in line]


@pytest.fixture
def unchanged(browsers, path):
    before = dump(path)
    yield
    assert dump(path) == before


def guarded(service, method=None):
    routes = [route for route in list_routes(service) if route.role]
    return [route for route in routes if method in (None, route.method)]


def test_the_pages_that_need_no_user_are_few(service):
    assert {str(route) for route in list_routes(service) if route.role is None} == OPEN
    assert len(guarded(service)) > 10


def test_without_a_session_every_page_leads_to_sign_in(service, unchanged):
    wrong = []
    anonymous = remember(Visitor(service), "/login")
    for route in guarded(service):
        answer = knock(service, route, anonymous, csrf=anonymous.csrf)
        wanted = route.address() if route.method == "GET" else "/overview"
        if (answer.status_code, answer.location) != (303, f"/login?next={wanted}"):
            wrong.append((str(route), answer.status_code, answer.location))

    assert wrong == []


def test_an_ended_session_leads_to_sign_in_which_says_so(service, browsers):
    ctx = service.extensions["clarion"]
    visitor = visit_again(service)
    ended = remember(visitor)
    (user,) = (user for user in list_users(ctx.db) if user.name == "an ended one")
    end_all_sessions(ctx.db, user.id)

    wrong = []
    for route in guarded(service):
        answer = knock(service, route, ended, csrf=ended.csrf)
        wanted = route.address() if route.method == "GET" else "/overview"
        if (answer.status_code, answer.location) != (303, f"/login?next={wanted}&ended=1"):
            wrong.append((str(route), answer.status_code, answer.location))

    assert wrong == []


def visit_again(service):
    visitor = Visitor(service)
    assert visitor.sign_in(make_user(service, Role.ADMIN, "an ended one")).status_code == 303
    return visitor


def test_a_region_that_polls_without_a_session_has_its_page_loaded_anew(service, unchanged):
    for route in guarded(service, "GET"):
        answer = knock(service, route, **{"HX-Request": "true"})

        assert (answer.status_code, answer.headers["HX-Refresh"], answer.data) == (401, "true", b"")


@pytest.mark.parametrize("role", list(Role))
def test_a_role_below_the_needed_one_is_told_which_is_needed(service, browsers, unchanged, role):
    browser, wrong, tried = browsers[role], [], 0
    for route in guarded(service):
        if role.includes(route.role):
            continue
        tried += 1
        answer = knock(service, route, browser, csrf=browser.csrf)
        said = f"Your role does not allow this: it needs the role {route.role.value}."
        if answer.status_code != 403 or said not in read_text(answer):
            wrong.append((str(route), answer.status_code))

    assert wrong == []
    assert tried > 0 or role in (Role.OPERATOR, Role.ADMIN)


def test_the_needed_role_may_open_a_page(service, browsers, unchanged):
    """A page about a thing that does not exist says so."""
    wrong = []
    for route in guarded(service, "GET"):
        answer = knock(service, route, browsers[route.role])
        found = not route.rule.arguments
        if answer.status_code not in ((200, 204, 303) if found else (200, 204, 303, 400, 404)):
            wrong.append((str(route), answer.status_code))

    assert wrong == []


def test_the_needed_role_may_send_a_form_and_an_empty_one_is_no_fault(make_service, sandbox):
    own = make_service(LOG_LEVEL="error")
    make_user(own, Role.VIEWER, "the first, whom forms about users may remove")
    roles = {role: remember(visit(own, role)) for role in Role}
    # A form that ends the session comes last.
    routes = sorted(guarded(own, "POST"), key=lambda route: "logout" in str(route))

    wrong = []
    for route in routes:
        browser = roles[route.role]
        answer = knock(own, route, browser, csrf=browser.csrf)
        if answer.status_code not in (200, 303, 400, 401, 404, 409):
            wrong.append((str(route), answer.status_code))
        if answer.status_code == 303 and answer.location.startswith("/login?"):
            wrong.append((str(route), answer.location))

    assert wrong == []


@pytest.mark.parametrize(
    "attack", ["no token", "token of another session", "cross-site", "same-site"]
)
def test_a_form_that_is_not_sent_from_an_own_page_does_nothing(
    service, browsers, unchanged, attack
):
    browser, other = browsers[Role.ADMIN], browsers[Role.OPERATOR]
    csrf = {"no token": None, "token of another session": other.csrf}.get(attack, browser.csrf)
    headers = {"Sec-Fetch-Site": attack} if attack.endswith("site") else {}
    routes = [route for route in list_routes(service) if route.method != "GET"]

    wrong = []
    for route in routes:
        answer = knock(service, route, browser, csrf=csrf, **headers)
        if answer.status_code != 400 or _FORGED not in read_text(answer):
            wrong.append((str(route), answer.status_code))

    assert wrong == []
    assert len(routes) > 5


def test_a_form_that_is_cut_does_nothing(service, browsers, unchanged):
    browser, wrong = browsers[Role.ADMIN], []
    # As gunicorn passes on a body that ends before its Content-Length.
    cut = {"wsgi.input_terminated": True, "CONTENT_LENGTH": "2000"}
    for route in (route for route in list_routes(service) if route.method != "GET"):
        answer = service.test_client(use_cookies=False).open(
            route.address(),
            method=route.method,
            headers={"Cookie": f"clarion={browser.cookie}"},
            data={"csrf_token": browser.csrf, "phone": "+4670123"},
            environ_overrides=cut,
        )
        if answer.status_code != 400 or "ended before its Content-Length" not in answer.text:
            wrong.append((str(route), answer.status_code))

    assert wrong == []


class Skeleton(HTMLParser):
    """The elements of a page with the names of their attributes, and its texts."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, *sorted(name for name, _ in attributes)))

    def handle_data(self, data):
        self.texts.append(data)

    def is_like(self, other):
        """Return True if both have the same elements and attributes, notes left out."""
        ours, theirs = (
            Counter(name for name, *_ in page.elements if name != "p") for page in (self, other)
        )
        known = {name for _, *names in other.elements for name in names} | {"aria-current"}
        return ours == theirs and {name for _, *names in self.elements for name in names} <= known

    @property
    def text(self):
        return " ".join("".join(self.texts).split())


@pytest.mark.slow
def test_what_people_write_is_text_on_every_page_and_nothing_else(service, sandbox, browsers):
    """Each page has the same elements, whatever is written in it."""
    strings = ["harmless", *make_hostile(LOOKS - 1)]
    values = make_samples(*reach(service), strings, send_at=in_hours(1))
    pages = [route for route in list_pages(service) if route.role]

    def ask(route, values):
        answer = knock(service, route, browsers[Role.ADMIN], values=values)
        assert answer.status_code in (200, 204), (str(route), answer.status_code)
        return answer

    def look(route, values):
        return Skeleton(ask(route, values).text)

    ours = [
        route
        for route in pages
        if values[0].keys() & route.rule.arguments and ask(route, values[0]).mimetype == "text/html"
    ]
    expected = {str(route): look(route, values[0]) for route in ours}
    wrong = []
    for number in range(LOOKS):
        route, which = ours[number % len(ours)], number % len(strings)
        string, page = strings[which], look(route, values[which])
        if not page.is_like(expected[str(route)]) or not is_shown(string, page, route):
            wrong.append((str(route), string))
    assert wrong == []
    for route in pages:
        if not route.rule.arguments:
            elements = look(route, {}).elements
            names = Counter(name for name, *_ in elements)
            assert _FOREIGN.intersection(names) == set(), route
            assert names["script"] <= 2, route
            assert names["h1"] <= 1, route
            assert [name for each in elements for name in each if name.startswith("on")] == []


def is_shown(string, page, route):
    """Return True unless a broadcast's page lacks what was written."""
    return str(route) != "GET /broadcasts/<broadcast_id>" or " ".join(string.split()) in page.text
