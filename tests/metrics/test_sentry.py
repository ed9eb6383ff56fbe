"""What reaches Sentry: the envelopes that a sink on loopback gets, and nothing of the caller."""

import time

import pytest

from tests.factories import AUTH, KEY, broadcast_to
from tests.kills.mortal import wait_until
from tests.metrics.sink import running_sink, spoil
from tests.processes import running

ANN = "+46701234567"
CANARIES = ("46701234567", "canary", KEY, "dsnkey")


@pytest.fixture(scope="module")
def reported(sandbox_server, tmp_path_factory):
    """The sink, after errors in a request with canaries in body and headers, and in a job."""
    folder = tmp_path_factory.mktemp("sentry")
    with running_sink() as sink:
        environ = {"SINCH_REGION_URL": sandbox_server.url, "SENTRY_DSN": sink.dsn}
        with running(folder / "output", SWEEP_EVERY_S="0.3", **environ) as service:
            spoil(folder / "clarion.db", f"canary {ANN}")
            answer = service.post(
                broadcast_to(ANN, message="canary text", reference="canary reference"),
                headers=AUTH
                | {"X-Request-ID": "canary-id", "User-Agent": "canary"}
                | {"Referer": f"http://canary.example/?canary={ANN}"},
            )
            wait_until(lambda: len(sink.events()) >= 2, within_s=90, why="both are reported")
            time.sleep(0.2)
        yield sink, answer, service.output.read_text()


def test_an_error_of_a_request_and_one_of_the_background_are_reported(reported):
    sink, answer, _ = reported

    assert answer.status_code == 500
    sentences = {event["logentry"]["message"] for event in sink.events()}
    assert "uncaught exception" in sentences
    assert len(sentences) >= 2


def test_an_event_has_the_type_of_the_error_and_the_places_in_the_code(reported):
    sink, _, _ = reported

    event = next(e for e in sink.events() if e["logentry"]["message"] == "uncaught exception")
    (value,) = event["exception"]["values"]
    assert value["type"] == "ValueError"
    last = value["stacktrace"]["frames"][-1]
    assert (last["filename"], last["function"]) == ("app/sms/lifecycle/gates.py", "read_gates")
    assert "restoring_since" in last["context_line"]
    assert event["environment"] == "test"


def test_no_envelope_has_anything_of_the_caller_or_of_a_value(reported):
    sink, _, output = reported

    sent = b"\n".join(sink.envelopes).decode()
    # The head of an envelope names the project's public key, as Sentry's protocol wants it.
    heads = sent.replace('"public_key":"dsnkey"', "")
    assert [canary for canary in CANARIES if canary in heads] == []
    assert [canary for canary in CANARIES if canary in output.replace("canary-id", "")] == []


def test_an_event_has_no_more_fields_than_these(reported):
    sink, _, _ = reported
    fields, of_value, of_frame = set(), set(), set()
    for event in sink.events():
        fields |= event.keys()
        for value in event["exception"]["values"]:
            of_value |= value.keys()
            for frame in value["stacktrace"]["frames"]:
                of_frame |= frame.keys()

    expected = {"event_id", "timestamp", "platform", "level", "environment", "release"}
    assert fields <= expected | {"server_name", "logentry", "exception"}
    assert of_value == {"type", "module", "stacktrace"}
    assert of_frame <= {
        *("filename", "function", "module", "lineno", "in_app"),
        *("pre_context", "context_line", "post_context"),
    }
