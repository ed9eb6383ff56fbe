"""POST /webhooks/sinch: what is let in, what is answered, and what then is kept."""

import base64
import io
import json

import pytest

from app.logs import configure_logging
from tests.reporting import inbound, report
from tests.signing import HEADER, sign
from tests.webhooks.incoming.conftest import PATH, SECRET
from tests.wire import RawServer, send_raw

ANN = "+46701234567"
REPORT = report(ANN, "Delivered", reference="cl-1")
PASSWORD = "sinch:a password that Sinch shares with the tests"


@pytest.fixture
def lines(capsys):
    """What was logged since, one object a line."""

    def read():
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    return read


def basic(credentials, *, scheme="Basic"):
    """The header of HTTP Basic."""
    token = base64.b64encode(credentials.encode()).decode()
    return {"Authorization": f"{scheme} {token}"}


def chunked(callbacks, raw, **headers):
    """The answer to a callback whose length is not told beforehand."""
    return callbacks.service.test_client().post(
        PATH,
        input_stream=io.BytesIO(raw),
        headers=headers | {"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )


def test_a_signed_callback_is_kept_as_its_bytes_came(either_database, make_callbacks):
    callbacks = make_callbacks(DATABASE_URL=either_database)
    spaced = REPORT.replace(b":", b" :  ")

    answers = [callbacks.post(raw) for raw in (spaced, inbound(ANN, "hé ✓"), spaced)]

    assert [(answer.status_code, answer.data) for answer in answers] == [(200, b"")] * 3
    assert callbacks.stored() == [spaced, inbound(ANN, "hé ✓"), spaced]


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff\0", b'{"type": "of another year"}', b"[" * 100_000, b"x" * 1_000_000],
    ids=["nothing", "half", "binary", "unknown type", "nested", "as large as may be"],
)
def test_whatever_sinch_has_signed_is_kept(either_database, make_callbacks, raw):
    callbacks = make_callbacks(DATABASE_URL=either_database)

    assert callbacks.post(raw).status_code == 200
    assert callbacks.stored() == [raw]


def test_an_old_signature_counts_since_a_late_stop_must(callbacks):
    headers = sign(REPORT, secret=SECRET, timestamp="1")

    assert callbacks.post_unsigned(REPORT, **headers).status_code == 200


@pytest.mark.parametrize("algorithm", ["HmacSHA384", "HmacSHA512"])
def test_the_other_algorithms_are_known(callbacks, algorithm):
    headers = sign(REPORT, secret=SECRET, algorithm=algorithm)

    assert callbacks.post_unsigned(REPORT, **headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        sign(REPORT, secret="guessed"),
        sign(REPORT + b" ", secret=SECRET),
        {f"{HEADER}": "x" * 5000, f"{HEADER}-nonce": "n", f"{HEADER}-timestamp": "1"},
        {f"{HEADER}": "é", f"{HEADER}-nonce": "é", f"{HEADER}-timestamp": "é"},
        basic(PASSWORD),
        {"X-API-Key": "test-key-8c1f5b7e2a9d4c63b0e7f1a2"},
    ],
    ids=["none", "another secret", "another body", "long", "not ASCII", "a password", "an API key"],
)
def test_what_is_not_sinchs_is_refused_and_nothing_is_kept(callbacks, headers):
    answer = callbacks.post_unsigned(REPORT, **headers)

    assert answer.status_code == 401
    assert answer.get_json()["error"] == "No valid signature came with this callback"
    assert answer.get_json()["request_id"] == answer.headers["X-Request-ID"]
    assert "WWW-Authenticate" not in answer.headers
    assert callbacks.stored() == []


def test_forged_callbacks_call_for_somebody_once_with_their_address(make_callbacks, lines):
    callbacks = make_callbacks(TRUSTED_PROXIES="1")
    configure_logging("INFO")

    for _ in range(3):
        callbacks.post(REPORT, secret="guessed", **{"X-Forwarded-For": "203.0.113.9"})

    alarms = [line for line in lines() if line["level"] == "error"]
    assert [(a["message"], a["times"], a["address"]) for a in alarms] == [
        ("a callback without a valid signature or password was rejected", 1, "203.0.113.9")
    ]


def test_two_secrets_are_taken_while_one_is_changed_for_the_other(make_callbacks):
    callbacks = make_callbacks(SINCH_WEBHOOK_SECRET="new", SINCH_WEBHOOK_SECRET_OLD="old")

    secrets = ("new", "old", "older")
    codes = [callbacks.post(REPORT, secret=secret).status_code for secret in secrets]

    assert codes == [200, 200, 401]


def test_a_password_may_stand_for_a_signature(make_callbacks):
    callbacks = make_callbacks(SINCH_WEBHOOK_SECRET="", SINCH_WEBHOOK_BASIC=PASSWORD)

    answers = [
        callbacks.post_unsigned(REPORT, **headers)
        for headers in (
            basic(PASSWORD),
            basic(PASSWORD, scheme="basic"),
            basic(PASSWORD + "x"),
            basic("sinch:"),
            basic(PASSWORD, scheme="Bearer"),
            {"Authorization": PASSWORD},
            {"Authorization": "Basic é"},
            sign(REPORT, secret=""),
            {},
        )
    ]

    assert [answer.status_code for answer in answers] == [200] * 2 + [401] * 7
    assert answers[-1].headers["WWW-Authenticate"] == 'Basic realm="clarion"'
    assert callbacks.stored() == [REPORT] * 2


def test_where_both_are_set_either_will_do(make_callbacks):
    callbacks = make_callbacks(SINCH_WEBHOOK_BASIC=PASSWORD)

    assert callbacks.post(REPORT).status_code == 200
    assert callbacks.post_unsigned(REPORT, **basic(PASSWORD)).status_code == 200
    assert callbacks.post_unsigned(REPORT).status_code == 401


def test_without_a_secret_sinch_is_asked_to_come_again_and_somebody_is_called(
    make_callbacks, lines
):
    callbacks = make_callbacks(SINCH_WEBHOOK_SECRET="")
    configure_logging("INFO")

    answers = [callbacks.post(REPORT, secret=""), callbacks.post_unsigned(REPORT)]

    assert [answer.status_code for answer in answers] == [503, 503]
    assert answers[0].headers["Retry-After"] == "5"
    assert callbacks.stored() == []
    (alarm,) = [line for line in lines() if line["level"] == "error"]
    assert "SINCH_WEBHOOK_SECRET" in alarm["message"]


@pytest.mark.parametrize("place", ["sqlite:////nowhere/at/all.db", "postgresql://127.0.0.1:9/x"])
def test_while_the_database_is_away_sinch_is_asked_to_come_again(make_callbacks, place, lines):
    callbacks = make_callbacks(DATABASE_URL=place)
    configure_logging("INFO")

    answer = callbacks.post(REPORT)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    alarms = [line for line in lines() if line["level"] == "error"]
    assert [(a["message"], a["reason"]) for a in alarms] == [
        ("a callback could not be stored", "OperationalError")
    ]


@pytest.mark.slow
def test_a_database_that_is_away_is_tried_once_for_each_callback(make_callbacks):
    with RawServer(send_raw(b"")).running() as server:
        place = server.url.replace("http:", "postgresql:")
        callbacks = make_callbacks(DATABASE_URL=f"{place}/x?sslmode=disable&gssencmode=disable")

        assert callbacks.post(REPORT).status_code == 503
        assert server.connections == 1


def test_a_database_that_is_not_ours_keeps_nothing(make_callbacks, tmp_path):
    callbacks = make_callbacks(DATABASE_URL=f"sqlite:///{tmp_path / 'empty.db'}")

    assert callbacks.post(REPORT).status_code == 503


def test_a_body_of_more_than_a_megabyte_is_refused_and_somebody_is_called(callbacks, lines):
    configure_logging("INFO")
    raw = b"x" * 1_000_001

    answers = [callbacks.post(raw), chunked(callbacks, raw, **sign(raw, secret=SECRET))]

    assert [answer.status_code for answer in answers] == [413, 413]
    assert answers[0].get_json()["error"] == "Request body too large"
    assert callbacks.stored() == []
    (alarm,) = [line for line in lines() if line["level"] == "error"]
    assert alarm["message"] == "a callback that was too large was rejected"


def test_a_callback_may_come_in_chunks(callbacks):
    answers = [
        chunked(callbacks, REPORT, **sign(REPORT, secret=secret)) for secret in (SECRET, "guessed")
    ]

    assert [answer.status_code for answer in answers] == [200, 401]
    assert callbacks.stored() == [REPORT]


@pytest.mark.parametrize("length", ["9999", "-1", "many", "²"])
def test_a_body_of_another_length_than_it_says_is_a_bad_request(callbacks, length):
    answer = callbacks.service.test_client().post(
        PATH,
        data=REPORT,
        headers=sign(REPORT, secret=SECRET),
        environ_overrides={"CONTENT_LENGTH": length},
    )

    assert 400 <= answer.status_code < 500
    assert callbacks.stored() == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_only_posts_are_callbacks(callbacks, method):
    answer = callbacks.service.test_client().open(
        PATH, method=method, data=REPORT, headers=sign(REPORT, secret=SECRET)
    )

    assert (answer.status_code, "POST" in answer.headers["Allow"]) == (405, True)
    assert callbacks.stored() == []


@pytest.mark.parametrize("path", [f"{PATH}/", "/webhooks", "/webhooks/other", f"/{PATH}"])
def test_other_places_beside_it_are_nowhere(callbacks, path):
    answer = callbacks.service.test_client().post(path, data=REPORT)

    assert answer.status_code == 404


def test_sinch_is_no_client_and_no_limit_counts_its_calls(make_callbacks):
    callbacks = make_callbacks(RATE_LIMIT="1 per hour")

    assert [callbacks.post(REPORT).status_code for _ in range(5)] == [200] * 5
    assert [chunked(callbacks, b"").status_code for _ in range(5)] == [401] * 5


def test_a_kept_callback_makes_no_line_and_a_refused_one_quotes_nothing(callbacks, lines):
    configure_logging("INFO")

    callbacks.post(REPORT)
    assert lines() == []

    callbacks.post(REPORT, secret="guessed")
    told = json.dumps(lines())
    assert "request answered" in told
    assert ANN[3:] not in told
    assert sign(REPORT, secret="guessed")[HEADER] not in told


def test_who_books_events_is_nudged_once_they_can_be_seen(callbacks):
    seen = []
    callbacks.service.extensions["wake_report_worker"] = lambda: seen.append(callbacks.stored())

    callbacks.post(REPORT)
    callbacks.post(REPORT, secret="guessed")

    assert seen == [[REPORT]]
