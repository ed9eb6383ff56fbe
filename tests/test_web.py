"""The pages for a person with a browser, and hints for who calls a wrong route."""

import pytest

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def test_a_browser_at_the_start_is_led_to_sign_in_and_to_the_documentation(service):
    answer = service.test_client().get("/", headers=BROWSER, follow_redirects=True)

    assert (answer.status_code, answer.request.path) == (200, "/login")
    assert 'href="/docs"' in answer.text


@pytest.mark.parametrize("accept", [None, "*/*", "application/json"])
def test_a_program_at_the_start_gets_json(service, accept):
    answer = service.test_client().get("/", headers={"Accept": accept} if accept else {})

    assert answer.status_code == 200
    assert (answer.get_json()["docs"], answer.get_json()["send"]) == (
        "/docs",
        "POST /api/broadcast",
    )


def test_the_documentation_is_found_with_a_slash_too(service):
    answer = service.test_client().get("/docs/", follow_redirects=True)

    assert (answer.status_code, answer.request.path) == (200, "/docs")


@pytest.mark.parametrize(
    ("method", "path", "status", "hint"),
    [
        ("POST", "/api/broadcasts", 405, "Did you mean POST /api/broadcast?"),
        ("POST", "/api/brodcast", 404, "Did you mean POST /api/broadcast?"),
        ("POST", "/broadcast/api", 404, None),
        ("GET", "/api/subscriber", 404, "Did you mean GET /api/subscribers?"),
        ("GET", "/helth", 404, "Did you mean GET /health?"),
        ("GET", "/wp-login.php", 404, None),
        ("DELETE", "/health", 405, None),
    ],
)
def test_a_wrong_route_is_told_which_was_probably_meant(service, method, path, status, hint):
    answer = service.test_client().open(path, method=method)

    assert answer.status_code == status
    assert answer.get_json().get("hint") == hint


def test_the_401_says_where_the_key_belongs(service):
    answer = service.test_client().get(
        "/api/broadcasts", headers={"Authorization": "Bearer some-key"}
    )

    assert (answer.status_code, answer.get_json()["error"]) == (401, "API key required")
    assert "X-API-Key" in answer.get_json()["hint"]
