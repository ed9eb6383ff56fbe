"""Endpoints take turns: who is served, by whom, and never by two at once."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select, update
from standardwebhooks import Webhook

from app.sms.lifecycle.outbox import EventType
from app.webhooks.outgoing.deliver import deliver_next, post_delivery
from app.webhooks.outgoing.endpoints import change_endpoint, delete_endpoint, rotate_secret
from app.webhooks.outgoing.lease import LEASE, MAX_DELIVERIES, Pool, lease_endpoint
from app.webhooks.outgoing.models import Delivery, DeliveryStatus, Endpoint, EndpointStatus
from app.webhooks.outgoing.retry import record_attempts
from app.webhooks.outgoing.signing import write_secret
from tests.machine import Together
from tests.webhooks.outgoing.receivers import NOWHERE, TAKEN, refuse, wait

NO = refuse("500 No")

_D = DeliveryStatus


def test_an_event_arrives_signed_and_whole(either_desk, receive):
    receiver = receive()
    endpoint = either_desk.listen(receiver.url)
    either_desk.tell(event_type=EventType.INBOUND_RECEIVED, sender="+46701234567", body="é😀")
    at = either_desk.ctx.now()

    either_desk.serve_all()

    (told,) = receiver.told
    (row,) = either_desk.outbox()
    assert told.event == {
        "id": row.public_id,
        "type": "inbound.received",
        "created_at": at.isoformat(),
        "data": {"number": 0, "sender": "+46701234567", "body": "é😀"},
    }
    assert "é😀".encode() in told.body
    assert told.headers["webhook-id"] == row.public_id
    assert told.headers["webhook-timestamp"] == str(int(at.timestamp()))
    assert told.headers["content-type"] == "application/json"
    Webhook(write_secret(endpoint.secret)).verify(told.body, told.headers)
    delivery = either_desk.delivery()
    assert (delivery.status, delivery.due_at, delivery.tries) == (_D.DELIVERED, None, 1)
    assert (delivery.http_status, delivery.problem, delivery.tried_at) == (200, None, at)
    assert either_desk.endpoint(endpoint).delivered_at == at


def test_after_a_rotation_both_secrets_sign_for_a_day(desk, receive):
    receiver = receive()
    old = desk.listen(receiver.url)
    new = rotate_secret(desk.ctx, old.public_id, actor="tests")
    desk.tell()
    desk.serve_all()
    desk.clock.advance(86_401)
    desk.tell()
    desk.serve_all()

    in_between, seconds_from_now = receiver.told

    assert new.secret != old.secret
    assert len(in_between.headers["webhook-signature"].split(" ")) == 2
    assert len(seconds_from_now.headers["webhook-signature"].split(" ")) == 1
    for each in (old, new):
        _verify(each, in_between)
    _verify(new, seconds_from_now)


def _verify(endpoint, told):
    """As a receiver does whose clock shows the time of the signature."""
    body = told.body.decode()
    library = Webhook(write_secret(endpoint.secret))
    at = datetime.fromtimestamp(int(told.headers["webhook-timestamp"]), UTC)
    expected = library.sign(told.headers["webhook-id"], at, body)
    assert expected in told.headers["webhook-signature"].split(" ")


def test_a_turn_takes_a_few_and_then_it_is_anothers(either_desk, receive):
    one, two = receive(), receive()
    for receiver in (one, two):
        either_desk.listen(receiver.url, quick=3)
    either_desk.tell(MAX_DELIVERIES + 5)

    counts = []
    either_desk.clock.advance(0.001)
    while either_desk.serve():
        either_desk.clock.advance(0.001)
        counts.append((len(one.told), len(two.told)))

    assert counts == [
        (MAX_DELIVERIES, 0),
        (MAX_DELIVERIES, MAX_DELIVERIES),
        (MAX_DELIVERIES + 5, MAX_DELIVERIES),
        (MAX_DELIVERIES + 5, MAX_DELIVERIES + 5),
    ]
    assert {each.status for each in either_desk.deliveries()} == {_D.DELIVERED}
    assert one.ids() == [each.public_id for each in either_desk.outbox()]


def test_who_is_in_one_hand_is_in_no_other(either_desk, receive):
    receiver = receive()
    either_desk.listen(receiver.url, quick=3)
    either_desk.tell(2)
    turn = lease_endpoint(either_desk.ctx, Pool.FAST)

    assert turn is not None
    assert lease_endpoint(either_desk.ctx, Pool.FAST) is None
    assert not either_desk.serve()
    record_attempts(either_desk.ctx, turn, [])
    assert either_desk.serve()
    assert len(receiver.told) == 2


def test_a_hand_that_died_is_followed_by_another(desk, receive):
    """Ended between the POST and its record, too: then it is told twice."""
    receiver = receive()
    desk.listen(receiver.url, quick=3)
    desk.tell()
    lease_endpoint(desk.ctx, Pool.FAST)

    desk.clock.advance(LEASE.total_seconds() - 1)
    early = desk.serve()
    desk.clock.advance(1)

    assert not early
    assert desk.serve()
    assert len(receiver.told) == 1


def test_a_clock_that_is_set_back_locks_nobody_out(desk, receive):
    receiver = receive()
    endpoint = desk.listen(receiver.url, quick=3)
    desk.tell()
    lease_endpoint(desk.ctx, Pool.FAST)
    desk.alter(endpoint, not_before=desk.ctx.seconds_from_now(3600))
    with_delivery = desk.deliveries()

    desk.clock.set_back(10 * 3_600)
    desk.tell()

    assert desk.serve()
    assert len(with_delivery) == 1
    assert len(receiver.told) == 1


def test_a_clock_a_moment_behind_takes_no_lease_for_one_of_a_clock_set_back(desk, receive):
    """Two processes never look at the clock at once, nor do two machines have the same."""
    desk.listen(receive().url, quick=3)
    desk.tell()
    assert lease_endpoint(desk.ctx, Pool.FAST) is not None

    desk.clock.set_back(30)

    assert lease_endpoint(desk.ctx, Pool.FAST) is None


def test_what_was_given_up_meanwhile_stays_so_when_its_post_fails(desk, receive):
    desk.listen(receive(NO).url, quick=3)
    desk.tell()
    turn = lease_endpoint(desk.ctx, Pool.FAST)
    with desk.ctx.db.write() as tx:
        tx.execute(update(Delivery).values(status=_D.ABANDONED, due_at=None))

    record_attempts(desk.ctx, turn, _try(desk, turn, turn.deliveries))

    assert (desk.delivery().status, desk.delivery().due_at) == (_D.ABANDONED, None)


def test_what_a_late_hand_delivered_counts_and_what_it_failed_at_does_not(either_desk, receive):
    receiver = receive(first=[refuse("500 No"), wait(0), refuse("500 No")])
    endpoint = either_desk.listen(receiver.url, quick=3)
    either_desk.tell(2)
    slow = lease_endpoint(either_desk.ctx, Pool.FAST)
    either_desk.clock.advance(LEASE.total_seconds())
    other = lease_endpoint(either_desk.ctx, Pool.FAST)

    record_attempts(either_desk.ctx, slow, _try(either_desk, slow, slow.deliveries[:1]))
    after_failure = either_desk.endpoint(endpoint)
    record_attempts(either_desk.ctx, slow, _try(either_desk, slow, slow.deliveries[1:]))

    assert (after_failure.failures, after_failure.lease) == (0, other.lease)
    assert [each.status for each in either_desk.deliveries()] == [_D.WAITING, _D.DELIVERED]
    assert either_desk.endpoint(endpoint).lease == other.lease
    record_attempts(either_desk.ctx, other, _try(either_desk, other, other.deliveries[:1]))
    assert either_desk.endpoint(endpoint).failures == 1


def _try(desk, turn, deliveries):
    return [post_delivery(desk.ctx, desk.webhook_client, turn, each) for each in deliveries]


def test_while_one_hand_is_claiming_another_takes_the_next_and_does_not_wait(
    make_desk, postgres, receive
):
    """PostgreSQL's; SQLite's hands claim one after another."""
    desk = make_desk(postgres.create_database())
    first, second = (desk.listen(receive().url, quick=3) for _ in range(2))
    desk.tell()
    held = select(Endpoint.id).where(Endpoint.id == first.id).with_for_update()
    claims = []

    with desk.ctx.db.write() as tx:
        tx.execute(held)
        for _ in range(2):
            Together(lambda: claims.append(lease_endpoint(desk.ctx, Pool.FAST))).join()

    assert [each and each.endpoint_id for each in claims] == [second.id, None]


def test_many_hands_share_and_nothing_goes_twice(either_desk, receive):
    receivers = [receive(wait(0.01)) for _ in range(3)]
    for receiver in receivers:
        either_desk.listen(receiver.url, quick=3)
    either_desk.tell(15)

    def work():
        idle = 0
        while idle < 20:
            served = deliver_next(either_desk.ctx, either_desk.webhook_client, Pool.FAST)
            idle = 0 if served else idle + 1

    Together(*[work] * 6).join()

    for receiver in receivers:
        assert len(receiver.told) == len(set(receiver.ids())) == 15
        assert receiver.most_in_hand == 1


def test_many_hands_spread_each_event_once(either_desk):
    endpoint = either_desk.listen(NOWHERE)
    either_desk.note(300)

    def work():
        while either_desk.fanned_out():
            pass

    Together(*[work] * 4).join()

    assert len(either_desk.deliveries(endpoint)) == 300


def test_a_new_endpoint_is_served_by_the_slow_lane_until_it_has_been_quick(either_desk, receive):
    receiver = receive()
    endpoint = either_desk.listen(receiver.url)
    served = []
    for lanes in [[Pool.FAST, Pool.SLOW]] * 3 + [[Pool.SLOW, Pool.FAST]]:
        either_desk.tell()
        served.append([either_desk.serve(lane) for lane in lanes])

    assert served == [[False, True]] * 4
    assert either_desk.endpoint(endpoint).quick == 3


def test_in_the_slow_lane_a_promising_one_goes_first_then_a_new_one_then_by_turns(desk, receive):
    order = []

    def note(name):
        def answer(connection):
            order.append(name)
            (TAKEN if name in ("promising", "new") else NO)(connection)

        return answer

    names = ["failed long ago", "failed", "new", "promising"]
    made = {name: desk.listen(receive(note(name)).url) for name in names}
    desk.alter(made["failed long ago"], failures=1, served_at=desk.ctx.seconds_from_now(-20))
    desk.alter(made["failed"], failures=9, served_at=desk.ctx.seconds_from_now(-10))
    desk.alter(made["promising"], quick=1, delivered_at=desk.ctx.now())
    desk.tell()

    desk.serve_all()

    assert order == ["promising", "new", "failed long ago", "failed"]


def test_one_failure_or_slow_answer_leads_to_the_slow_lane(desk, receive):
    for answer in (refuse("500 No"), wait(1.1)):
        receiver = receive(first=[answer])
        endpoint = desk.listen(receiver.url, quick=3)
        desk.tell()

        assert desk.serve(Pool.FAST)

        assert desk.endpoint(endpoint).quick == 0
        desk.tell()
        assert [desk.serve(Pool.FAST), desk.serve(Pool.SLOW)] == [False, True]
        delete_endpoint(desk.ctx, endpoint.public_id, actor="tests")


def test_a_slow_answer_ends_the_turn(desk, receive):
    def take_late(connection):
        desk.clock.advance(1.1)
        TAKEN(connection)

    receiver = receive(first=[take_late])
    desk.listen(receiver.url, quick=3)
    desk.tell(3)

    desk.serve()

    assert len(receiver.told) == 1
    desk.serve_all()
    assert len(receiver.told) == 3


def test_a_failure_ends_the_turn(desk, receive):
    receiver = receive(first=[wait(0), refuse("500 No")])
    desk.listen(receiver.url, quick=3)
    desk.tell(4)

    desk.serve()

    assert len(receiver.told) == 2
    tried = [(each.status, each.tries) for each in desk.deliveries()]
    assert tried == [(_D.DELIVERED, 1), (_D.WAITING, 1), (_D.WAITING, 0), (_D.WAITING, 0)]


def test_told_to_stop_it_finishes_what_is_in_hand(desk, receive):
    receiver = receive()
    desk.listen(receiver.url, quick=3)
    desk.tell(4)

    deliver_next(desk.ctx, desk.webhook_client, Pool.FAST, stop=lambda: True)

    assert len(receiver.told) == 1
    assert [each.status for each in desk.deliveries()].count(_D.DELIVERED) == 1
    assert desk.serve()


def test_an_event_too_large_for_one_packet_arrives(desk, receive):
    receiver = receive()
    desk.listen(receiver.url)
    messages = [{"recipient": f"+4670{n:07d}", "reason": "x" * 100} for n in range(1_000)]

    desk.tell(event_type=EventType.MESSAGES_UPDATED, messages=messages)
    desk.serve_all()

    assert receiver.events()[0]["data"]["messages"] == messages


@pytest.mark.parametrize("status", [EndpointStatus.OFF, EndpointStatus.FAILED, EndpointStatus.GONE])
def test_one_that_is_off_gets_nothing_until_it_is_on(desk, receive, status):
    receiver = receive()
    endpoint = desk.listen(receiver.url, status=status, failures=30)
    desk.tell(2)
    while_off = desk.serve()

    _change(desk, endpoint, enabled=True)
    desk.serve_all()

    assert not while_off
    assert len(receiver.told) == 2


def test_a_url_that_is_changed_in_the_middle_of_a_turn_gets_the_next(desk, receive):
    old, new = receive(), receive()
    endpoint = desk.listen(old.url, quick=3, failures=7)
    desk.tell(2)
    turn = lease_endpoint(desk.ctx, Pool.FAST)

    _change(desk, endpoint, url=new.url)
    changed = desk.endpoint(endpoint)
    record_attempts(desk.ctx, turn, _try(desk, turn, turn.deliveries[:1]))
    desk.serve_all()

    assert (changed.quick, changed.failures, changed.lease) == (0, 0, None)
    assert (len(old.told), len(new.told)) == (1, 1)


def _change(desk, endpoint, **change):
    change_endpoint(
        desk.ctx,
        desk.webhook_client,
        endpoint.public_id,
        actor="tests",
        sees_numbers=True,
        **change,
    )


def test_one_that_is_deleted_in_the_middle_of_a_turn_is_no_error(desk, receive):
    receiver = receive()
    endpoint = desk.listen(receiver.url, quick=3)
    desk.tell(2)
    turn = lease_endpoint(desk.ctx, Pool.FAST)

    delete_endpoint(desk.ctx, endpoint.public_id, actor="tests")
    record_attempts(desk.ctx, turn, _try(desk, turn, turn.deliveries))

    assert desk.deliveries() == []
    assert not desk.serve()
