"""What is tried again and when, what is given up, and who is switched off."""

import dataclasses
import json
from datetime import timedelta

import pytest

from app.logs import configure_logging
from app.webhooks.outgoing.deliver import deliver_next
from app.webhooks.outgoing.lease import MAX_PAUSE, Pool
from app.webhooks.outgoing.models import DeliveryStatus, EndpointStatus
from app.webhooks.outgoing.retry import (
    ABANDONED_AFTER,
    FAILED_AFTER,
    FAILED_TIMES,
    PAUSES_S,
    WAITS_S,
    abandon_stale,
)
from tests.webhooks.outgoing.receivers import NOWHERE, TAKEN, refuse
from tests.wire import respond

NO = refuse("500 No")
# The longest are drawn; see Machine.
JITTER = 1.2
_D, _E = DeliveryStatus, EndpointStatus


def _seconds(moment, since):
    return round((moment - since).total_seconds(), 3)


def _alerts(capsys, level):
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [line for line in lines if line["level"] == level]


def test_a_delivery_is_tried_again_for_about_a_day_and_then_given_up(either_desk, receive, capsys):
    receiver = receive(NO)
    endpoint = either_desk.listen(receiver.url)
    either_desk.tell()
    begun, tried_after = either_desk.ctx.now(), []
    configure_logging("WARNING")

    while either_desk.delivery().status is _D.WAITING:
        assert either_desk.serve()
        tried_after.append(_seconds(either_desk.ctx.now(), begun))
        due_at = either_desk.delivery().due_at
        if due_at is not None:
            assert not either_desk.serve()
            either_desk.clock.advance((due_at - either_desk.ctx.now()).total_seconds())

    waits = [wait * JITTER for wait in WAITS_S]
    assert tried_after == [round(sum(waits[:tries]), 3) for tries in range(len(waits) + 1)]
    assert timedelta(hours=22) < timedelta(seconds=sum(WAITS_S)) < timedelta(hours=24)
    delivery = either_desk.delivery()
    assert (delivery.status, delivery.due_at) == (_D.ABANDONED, None)
    assert (delivery.tries, delivery.http_status, delivery.problem) == (10, 500, "HTTP 500.")
    (event,) = either_desk.outbox()
    (line,) = _alerts(capsys, "warning")
    assert line["message"] == "webhook delivery abandoned after its last try"
    assert (line["webhook"], line["event"]) == (endpoint.public_id, event.public_id)
    assert len(set(receiver.ids())) == 1


def test_jitter_keeps_the_retries_of_many_apart(desk, receive):
    receiver = receive(NO)
    desk.listen(receiver.url)
    desk.tell()
    early = dataclasses.replace(desk.ctx, jitter=lambda low, high: low)

    deliver_next(early, desk.webhook_client, Pool.SLOW)

    assert _seconds(desk.delivery().due_at, desk.ctx.now()) == WAITS_S[0] * (2 - JITTER)


def test_an_endpoint_that_fails_is_left_alone_whatever_waits_for_it(desk, receive):
    receiver = receive(NO)
    endpoint = desk.listen(receiver.url)
    desk.tell(200)
    pauses = []

    for _ in range(8):
        assert desk.serve()
        assert len(receiver.told) == len(pauses) + 1
        not_before = desk.endpoint(endpoint).not_before
        pauses.append(_seconds(not_before, desk.ctx.now()))
        if pauses[-1]:
            assert not desk.serve()
            desk.clock.advance(pauses[-1])

    assert pauses == [pause * JITTER for pause in (*PAUSES_S, PAUSES_S[-1], PAUSES_S[-1])]
    # A few tries a day, not some for each event.
    assert 86_400 / PAUSES_S[-1] <= 48


def test_one_event_that_always_fails_keeps_the_others_from_nothing(desk, receive):
    def answer(connection):
        poisoned = receiver.events()[-1]["data"]["number"] == 0
        (NO if poisoned else TAKEN)(connection)

    receiver = receive(answer)
    endpoint = desk.listen(receiver.url)
    desk.tell(30)

    desk.serve_all()

    statuses = [each.status for each in desk.deliveries()]
    assert statuses == [_D.WAITING] + [_D.DELIVERED] * 29
    assert desk.endpoint(endpoint).failing_since is None
    assert desk.endpoint(endpoint).problem is None


def test_once_it_takes_something_again_all_that_waits_goes_at_once(either_desk, receive):
    receiver = receive(NO)
    endpoint = either_desk.listen(receiver.url)
    either_desk.tell()
    for wait in (*WAITS_S[:6], 0):
        assert either_desk.serve()
        either_desk.clock.advance(wait * JITTER)
    failing = either_desk.endpoint(endpoint)
    waits_for_s = _seconds(either_desk.delivery().due_at, either_desk.ctx.now())

    receiver.then = TAKEN
    either_desk.clock.advance(PAUSES_S[-1] * JITTER)
    either_desk.tell()
    either_desk.serve_all()

    assert (failing.failures, failing.problem) == (7, "HTTP 500.")
    assert waits_for_s == WAITS_S[6] * JITTER
    assert [each.status for each in either_desk.deliveries()] == [_D.DELIVERED] * 2
    healed = either_desk.endpoint(endpoint)
    assert (healed.failures, healed.failing_since, healed.not_before) == (0, None, None)


@pytest.mark.parametrize(
    ("retry_after", "expected_s"),
    [("900", 900), ("1", 5 * JITTER), ("999999", MAX_PAUSE.total_seconds())],
)
@pytest.mark.parametrize("status", ["503 Busy", "429 Slow down"])
def test_a_receiver_that_asks_for_time_gets_it(desk, receive, status, retry_after, expected_s):
    receiver = receive(first=[refuse(status, Retry_After=retry_after)])
    desk.listen(receiver.url)
    desk.tell()
    desk.serve()

    due_in_s = _seconds(desk.delivery().due_at, desk.ctx.now())
    desk.clock.advance(due_in_s - 0.1)
    early = desk.serve()
    desk.clock.advance(0.1)

    assert due_in_s == expected_s
    assert not early
    assert desk.serve()
    assert desk.delivery().status is _D.DELIVERED


def test_what_has_waited_a_day_for_one_that_takes_nothing_is_given_up(either_desk, capsys):
    """However many wait: they are not all tried first."""
    endpoint = either_desk.listen(NOWHERE)
    either_desk.tell(50)
    begun = either_desk.ctx.now()
    while either_desk.ctx.now() - begun < ABANDONED_AFTER:
        either_desk.serve()
        assert abandon_stale(either_desk.ctx) == 0
        either_desk.clock.advance(1_800 * JITTER)
    either_desk.tell()
    configure_logging("WARNING")

    assert abandon_stale(either_desk.ctx) == 50

    assert [each.status for each in either_desk.deliveries()] == [_D.ABANDONED] * 50 + [_D.WAITING]
    assert either_desk.endpoint(endpoint).status is _E.ACTIVE
    (line,) = _alerts(capsys, "warning")
    assert (line["message"], line["deliveries"]) == ("stale webhook deliveries abandoned", 50)


def test_what_waits_for_one_that_works_is_not_given_up_however_long(desk, receive):
    desk.listen(receive().url)
    desk.tell(3)
    desk.clock.advance(3 * 86_400)

    assert abandon_stale(desk.ctx) == 0
    desk.serve_all()
    assert {each.status for each in desk.deliveries()} == {_D.DELIVERED}


def test_what_waits_for_one_that_is_off_is_given_up_after_a_day(desk):
    desk.listen(NOWHERE, status=_E.OFF)
    desk.tell(3)
    desk.clock.advance(86_399)
    early = abandon_stale(desk.ctx)
    desk.clock.advance(1)

    assert (early, abandon_stale(desk.ctx)) == (0, 3)


@pytest.mark.slow
def test_one_that_has_taken_nothing_for_days_is_switched_off_with_an_alert(desk, capsys):
    endpoint = desk.listen(NOWHERE)
    begun = desk.ctx.now()
    configure_logging("ERROR")
    tries = 0
    while desk.endpoint(endpoint).status is _E.ACTIVE:
        if not [each for each in desk.deliveries() if each.status is _D.WAITING]:
            desk.tell()
        tries += desk.serve()
        desk.clock.advance(1_800)
        assert desk.ctx.now() - begun < timedelta(days=7)

    assert desk.endpoint(endpoint).status is _E.FAILED
    assert desk.ctx.now() - begun >= FAILED_AFTER
    assert tries >= FAILED_TIMES
    (line,) = _alerts(capsys, "error")
    assert line["message"] == "webhook switched off: every try has failed for days"
    assert line["webhook"] == endpoint.public_id
    desk.tell()
    assert not desk.serve()


def test_a_few_failures_days_apart_switch_nothing_off(desk, receive):
    """One on Monday and one on Friday are no week of failures."""
    receiver = receive(NO)
    endpoint = desk.listen(receiver.url)
    for _ in range(6):
        desk.tell()
        desk.serve()
        desk.clock.advance(86_400)

    assert desk.endpoint(endpoint).status is _E.ACTIVE


def test_one_that_says_gone_is_never_called_again(desk, receive, capsys):
    receiver = receive(respond("410 Gone"))
    endpoint = desk.listen(receiver.url, quick=3)
    desk.tell(3)
    configure_logging("ERROR")

    desk.serve_all()
    desk.clock.advance(3_600)
    desk.serve_all()

    assert len(receiver.told) == 1
    assert desk.endpoint(endpoint).status is _E.GONE
    (line,) = _alerts(capsys, "error")
    assert line["message"] == "webhook switched off: it answered 410 Gone"


def test_nothing_of_a_payload_an_address_or_a_secret_is_logged(desk, receive, capsys):
    receiver = receive(first=[NO, TAKEN])
    endpoint = desk.listen(f"{receiver.url}?token=canary-token")
    configure_logging("DEBUG")

    desk.tell(sender="+46701234567", body="canary-text")
    desk.serve()
    desk.clock.advance(6)
    desk.serve()

    output = capsys.readouterr().err
    assert '"webhook delivery failed"' in output
    assert '"webhook delivered"' in output
    for canary in ("46701234567", "canary", "whsec", receiver.url, endpoint.secret.hex()):
        assert canary not in output
