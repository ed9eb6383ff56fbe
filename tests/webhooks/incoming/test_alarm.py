import json

import pytest

from app.logs import configure_logging
from app.webhooks.incoming.alarm import ThrottledLog


@pytest.fixture
def lines(capsys):
    configure_logging("INFO")

    def read():
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    return read


def test_it_is_told_at_once_and_then_once_a_minute_how_often(lines):
    now = [1000.0]
    alarm = ThrottledLog("it burns", clock=lambda: now[0])
    told = []

    for at in (0, 1, 59.9, 60, 61, 119, 125):
        now[0] = 1000.0 + at
        alarm.log(address=f"at {at}")
        told += [(line["times"], line["address"]) for line in lines()]

    assert told == [(1, "at 0"), (3, "at 60"), (3, "at 125")]


def test_it_is_an_error(lines):
    ThrottledLog("it burns").log(reason="a match")

    (line,) = lines()
    assert (line["level"], line["message"]) == ("error", "it burns")
    assert (line["reason"], line["times"]) == ("a match", 1)
