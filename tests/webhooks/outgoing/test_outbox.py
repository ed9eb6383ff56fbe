"""What is noted for clients, and who it is spread to."""

from sqlalchemy import event

from app.sms.lifecycle.outbox import EventType
from app.webhooks.outgoing.deliver import purge_old_events
from app.webhooks.outgoing.endpoints import delete_endpoint
from app.webhooks.outgoing.fan_out import MAX_EVENTS
from app.webhooks.outgoing.models import DeliveryStatus, EndpointStatus
from tests.webhooks.outgoing.receivers import NOWHERE

_K = EventType


def test_where_nobody_could_listen_nothing_is_written(either_desk):
    either_desk.listen(NOWHERE, client="other")
    either_desk.listen(NOWHERE, event_types=[_K.BROADCAST_ALL_REPORTED])

    either_desk.note(event_type=_K.BROADCAST_COMPLETED)

    assert either_desk.outbox() == []


def test_what_somebody_listens_to_is_noted_with_its_facts(desk):
    desk.listen(NOWHERE, event_types=[_K.BROADCAST_COMPLETED])

    desk.note(event_type=_K.BROADCAST_COMPLETED, broadcast_id="b", text="é😀")

    (row,) = desk.outbox()
    assert (row.client, row.event_type, row.at) == ("tests", "broadcast.completed", desk.ctx.now())
    assert row.facts == {"number": 0, "broadcast_id": "b", "text": "é😀"}
    assert (len(row.public_id), row.fanned_out) == (26, False)


def test_an_event_goes_to_each_endpoint_of_its_client_that_listens(either_desk):
    wanted = [
        either_desk.listen(NOWHERE),
        either_desk.listen(NOWHERE, event_types=[_K.INBOUND_RECEIVED]),
    ]
    either_desk.listen(NOWHERE, event_types=[_K.BROADCAST_ALL_REPORTED])
    either_desk.listen(NOWHERE, client="other")

    either_desk.tell(event_type=_K.INBOUND_RECEIVED)

    (row,) = either_desk.outbox()
    made = [(each.endpoint_id, each.event_id, each.status) for each in either_desk.deliveries()]
    assert made == [(each.id, row.id, DeliveryStatus.WAITING) for each in wanted]
    assert row.fanned_out
    assert either_desk.fanned_out() == 0


def test_what_concerns_every_client_goes_to_all(either_desk):
    wanted = [either_desk.listen(NOWHERE, client=client) for client in ("a", "b")]
    either_desk.listen(NOWHERE, client="c", event_types=[_K.BROADCAST_ALL_REPORTED])

    either_desk.tell(client=None, event_type=_K.INBOUND_RECEIVED)

    assert [each.endpoint_id for each in either_desk.deliveries()] == [each.id for each in wanted]


def test_an_endpoint_that_is_off_is_noted_for_all_the_same(desk):
    off = desk.listen(NOWHERE, status=EndpointStatus.OFF)

    desk.tell(2)

    assert len(desk.deliveries(off)) == 2


def test_an_event_whose_listener_is_gone_is_forgotten(desk):
    endpoint = desk.listen(NOWHERE)
    desk.note()
    delete_endpoint(desk.ctx, endpoint.public_id, actor="tests")

    assert desk.fanned_out() == 1

    assert (desk.outbox(), desk.deliveries()) == ([], [])


def test_many_events_are_spread_in_pieces_each_once(either_desk):
    either_desk.listen(NOWHERE)
    either_desk.listen(NOWHERE)
    either_desk.note(MAX_EVENTS + 5)

    fanned_out = [either_desk.fanned_out() for _ in range(3)]

    assert fanned_out == [MAX_EVENTS, 5, 0]
    made = {(each.endpoint_id, each.event_id) for each in either_desk.deliveries()}
    assert len(made) == len(either_desk.deliveries()) == 2 * (MAX_EVENTS + 5)


def test_with_nothing_to_spread_nothing_is_written(either_desk):
    statements = []
    event.listen(
        either_desk.ctx.db.engine, "before_cursor_execute", lambda *args: statements.append(args[2])
    )

    either_desk.fanned_out()

    # SQLite's BEGIN is a statement, PostgreSQL's is none.
    assert [each.split()[0] for each in statements if each != "BEGIN"] == ["SELECT"]


def test_events_and_deliveries_are_kept_for_30_days(either_desk):
    either_desk.listen(NOWHERE)
    either_desk.tell(2)
    either_desk.clock.advance(1 * 86_400)
    either_desk.tell(1)
    either_desk.clock.advance(29 * 86_400 - 1)
    kept = (purge_old_events(either_desk.ctx), len(either_desk.outbox()))

    either_desk.clock.advance(2)
    purge_old_events(either_desk.ctx)

    assert kept == (0, 3)
    assert [len(either_desk.outbox()), len(either_desk.deliveries())] == [1, 1]


def test_what_was_never_spread_is_forgotten_as_well(desk):
    desk.listen(NOWHERE)
    desk.note(3)
    desk.clock.advance(31 * 86_400)

    assert purge_old_events(desk.ctx) == 3
    assert desk.outbox() == []
