"""Every error leaves as JSON in one shape."""

import io
import json

import pytest
from flask import abort
from werkzeug.exceptions import ServiceUnavailable

from app.config import read_config
from app.factory import create_app
from tests.factories import broadcast_to, production


def _post(client, auth, body, content_type="application/json", **more):
    headers = {**auth, **more}
    return client.post("/api/broadcast", headers=headers, data=body, content_type=content_type)


@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        ("GET", "/api/nothing", 404, "Route not found"),
        ("POST", "/api/broadcast/", 404, "Route not found"),
        ("GET", "/api/broadcast", 405, "Method not allowed"),
        ("DELETE", "/health", 405, "Method not allowed"),
        ("GET", "/docs/assets/nothing.js", 404, "Route not found"),
        ("GET", "/docs/assets/../../../etc/passwd", 404, "Route not found"),
    ],
)
def test_a_wrong_url_or_method_is_told_in_json(client, method, path, status, sentence):
    answer = client.open(path, method=method)

    assert answer.status_code == status
    assert answer.get_json() == {
        "error": sentence,
        "request_id": answer.headers["X-Request-ID"],
    }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/broadcasts/a%00b", 404),
        ("GET", "/api/broadcasts/a%00b/messages", 404),
        ("POST", "/api/broadcasts/a%00b/cancel", 404),
        ("POST", "/api/batches/a%00b/resolve", 404),
        ("GET", "/api/broadcasts/%ed%a0%80", 404),
        ("GET", "/api/broadcasts?client=a%00b", 400),
        ("GET", "/api/broadcasts?reference=a%00b", 400),
        ("GET", "/api/broadcasts?cursor=a%00b", 400),
        ("GET", "/api/broadcasts?cursor=-1", 400),
        ("GET", "/api/broadcasts?cursor=9999999999999999999", 400),
        ("GET", "/api/broadcasts?limit=99999999999999999999", 400),
    ],
)
def test_what_a_database_cannot_be_asked_for_is_not_there(
    make_service, either_database, auth, method, path, status
):
    client = make_service(DATABASE_URL=either_database).test_client()

    answer = client.open(path, method=method, headers=auth, json={} if method == "POST" else None)

    assert answer.status_code == status
    assert answer.get_json()["error"]


def test_a_wrong_method_says_which_are_right(client):
    assert set(client.get("/api/broadcast").headers["Allow"].split(", ")) == {"OPTIONS", "POST"}


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"]
)
def test_a_body_of_another_type_is_415(client, auth, content_type):
    answer = _post(client, auth, json.dumps(broadcast_to("+46701234567")), content_type)

    assert answer.status_code == 415
    assert "application/json" in answer.get_json()["error"]


@pytest.mark.parametrize(
    "parameters",
    ["charset=latin-1", "charset=utf-16", 'Charset="ISO-8859-1"', "charset = latin1",
     "charset='latin1'", "charset=utf-8; charset=latin1", "charset=latin1; charset=utf-8",
     "charset*=utf-8''latin1", "charset*0=lat; charset*1=in1", "charset=utf-7", "charset=rot13",
     "charset=no-such", "charset=utf-8, application/json; charset=latin1", "charset=\u00e9"],
)  # fmt: skip
def test_a_body_in_another_charset_is_415_and_reaches_no_phone(client, auth, sandbox, parameters):
    body = json.dumps(broadcast_to("+46701234567", message="\u00c3\u00a9"), ensure_ascii=False)

    answer = _post(client, auth, body.encode(), f"application/json; {parameters}")

    assert answer.status_code == 415
    assert "declares the charset '" in answer.get_json()["error"]
    assert "utf-8" in answer.get_json()["error"]
    assert sandbox.posts() == 0


@pytest.mark.parametrize(
    "header", [{"Content-Encoding": "gzip"}, {"Transfer-Encoding": "gzip, chunked"}]
)
def test_a_compressed_body_is_415(client, auth, header):
    answer = _post(client, auth, b"\x1f\x8b", **header)

    assert answer.status_code == 415
    assert "uncompressed" in answer.get_json()["error"]


@pytest.mark.parametrize("charset", ["UTF-8", "utf8", '"utf-8"', " utf_8", "utf-8; q=1", ""])
def test_utf8_may_be_said(client, auth, sandbox, charset):
    body = json.dumps(broadcast_to("+46701234567"))

    assert _post(client, auth, body, f"application/json; charset={charset}").status_code == 202


def test_a_body_over_the_limit_is_413(make_service, sandbox, auth):
    client = make_service(MAX_BODY_BYTES="1000").test_client()

    answer = _post(client, auth, json.dumps(broadcast_to("+46701234567", message="x" * 1000)))

    assert answer.status_code == 413
    assert answer.get_json()["error"] == "Request body too large"


def test_an_unexpected_error_is_a_500_that_tells_nothing(make_service, sandbox):
    service = make_service()

    @service.get("/broken")
    def _broken() -> str:
        raise RuntimeError("secret detail +46701234567")

    answer = service.test_client().get("/broken")

    assert answer.status_code == 500
    assert answer.get_json() == {
        "error": "Internal server error",
        "request_id": answer.headers["X-Request-ID"],
    }


def test_any_other_http_error_has_the_shape_too(make_service, sandbox):
    service = make_service()
    service.add_url_rule("/gone", view_func=lambda: abort(410))

    answer = service.test_client().get("/gone")

    assert answer.status_code == 410
    assert answer.get_json()["error"] == "Gone"


def test_a_sentence_is_cut_when_it_is_long(client, auth):
    body = broadcast_to("+46701234567", **{f"unknown_field_{n}": 1 for n in range(200)})

    answer = client.post("/api/broadcast", headers=auth, json=body)

    assert answer.status_code == 400
    assert len(answer.get_json()["error"]) <= 501


@pytest.mark.parametrize("path", ["/health", "/nothing", "/docs", "/openapi.json"])
def test_every_answer_bears_the_security_headers(client, path):
    headers = client.get(path).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "Strict-Transport-Security" not in headers


def test_a_request_id_is_taken_over_when_it_is_harmless(client):
    given = client.get("/health", headers={"X-Request-ID": "order-17.a_b"})
    forged = client.get("/health", headers={"X-Request-ID": 'x" {injected} ' + "y" * 100})

    assert given.headers["X-Request-ID"] == "order-17.a_b"
    assert len(forged.headers["X-Request-ID"]) == 32


def test_in_production_browsers_are_told_to_stay_on_https():
    service = create_app(read_config(production()))

    headers = service.test_client().get("/health").headers

    assert headers["Strict-Transport-Security"].startswith("max-age=31536000")


def test_an_unexpected_error_is_told_in_the_log_by_its_type(make_service, sandbox, capsys):
    service = make_service()

    @service.get("/broken")
    def _broken() -> str:
        raise RuntimeError("secret detail")

    request_id = service.test_client().get("/broken").get_json()["request_id"]

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (error,) = [line for line in lines if line["level"] == "error"]
    assert (error["message"], error["request_id"]) == ("uncaught exception", request_id)
    assert "builtins.RuntimeError" in error["exception"]
    assert "secret" not in json.dumps(lines)


def test_a_redirect_stays_a_redirect(make_service, sandbox):
    service = make_service()
    service.add_url_rule("/folder/", view_func=lambda: "here")

    answer = service.test_client().get("/folder")

    assert answer.status_code == 308
    assert answer.headers["Location"].endswith("/folder/")


def test_an_http_error_keeps_its_wait(make_service, sandbox):
    service = make_service()

    @service.get("/later")
    def _later() -> str:
        raise ServiceUnavailable(retry_after=7)

    assert service.test_client().get("/later").headers["Retry-After"] == "7"


@pytest.mark.parametrize(("length", "status"), [(999, 400), (5000, 413)])
def test_a_body_without_a_length_is_held_to_the_limit_too(
    make_service, sandbox, auth, length, status
):
    client = make_service(MAX_BODY_BYTES="1000").test_client()

    answer = client.post(
        "/api/broadcast",
        headers=auth | {"Transfer-Encoding": "chunked"},
        content_type="application/json",
        input_stream=io.BytesIO(b"x" * length),
        environ_base={"wsgi.input_terminated": True},
    )

    assert answer.status_code == status


def test_the_sentence_names_the_reason_however_deep_it_lies(client, auth):
    body = broadcast_to("+46701234567", parameters={"name": {"+46701234567": 7}})

    told = client.post("/api/broadcast", headers=auth, json=body).get_json()

    assert told["error"] == "parameters: The value of +46701234567 is not text"


def test_a_sentence_begins_with_a_capital(client, auth):
    assert _post(client, auth, "[]").get_json()["error"].startswith("The body must be")


@pytest.mark.parametrize("path", ["/health", "/nothing", "/openapi.json"])
def test_an_answer_for_machines_is_kept_and_embedded_nowhere(client, path):
    headers = client.get(path).headers

    assert headers["Cache-Control"] == "no-store"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_a_page_keeps_the_headers_of_its_own(client):
    with client.get("/docs") as page, client.get("/docs/assets/swagger-ui.css") as asset:
        assert "script-src" in page.headers["Content-Security-Policy"]
        assert asset.headers["Cache-Control"].startswith("public")


def test_a_long_request_id_is_not_taken_over(client):
    for length, kept in ((64, True), (65, False)):
        given = "a" * length
        answer = client.get("/health", headers={"X-Request-ID": given})
        assert (answer.headers["X-Request-ID"] == given) is kept
