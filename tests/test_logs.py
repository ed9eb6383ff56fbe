import json
import logging
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger

from app.logs import Throttle, configure_logging, log_seldom, mask_numbers, request_id
from tests.commands import run_code
from tests.factories import AUTH, KEY, broadcast_to, settings


@pytest.fixture
def lines(capsys):
    """Return a function that reads the logged lines as objects."""
    configure_logging("DEBUG")

    def read():
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    yield read
    request_id.set(None)


def test_the_time_of_a_line_is_in_utc_whatever_the_zone_of_the_machine(lines, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        logger.info("batch accepted")
    finally:
        monkeypatch.undo()
        time.tzset()

    (line,) = lines()
    written = datetime.fromisoformat(line["time"])
    assert written.utcoffset() == timedelta()
    assert abs(datetime.now(UTC) - written) < timedelta(minutes=5)


def test_a_line_is_an_object_with_its_facts(lines):
    request_id.set("abc")

    logger.bind(batch_id="01JX", recipients=7).info("batch accepted")

    (line,) = lines()
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "message": "batch accepted",
        "batch_id": "01JX",
        "recipients": 7,
        "request_id": "abc",
    }


def test_braces_in_a_text_are_only_braces(lines):
    logging.getLogger("other").warning("odd %s", "{0} {name} {")

    assert lines()[0]["message"] == "odd {0} {name} {"


def test_the_standard_library_logs_through_us_with_numbers_masked(lines):
    logging.getLogger("other").error("failed for +46701234567")

    (line,) = lines()
    assert line["message"] == "failed for +46•••••••67"
    assert (line["level"], line["logger"]) == ("error", "other")


def test_debug_lines_of_chatty_libraries_are_left_out(lines):
    logging.getLogger("urllib3.connectionpool").debug("header: secret")

    assert lines() == []


def test_numbers_are_masked_in_facts_of_any_kind(lines):
    logger.bind(one="46701234567", many=["+46701234568"]).info("sent")

    (line,) = lines()
    assert "46701234567" not in json.dumps(line)
    assert "46701234568" not in json.dumps(line)


def test_an_exception_is_told_without_its_message_or_any_value(lines):
    secret = "the text for +46701234567"  # noqa: F841  # a local variable that must not show

    try:
        try:
            raise KeyError("secret text")
        except KeyError as e:
            raise ValueError("secret of +46701234568") from e
    except ValueError:
        logger.exception("uncaught exception")

    (line,) = lines()
    told = line["exception"]
    assert "builtins.ValueError" in told
    assert "builtins.KeyError" in told
    assert "test_logs.py" in told
    assert "secret" not in json.dumps(line)
    assert "4670123456" not in json.dumps(line)


def test_an_operating_system_error_tells_its_reason(lines):
    try:
        open("/nonexistent/46701234567")  # noqa: SIM115
    except OSError:
        logger.exception("uncaught exception")

    (line,) = lines()
    assert "No such file or directory" in line["exception"]
    assert "46701234567" not in json.dumps(line)


@given(st.from_regex(r"\+?[1-9][0-9]{6,14}", fullmatch=True), st.sampled_from(" \"'/=,:;()[]{}<>"))
def test_a_number_between_any_marks_is_masked(number, mark):
    assert number not in mask_numbers(f"a{mark}{number}{mark}b")


def test_each_request_is_one_line_that_names_the_route_not_the_path(client, lines):
    client.get("/docs/assets/46701234567.css")
    client.get("/nothing/46701234567?api_key=secret")

    answered = [line for line in lines() if line["message"] == "request answered"]
    assert [(line["route"], line["status"]) for line in answered] == [
        ("/docs/assets/<path:name>", 404),
        ("-", 404),
    ]
    assert "secret" not in json.dumps(answered)


def test_a_broadcast_is_two_lines_one_for_each_border(client, auth, lines):
    client.post("/api/broadcast", headers=auth, json=broadcast_to("+46701234567"))

    told = lines()
    assert [line["message"] for line in told] == ["sinch called", "request answered"]
    assert told[0]["request_id"] == told[1]["request_id"]
    assert (told[0]["call"], told[0]["status"], told[0]["recipients"]) == (
        "POST /batches",
        201,
        1,
    )
    assert (told[1]["client"], told[1]["status"]) == ("tests", 202)


def test_a_terminal_gets_readable_lines(tmp_path):
    script = (
        "import sys; sys.stderr.isatty = lambda: True\n"
        "from loguru import logger; from app.logs import configure_logging\n"
        "configure_logging('INFO'); logger.bind(batch_id='01JX').info('batch accepted')\n"
    )

    ended = run_code(script)

    assert ended.stderr.endswith("INFO     batch accepted  batch_id=01JX\n")


def test_the_level_is_obeyed(make_service, sandbox, capsys):
    make_service(LOG_LEVEL="error").test_client().get("/health")

    assert capsys.readouterr().err == ""
    assert settings()["LOG_LEVEL"] == "debug"


def test_neither_key_nor_token_nor_text_nor_number_is_logged_when_all_goes_wrong(
    make_service, sandbox, capsys
):
    client = make_service(SINCH_API_TOKEN="token-canary-5b1d").test_client()
    body = broadcast_to("+46701234567", message="text-canary-77")

    for headers in (AUTH, {"X-API-Key": "key-canary-31"}):
        client.post("/api/broadcast", headers=headers, json=body)
    client.post("/api/broadcast?text-canary-77=+46701234567", headers=AUTH, data=b'{"text-canary')

    told = capsys.readouterr().err
    assert told.count("request answered") == 3
    for canary in ("token-canary", "key-canary", "text-canary", KEY, "46701234567"):
        assert canary not in told


def test_a_made_up_method_does_not_get_into_the_log(client, lines):
    client.open("/nothing", method="CANARY46701234567")

    (line,) = lines()
    assert (line["method"], line["status"]) == ("-", 404)
    assert "CANARY" not in json.dumps(line)


def test_a_request_is_told_with_its_method_and_where_it_came_from(client, lines):
    client.get("/health", environ_base={"REMOTE_ADDR": "192.0.2.7"})

    (line,) = lines()
    assert (line["method"], line["route"], line["address"]) == ("GET", "/health", "192.0.2.7")


def test_what_an_exception_happened_in_is_told_unless_it_was_put_away(lines):
    for suppress in (False, True):
        try:
            try:
                raise KeyError("secret")
            except KeyError as e:
                error = ValueError("secret")
                error.__context__, error.__suppress_context__ = e, suppress
                raise error  # noqa: B904  # the context is set by hand
        except ValueError:
            logger.exception("uncaught exception")

    told = [line["exception"] for line in lines()]
    assert ["builtins.KeyError" in each for each in told] == [True, False]


def test_exceptions_that_led_to_each_other_are_told_once(lines):
    one, other = ValueError("a"), KeyError("b")
    one.__cause__, other.__cause__ = other, one

    logger.opt(exception=one).error("odd")

    assert lines()[0]["exception"].splitlines() == ["builtins.ValueError", "builtins.KeyError"]


def test_an_exception_of_the_standard_library_is_told_too(lines):
    try:
        raise RuntimeError("secret")
    except RuntimeError:
        logging.getLogger("other").exception("failed")

    (line,) = lines()
    assert "builtins.RuntimeError" in line["exception"]
    assert "secret" not in json.dumps(line)


def test_a_warning_is_a_line_like_any_other():
    script = (
        "import warnings; from app.logs import configure_logging\n"
        "configure_logging('INFO'); warnings.warn('odd +46701234567')\n"
    )

    ended = run_code(script)

    (line,) = [json.loads(each) for each in ended.stderr.splitlines()]
    assert (line["level"], line["logger"]) == ("warning", "py.warnings")
    assert "46701234567" not in ended.stderr


def test_a_throttled_sentence_is_due_at_once_and_then_once_a_minute():
    now = [1000.0]
    throttle = Throttle(clock=lambda: now[0])
    told = []

    for at in (0, 1, 59.9, 60, 61, 119, 125):
        now[0] = 1000.0 + at
        if times := throttle.count("it burns"):
            told.append((at, times))

    assert told == [(0, 1), (60, 3), (125, 3)]


def test_what_is_logged_seldom_is_an_error_with_its_facts(lines):
    for address in ("first", "second"):
        log_seldom("it burns", address=address)
        log_seldom("it smokes", level="WARNING")

    line, smoke = lines()
    assert (smoke["level"], smoke["message"]) == ("warning", "it smokes")
    assert (line["level"], line["message"]) == ("error", "it burns")
    assert (line["address"], line["times"]) == ("first", 1)
