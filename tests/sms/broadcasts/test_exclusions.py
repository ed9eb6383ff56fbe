"""A broadcast says whom it excludes or defers, why, and until when."""

from dataclasses import replace
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from app.accounts.roles import Role
from app.config import SubscriberRules
from tests.callers import Caller
from tests.people import add_people, stop
from tests.shifting import shift_clock
from tests.web.visitor import read_text, visit

SWEDE, DANE, JAPANESE, STOPPED, STRANGER = (
    "+46701234567",
    "+4520123456",
    "+819012345678",
    "+46701111111",
    "+46702222222",
)


@pytest.fixture
def service(either_service):
    """A service at noon in UTC, with quiet hours in Denmark and Japan."""
    ctx = either_service.extensions["clarion"]
    hours = {"SE": (time(20), time(8)), "JP": (time(20), time(8)), "DK": (time(12), time(16))}
    rules = SubscriberRules(quiet_hours=hours)
    either_service.extensions["clarion"] = replace(ctx, subscriber_rules=rules)
    now = datetime.now(UTC)
    noon = now.replace(hour=12, minute=0, second=0, microsecond=0)
    shift_clock(either_service, (noon - now).total_seconds())
    add_people(ctx, [SWEDE, DANE, JAPANESE, STOPPED])
    stop(ctx, STOPPED)
    return either_service


def test_the_answer_and_the_broadcast_say_who_waits_until_when_in_words(service, sandbox):
    caller = Caller(service)

    answer = caller.send(SWEDE, DANE, JAPANESE, STOPPED, STRANGER, category="marketing").get_json()

    exclusions = {(group["reason"], group["recipients"]) for group in answer["exclusions"]}
    assert exclusions == {("quiet_hours", 1), ("opted_out", 1), ("no_consent", 1)}
    assert caller.show(answer["broadcast_id"])["exclusions"] == answer["exclusions"]
    assert sum(group["recipients"] for group in answer["exclusions"]) == 4
    sentences = [group["sentence"] for group in answer["exclusions"]]
    assert "1 recipient excluded: opted out." in sentences
    assert "1 recipient excluded: no consent to marketing." in sentences
    waiting = [group for group in answer["exclusions"] if group["until"]]
    now = service.extensions["clarion"].now()
    danish = now.astimezone(ZoneInfo("Europe/Copenhagen")).replace(hour=16).astimezone(UTC)
    # The Danish wait until 14:00 or 15:00 UTC, in summer and in winter.
    assert [datetime.fromisoformat(group["until"]).hour for group in waiting] == [danish.hour, 23]
    day = f"{datetime.fromisoformat(waiting[0]['until']):%Y-%m-%d}"
    assert f"1 recipient deferred until {day} 23:00 UTC: quiet hours." in sentences


def test_while_everybody_waits_no_text_counts_as_handed_on(service, sandbox):
    caller = Caller(service)

    answer = caller.send(DANE, JAPANESE, category="marketing").get_json()

    shown, broadcast = caller.show(answer["broadcast_id"]), answer["broadcast_id"]
    assert (shown["status"], shown["counts"]["pending"]) == ("sending", 2)
    assert shown["first_submitted_at"] is shown["progress"]["starts_at"] is None
    text = read_text(visit(service, Role.SENDER).get(f"/broadcasts/{broadcast}"))
    assert "0 of 2 people are handed to Sinch" in text
    assert "The last 2 at " in text
    assert "The first text was handed to Sinch." not in text


def test_with_all_allowed_the_answer_says_nothing_of_it(service, sandbox):
    caller = Caller(service)

    answer = caller.send(SWEDE, category="marketing").get_json()

    assert "exclusions" not in answer
    assert caller.show(answer["broadcast_id"])["exclusions"] == []


def test_who_waits_is_told_again_under_the_same_key(service, sandbox):
    caller = Caller(service)
    order = {"category": "marketing", "idempotency_key": "k"}

    first = caller.send(SWEDE, DANE, **order)
    again = caller.send(SWEDE, DANE, **order)

    assert (first.status_code, again.status_code) == (202, 202)
    assert again.get_json() == first.get_json()
