"""The start of a new broadcast: a day and a time with their zone, and when it is sent there."""

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.accounts.roles import Role
from tests.web.new.drafting import begin, fill_in, read_form, send
from tests.web.visitor import read_text, visit

ANN = "+46701234567"
_STOCKHOLM = ZoneInfo("Europe/Stockholm")


@pytest.fixture
def service(make_service):
    return make_service(DEFAULT_TIME_ZONE="Europe/Stockholm")


@pytest.fixture
def sender(service, sandbox):
    return visit(service, Role.SENDER)


def in_days(days, *, hour=10):
    local = datetime.now(_STOCKHOLM) + timedelta(days=days)
    return local.replace(hour=hour, minute=30)


def when(local, **more):
    later = {"start": "later", "day": f"{local:%Y-%m-%d}", "clock": f"{local:%H:%M}"}
    return {"category": "transactional"} | later | more


def test_a_start_is_entered_in_a_zone_repeated_in_words_and_kept_by_the_broadcast(
    service, sender, sandbox
):
    draft, local = fill_in(sender, ANN), in_days(2)

    send(sender, f"{draft}/when", when(local, end="4"))

    shown = read_text(sender.get(f"{draft}/when"))
    assert f"{local:%A %-d %B %Y}, 10:30 in Europe/Stockholm, in " in shown
    assert f"Send 1 text on {local:%a %-d %b} at 10:30" in read_text(sender.get(f"{draft}/confirm"))
    page = send(sender, f"{draft}/confirm", read_form(sender, draft)).headers["Location"]
    assert re.search(rf"Starts {local:%a %-d %b}(?: 20\d\d)?, 10:30", read_text(sender.get(page)))
    assert sandbox.recipients() == []


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"start": "later"}, "Choose the day and the time"),
        (
            {"start": "later", "day": "2020-01-01", "clock": "10:00"},
            "Not in the future: give a later time.",
        ),
        ({"start": "later", "day": "tomorrow", "clock": "10:00"}, "Not a day and a time."),
        ({"start": "later", "day": "2027-01-01", "clock": "10:00Z"}, "Not a day and a time."),
        ({"start": "later", "day": "2028-03-26", "clock": "02:30"}, "that day has no 02:30."),
        ({"start": "later", "day": "2126-01-01", "clock": "10:00"}, "More than 366 days ahead"),
    ],
)
def test_a_start_that_cannot_be_is_refused_at_its_field(sender, fields, sentence):
    draft = begin(sender)

    answer = send(sender, f"{draft}/when", {"category": "transactional"} | fields)

    assert answer.status_code == 400
    assert read_text(answer).count(sentence) == 2
