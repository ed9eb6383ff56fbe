"""Whoever was given a tag with a double opt-in is asked once, by day, and says yes."""

from dataclasses import replace
from datetime import time, timedelta

import pytest

from app.keywords.classify import KeywordIntent, classify_keyword
from app.sms.inbound.double_opt_in import request_confirmations
from app.sms.inbound.reply_texts import Reply, choose_reply
from app.subscribers.consent.ledger import read_events
from app.subscribers.models import Cause, ConsentKind
from app.subscribers.profiles.bulk import upsert_subscribers
from app.subscribers.tags import tags
from tests.people import suppress
from tests.reporting import inbound, tell

ANN, BO, CY = "+46701234567", "+46707654321", "+46701112233"
ALWAYS = {"SE": (time(0), time(0))}


def _with_rules(machine, **rules):
    ctx = machine.ctx
    return replace(
        machine, ctx=replace(ctx, subscriber_rules=replace(ctx.subscriber_rules, **rules))
    )


@pytest.fixture
def asking(either_machine):
    """A machine with a tag that asks, in a country without a night."""
    machine = _with_rules(either_machine, quiet_hours=ALWAYS)
    tags.create_tag(machine.ctx.subscriber_context, "news", double_opt_in=True, actor="tests")
    return machine


def _give(machine, *entries):
    upsert_subscribers(machine.ctx.subscriber_context, list(entries), actor="tests")


def _reached(machine, at_sinch):
    """Who was texted what, each text in the order of the numbers."""
    machine.submit_all()
    return [(number, each["body"]) for each in at_sinch() for number in sorted(each["to"])]


def test_who_waits_is_asked_once_in_their_language_and_says_yes(asking, at_sinch):
    people = asking.ctx.subscriber_context
    _give(
        asking,
        {"phone": ANN, "tags": ["news"], "language": "sv-SE"},
        {"phone": BO, "tags": ["news"]},
        {"phone": CY, "tags": ["plain"]},
    )

    assert request_confirmations(asking.ctx) == 2
    assert request_confirmations(asking.ctx) == 0

    texts = {
        ANN[1:]: choose_reply(Reply.QUESTION, "sv"),
        BO[1:]: choose_reply(Reply.QUESTION, "en"),
    }
    assert dict(_reached(asking, at_sinch)) == texts
    asking.clock.advance(60)
    at = asking.ctx.now().isoformat()
    tell(asking.ctx, inbound(ANN, "Yes!", name="01YES", to="12015550199", received_at=at))
    assert tags.view_tag(people, "news")["subscribers"]["active"] == 1
    with people.db.read() as tx:
        told = [(link["kind"], link["wording"], link["tag"]) for link in read_events(tx, ANN)]
    assert told == [
        (ConsentKind.ASKED, choose_reply(Reply.QUESTION, "sv"), "news"),
        (ConsentKind.CONFIRMED, "Yes!", "news"),
    ]


def test_one_text_asks_for_all_that_somebody_waits_for(asking, at_sinch):
    tags.create_tag(asking.ctx.subscriber_context, "offers", double_opt_in=True, actor="tests")
    _give(asking, {"phone": ANN, "tags": ["news", "offers"]})

    request_confirmations(asking.ctx)

    assert len(_reached(asking, at_sinch)) == 1
    # What is given later is asked about later.
    tags.create_tag(asking.ctx.subscriber_context, "events", double_opt_in=True, actor="tests")
    _give(asking, {"phone": ANN, "tags": ["events"]})
    assert request_confirmations(asking.ctx) == 1


def test_nobody_is_asked_who_is_suppressed_inactive_or_asleep(asking, at_sinch):
    people = asking.ctx.subscriber_context
    _give(
        asking,
        {"phone": ANN, "tags": ["news"]},
        {"phone": BO, "tags": ["news"], "active": False},
        {"phone": CY, "tags": ["news"]},
    )
    with people.db.write() as tx:
        suppress(tx, people, ANN, cause=Cause.STOP, actor="phone", at=people.now())
    here = people.now() + timedelta(hours=2)
    night = ((here - timedelta(hours=4)).time(), (here + timedelta(hours=4)).time())
    asleep = _with_rules(asking, quiet_hours={"SE": night})

    assert request_confirmations(asleep.ctx) == 0
    assert request_confirmations(asking.ctx) == 1

    assert [number for number, _ in _reached(asking, at_sinch)] == [CY[1:]]


def test_nobody_is_asked_from_a_name_that_takes_no_answer(asking):
    _give(asking, {"phone": ANN, "tags": ["news"]})

    assert request_confirmations(replace(asking.ctx, default_sender="Acme")) == 0
    assert request_confirmations(asking.ctx) == 1


def test_the_answer_that_every_question_asks_for_is_a_yes():
    assert classify_keyword("YES").intent is KeywordIntent.YES
