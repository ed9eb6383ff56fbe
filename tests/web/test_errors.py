"""Errors are pages for browsers, and JSON for the API and for those who ask for JSON."""

import pytest
from sqlalchemy.exc import OperationalError

from app.accounts.roles import Role
from app.db.engine import QueryTooSlow
from app.rate_limit import TooManyRequests
from app.web.guard import open_page
from tests.web.visitor import read_text, visit

HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
JSON = "application/json"
# An address that has no page, and one that takes no such method.
WRONG = [("GET", "/nothing", 404), ("GET", "/people/nothing/at/all", 404), ("POST", "/inbox", 405)]
WRONG_CALLS = [
    ("GET", "/api/nothing", 404),
    ("GET", "/api/broadcast", 405),
    ("GET", "/webhooks/x", 404),
]


@pytest.fixture(scope="module")
def browse(shared_service):
    return shared_service.test_client().open


@pytest.mark.parametrize(("method", "path", "status"), WRONG)
def test_a_browser_gets_a_page(browse, method, path, status):
    answer = browse(path, method=method, headers={"Accept": HTML})

    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    sentence = {404: "There is no such page.", 405: "The page does not take this."}[status]
    assert f"<h1>{sentence}</h1>" in answer.text
    assert f"<title>Error: {sentence}" in answer.text
    assert 'href="/login"' in answer.text
    assert "Overview" not in answer.text
    assert "form-action 'self'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(("method", "path", "status"), WRONG)
@pytest.mark.parametrize("accept", [JSON, "*/*", "text/css,*/*;q=0.1", f"{JSON}, text/html;q=0.5"])
def test_those_who_ask_for_no_page_get_json(browse, method, path, status, accept):
    answer = browse(path, method=method, headers={"Accept": accept})

    assert answer.status_code == status
    assert answer.get_json() == {
        "error": {404: "Route not found", 405: "Method not allowed"}[status],
        "request_id": answer.headers["X-Request-ID"],
    }


@pytest.mark.parametrize(("method", "path", "status"), WRONG_CALLS)
def test_the_api_answers_in_the_same_bytes_whoever_asks(browse, method, path, status):
    answers = [
        browse(path, method=method, headers={"Accept": accept, "X-Request-ID": "the-same"})
        for accept in (HTML, JSON, "*/*")
    ]

    assert {answer.status_code for answer in answers} == {status}
    assert len({answer.data for answer in answers}) == 1
    assert {answer.mimetype for answer in answers} == {JSON}


def test_only_those_who_have_signed_in_send_a_large_form(browse):
    sent = browse("/login", method="POST", data={"name": "a" * 40_000}, headers={"Accept": HTML})

    assert sent.status_code == 413


def test_a_page_says_which_methods_it_takes(browse):
    answer = browse("/inbox", method="POST", headers={"Accept": HTML})

    assert "GET" in answer.headers["Allow"]


def test_a_user_finds_the_way_on(service, sandbox):
    answer = visit(service, Role.VIEWER).get("/nothing", Accept=HTML)

    assert answer.status_code == 404
    assert 'aria-label="Places"' in answer.text
    assert "Go to the overview" in read_text(answer)


def test_a_page_that_is_refused_is_json_for_those_who_ask_for_it(service, sandbox):
    viewer = visit(service, Role.VIEWER)

    assert viewer.get("/users", Accept=JSON).get_json()["error"].startswith("Your role does not")
    assert (
        viewer.get("/inbox?show=nothing", Accept=JSON)
        .get_json()["error"]
        .startswith("The address has a filter that does not exist: show")
    )
    assert viewer.get("/inbox/999", Accept=JSON).status_code == 404
    assert viewer.get("/inbox/999").mimetype == "text/html"


def _fail(error):
    def view():
        raise error

    return open_page(view)


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (RuntimeError("secret detail +46701234567"), 500, "because of a fault of ours."),
        (OperationalError("SELECT secret", {}, Exception()), 503, "The database cannot be used."),
        (QueryTooSlow("secret"), 503, "Looking these people up took too long"),
        (TooManyRequests("", retry_after_s=7), 429, "Wait 7 seconds, and load the page again."),
    ],
)
def test_a_fault_is_a_page_that_tells_nothing(make_service, sandbox, error, status, sentence):
    service = make_service(LOG_LEVEL="critical")
    service.add_url_rule("/broken", view_func=_fail(error))

    page = service.test_client().get("/broken", headers={"Accept": HTML})
    told = service.test_client().get("/broken", headers={"Accept": JSON})

    assert (page.status_code, told.status_code) == (status, status)
    assert sentence in read_text(page)
    assert "secret" not in page.text + told.text
    assert told.get_json()["request_id"] == told.headers["X-Request-ID"]


@pytest.mark.parametrize("path", ["/overview", "/nothing"])
def test_without_its_database_a_page_says_so(make_service, sandbox, tmp_path, path):
    cookie = visit(make_service(), Role.VIEWER).client.get_cookie("clarion").value
    lost = make_service(DATABASE_URL=f"sqlite:///{tmp_path}/no/folder.db", LOG_LEVEL="critical")

    answer = lost.test_client(use_cookies=False).get(
        path, headers={"Accept": HTML, "Cookie": f"clarion={cookie}"}
    )

    wanted = {
        "/overview": (503, "The database cannot be used. Nothing is lost; nothing is sent."),
        "/nothing": (404, "There is no such page."),
    }[path]
    assert (answer.status_code, wanted[1] in read_text(answer)) == (wanted[0], True)
    assert "Places" not in answer.text
