"""Caps as a client meets them over HTTP, and as an operator sets them."""

import pytest

from app.sms.caps.caps import CapName, set_cap
from app.sms.models.cap import ALL, CapPeriod, CapUnit
from tests.callers import Caller
from tests.factories import many_numbers
from tests.shifting import begin_hour

NUMBERS = many_numbers(6)


@pytest.fixture
def run(service):
    def run(*arguments):
        return service.test_cli_runner().invoke(args=["caps", *arguments])

    return run


def _cap(service, amount, period=CapPeriod.DAY, unit=CapUnit.PARTS, *, client=ALL):
    begin_hour(service)
    ctx = service.extensions["clarion"]
    set_cap(ctx, CapName(client, period, unit), amount, actor="ops")


def test_an_answer_says_what_a_cap_leaves(service, sandbox):
    _cap(service, 5, client="tests")
    caller = Caller(service)

    fits = caller.send(*NUMBERS[:2]).get_json()
    waits = caller.send(*NUMBERS[2:], allow_duplicate=True).get_json()

    assert fits["message"] == "SMS batch submitted successfully to Sinch."
    (cap,) = fits["caps"]
    assert cap["resets_at"].endswith("T00:00:00+00:00")
    del cap["resets_at"]
    facts = {"period": "day", "unit": "parts", "amount": 5, "left": 3}
    assert cap == {"client": "tests", "key": None} | facts
    assert waits["message"].startswith("Broadcast accepted; a cap on sending is reached. The rest")
    assert waits["caps"][0]["left"] == 0
    assert waits["exclusions"][0]["sentence"].startswith("1 recipient deferred until ")
    assert waits["exclusions"][0]["sentence"].endswith(": a cap on sending is reached.")
    assert sandbox.recipients() == NUMBERS[:5]


def test_a_key_that_repeats_a_request_gets_the_figures_of_the_first_answer(service, sandbox):
    _cap(service, 5)
    caller = Caller(service)

    first = caller.send(*NUMBERS[:2], idempotency_key="order-1")
    again = caller.send(*NUMBERS[:2], idempotency_key="order-1")

    assert first.get_json() == again.get_json()
    assert sandbox.recipients() == NUMBERS[:2]


def test_a_broadcast_of_too_many_recipients_is_refused(service, sandbox):
    _cap(service, 4, CapPeriod.BROADCAST, CapUnit.RECIPIENTS)

    answer = Caller(service).send(*NUMBERS)

    assert answer.status_code == 400
    (reason,) = answer.get_json()["fields"]["recipients"]
    assert reason.startswith("6 are more than the 4 that a broadcast may have: send several, or")
    assert sandbox.posts() == 0
    assert Caller(service).send(*NUMBERS[:4]).status_code == 202


def test_without_caps_an_answer_says_nothing_of_them(service, sandbox):
    assert "caps" not in Caller(service).send(*NUMBERS).get_json()


def test_an_operator_sets_lists_and_removes_caps(service, run, sandbox):
    assert run("list").output.startswith("There are no caps: flask caps set all day parts 10000")
    assert run("set", "all", "day", "parts", "5000").output == "all: at most 5000 parts a day.\n"
    run("set", "shop", "broadcast", "recipients", "1000")
    Caller(service).send(*NUMBERS)

    lines = [line.split() for line in run("list").output.splitlines()]

    assert lines[0] == ["CLIENT", "PERIOD", "UNIT", "LIMIT", "LEFT", "ANEW", "AT"]
    assert lines[1][:5] == ["all", "day", "parts", "5,000", "4,994"]
    assert lines[2] == ["shop", "broadcast", "recipients", "1,000"]
    assert run("remove", "all", "day", "parts").output == (
        "all has no limit on parts a day any more.\n"
    )
    assert len(run("list").output.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["set", "all", "day", "recipients", "5"], "A cap is on recipients of a broadcast, or on"),
        (["set", "all", "broadcast", "parts", "5"], "A cap is on recipients of a broadcast, or on"),
        (["set", "all", "day", "parts", "-5"], "No such option"),
        (["set", "all", "day", "parts", "5.5"], "amount: It must be a whole number"),
        (["set", "all", "day", "cost", "5"], "No prices are stored: import them"),
        (["set", "all", "day", "cost", "5,5"], "amount: It is not a decimal such as 0.045"),
        (["set", "no blanks", "day", "parts", "5"], "The name must be 1 to 64 letters"),
        (["set", "key:7", "day", "parts", "5"], "There is no key of this number"),
        (["set", "key:0", "day", "parts", "5"], "or name a key by its number, such as key:7"),
        (["remove", "all", "day", "parts"], "There is no such cap: `flask caps list` shows all"),
    ],
)
def test_a_cap_that_cannot_be_is_refused_in_a_line(run, arguments, reason):
    ended = run(*arguments)

    assert ended.exit_code != 0
    assert reason in ended.output
    assert run("list").output.startswith("There are no caps")
