"""A STOP takes effect with the answer to its callback, before it is applied."""

import json
from dataclasses import replace

import pytest
from sqlalchemy import event

from app.sms.context import Context
from app.sms.dispatch.claim import Claim, claim_batch
from app.subscribers.consent.ledger import read_events
from app.subscribers.models import Cause, Suppression
from app.subscribers.suppressions.store import find_suppressed, read_suppressions
from app.webhooks.incoming.apply import apply_events
from app.webhooks.incoming.store import CallbackStore
from tests.background import context_of
from tests.factories import many_numbers
from tests.machine import Machine, Together
from tests.people import suppress
from tests.reporting import inbound, report
from tests.webhooks.incoming.conftest import read_events as read_raw

ANN, BOB = "+46701234567", "+46707654321"


@pytest.fixture
def service(make_service, either_database, sandbox):
    return make_service(DATABASE_URL=either_database)


@pytest.fixture
def machine(service):
    return Machine.over(context_of(service))


@pytest.fixture
def ctx(machine):
    return machine.ctx


@pytest.fixture
def store(ctx):
    """A function that hands callbacks over as the webhook does."""
    intake = CallbackStore(ctx, on_stored=lambda: None)

    def hand_over(*raws):
        for raw in raws:
            intake.store(raw)

    return hand_over


def is_suppressed(ctx: Context, phone: str) -> bool:
    with ctx.db.read() as tx:
        return bool(find_suppressed(tx, ctx.subscriber_context, [phone], marketing=False))


def text_now(ctx, phone, body, **more):
    return inbound(phone, body, **{"received_at": ctx.now().isoformat(), **more})


def test_a_stop_counts_from_its_commit_on_and_is_answered_once_when_applied(
    machine, ctx, store, sandbox
):
    machine.store([ANN, BOB])
    store(text_now(ctx, ANN, "please stop"))

    assert is_suppressed(ctx, ANN)
    machine.submit_all()
    assert sandbox.recipients() == [BOB]
    apply_events(ctx)
    machine.submit_all()
    assert sandbox.recipients() == [BOB, ANN]
    with ctx.db.read() as tx:
        assert [link["wording"] for link in read_events(tx, ANN)] == ["please stop"]


def test_what_may_be_a_stop_counts_as_early(ctx, store):
    store(text_now(ctx, ANN, "please cancel"))

    with ctx.db.read() as tx:
        assert read_suppressions(tx, ctx.subscriber_context, [ANN])[ANN].needs_review


def test_a_stop_that_was_heard_before_does_not_count_again(ctx, store, machine):
    stop = inbound(ANN, "STOP", received_at=None)
    store(stop)
    apply_events(ctx)
    machine.clock.advance(60)
    store(text_now(ctx, ANN, "START", name="01START"))
    apply_events(ctx)
    machine.clock.advance(60)

    store(stop)

    assert not is_suppressed(ctx, ANN)


def test_a_start_and_a_stop_behind_it_end_as_stopped_in_whatever_order_they_are_applied(
    ctx, store, machine
):
    store(text_now(ctx, ANN, "STOP", name="01A"))
    machine.clock.advance(60)
    store(text_now(ctx, ANN, "START", name="01B"))
    machine.clock.advance(60)
    store(text_now(ctx, ANN, "STOP", name="01C"))

    assert is_suppressed(ctx, ANN)
    apply_events(ctx)
    assert is_suppressed(ctx, ANN)


def test_odd_texts_are_stored_all_the_same(store, service):
    odd = [
        inbound(ANN, "STOP \0 \ud83d"),
        inbound(ANN, "STOP", id="x" * 500),
        inbound("71234", "STOP"),
        inbound(ANN, "STOP")[:-1],
        b'{"type": "mo_text", "body": ["STOP"], "from": 7}',
        b'"mo_text"' * 1_000,
        b'\xff{"type": "mo_text"}',
        inbound(ANN, "s t o p " * 10_000),
    ]

    store(*odd)

    assert read_raw(service) == odd


def test_a_stop_under_the_wrong_key_is_stored_and_waits(ctx, service, machine):
    with ctx.db.write() as tx:
        suppress(tx, ctx.subscriber_context, BOB, cause=Cause.ERASED, actor="op", at=ctx.now())
    machine.corrupt(Suppression, phone=None)
    wrong = replace(ctx, phone_hash_key=b"another key than it was")

    CallbackStore(wrong, on_stored=lambda: None).store(text_now(ctx, ANN, "STOP"))

    assert len(read_raw(service)) == 1


def test_what_is_no_text_costs_one_statement(ctx, store):
    statements = []
    store(report(ANN, "Delivered"))
    event.listen(ctx.db.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))

    store(report(ANN, "Delivered"), report(BOB, "Delivered"))

    assert [statement.split()[0] for statement in statements if "BEGIN" not in statement] == [
        "INSERT",
        "INSERT",
    ]


def test_no_batch_claimed_behind_an_answered_stop_holds_the_number(ctx, store, machine):
    numbers = many_numbers(30)
    machine.store(numbers, size=1)
    answered, wrong, claimed = set[str](), [], []

    def stop_all():
        for place, number in enumerate(numbers[::-1]):
            store(text_now(ctx, number, "STOP", name=f"01IN{place}"))
            answered.add(number)

    def claim_all():
        while True:
            before = frozenset(answered)
            found = claim_batch(ctx)
            if not isinstance(found, Claim):
                return
            sent = {f"+{phone.lstrip('+')}" for phone in json.loads(found.body)["to"]}
            claimed.extend(sent)
            wrong.extend(sent & before)

    Together(stop_all, claim_all, claim_all).join()

    assert wrong == []
    assert claimed
