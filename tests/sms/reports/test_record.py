"""Reports in any order, any number of times, before or after the answer: the same books."""

import itertools
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.sinch.errors import SinchRejected
from app.sms.dispatch.outcome import SubmitResult
from app.sms.dispatch.submit import submit_batch
from app.sms.models.batch import Batch
from app.sms.models.states import Attention, BatchState, BroadcastStatus, Outcome
from app.sms.models.statuses import MessageStatus
from app.sms.recovery.attention import Decision, resolve_batch
from app.webhooks.incoming.apply import old_dead_letters
from app.webhooks.outgoing.models import Endpoint, EndpointStatus
from tests.factories import many_numbers
from tests.machine import record_result
from tests.reporting import (
    batch_report,
    ends,
    events,
    outbox,
    report,
    store_events,
    sums,
    tell,
)

ANN, BOB, CLO = "+46701234567", "+46707654321", "+46700000003"
_S, _M = BatchState, MessageStatus


def _accepted(machine, recipients=(ANN,), *, name="01SINCHBATCH", **how):
    """A broadcast whose first batch Sinch took under this id."""
    broadcast = machine.store(recipients, **how)
    claim = machine.claim(broadcast_id=broadcast)
    record_result(machine.ctx, claim, SubmitResult(outcome=Outcome.ACCEPTED, sinch_id=name))
    return broadcast, machine.batch(claim.batch_id)


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ("Delivered", _M.DELIVERED),
        ("DELIVERED", _M.DELIVERED),
        ("Failed", _M.FAILED),
        ("Rejected", _M.REJECTED),
        ("Expired", _M.EXPIRED),
        ("Aborted", _M.ABORTED),
        ("Cancelled", _M.CANCELLED),
        ("Deleted", _M.DELETED),
        ("Unknown", _M.UNKNOWN),
    ],
)
def test_a_final_report_is_the_end_of_a_message(machine, told, status):
    broadcast, batch = _accepted(machine)

    tell(machine.ctx, report(ANN, told, 7, reference=batch.client_reference))

    assert ends(machine.ctx, broadcast) == {ANN: (status, 7)}
    assert machine.batch().ended == 1
    assert machine.batch().next_report_at is None
    assert machine.broadcast(broadcast).all_reported_at == machine.ctx.now()
    assert events(machine.ctx) == []


@pytest.mark.parametrize("told", ["Queued", "Dispatched", "Teleported"])
def test_what_is_no_end_leaves_a_message_awaited(machine, told):
    broadcast, _ = _accepted(machine)

    tell(machine.ctx, report(ANN, told, 401))

    assert ends(machine.ctx, broadcast) == {ANN: (_M.SUBMITTED, 401)}
    assert machine.batch().ended == 0
    assert machine.batch().next_report_at is not None
    assert machine.broadcast(broadcast).all_reported_at is None


def test_either_database_books_the_same(either_machine):
    machine = either_machine
    broadcast, batch = _accepted(machine, [ANN, BOB, CLO])

    tell(
        machine.ctx,
        report(ANN, "Delivered", reference=batch.client_reference),
        report(BOB, "Failed", 153),
        report(BOB, "Failed", 153),
        report(CLO, "Dispatched", 401),
    )

    assert ends(machine.ctx, broadcast) == {
        ANN: (_M.DELIVERED, 0),
        BOB: (_M.FAILED, 153),
        CLO: (_M.SUBMITTED, 401),
    }
    assert sum(sums(machine.ctx, broadcast).values()) == 3
    assert machine.batch().ended == 2


_COURSE = (
    report(ANN, "Queued", 400, at="2026-03-01T12:00:01Z"),
    report(ANN, "Dispatched", 401, at="2026-03-01T12:00:02Z"),
    report(ANN, "Failed", 153, at="2026-03-01T12:00:03Z"),
    report(ANN, "Delivered", 0, at="2026-03-01T12:00:04Z"),
    report(ANN, "Delivered", 0, at="2026-03-01T12:00:09Z"),
)


@pytest.mark.slow
def test_every_order_of_a_message_s_reports_ends_in_the_same_books(machine):
    found = set()
    for number, order in enumerate(itertools.permutations(_COURSE)):
        name = f"01BATCH{number}"
        broadcast, batch = _accepted(machine, name=name)
        told = [report.replace(b"01SINCHBATCH", name.encode()) for report in order]
        tell(machine.ctx, *told, at_once=number % 2 == 0)
        row = ends(machine.ctx, broadcast)[ANN]
        [(status, code, _)] = sums(machine.ctx, broadcast)
        found.add((row, (status, code), machine.batch(batch.id).ended))
        machine.clock.advance(1)

    assert found == {((_M.DELIVERED, 0), (_M.DELIVERED, 0), 1)}


_REPORTS = st.lists(
    st.tuples(
        st.sampled_from([ANN, BOB, CLO]),
        st.sampled_from(["Queued", "Dispatched", "Failed", "Expired", "Delivered", "Unknown"]),
        st.sampled_from([0, 153, 401]),
        st.integers(0, 30),
    ),
    max_size=8,
)


@pytest.mark.slow
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(reports=_REPORTS, data=st.data())
def test_any_order_repetition_and_grouping_ends_in_the_same_books(machine, reports, data):
    machine.clock.advance(1)
    books = []
    for name in ("one", "other"):
        sinch_id = f"01{name}{machine.clock.monotonic()}".replace(".", "")
        broadcast, batch = _accepted(machine, [ANN, BOB, CLO], name=sinch_id)
        told = [
            report(who, status, code, batch=sinch_id, at=f"2026-03-01T12:00:{second:02}Z")
            for who, status, code, second in reports
        ]
        if name == "other":
            told = data.draw(st.permutations(told + told[: data.draw(st.integers(0, len(told)))]))
        tell(machine.ctx, *told, at_once=data.draw(st.booleans()))
        books.append(
            (
                ends(machine.ctx, broadcast),
                {place[:2]: n for place, n in sums(machine.ctx, broadcast).items()},
                machine.batch(batch.id).ended,
            )
        )

    assert books[0] == books[1]
    assert machine.violations() == []


@pytest.mark.parametrize("delivered_first", [True, False])
def test_a_delivered_part_of_a_text_outweighs_a_failed_one(machine, delivered_first):
    broadcast, _ = _accepted(machine)
    parts = [
        report(ANN, "Delivered", 0, number_of_message_parts=2),
        report(ANN, "Failed", 150, number_of_message_parts=2),
    ]

    tell(machine.ctx, *(parts if delivered_first else parts[::-1]), at_once=False)

    assert ends(machine.ctx, broadcast) == {ANN: ("delivered", 0)}


def test_a_delivery_moves_its_sum_to_the_earlier_time(machine):
    broadcast, _ = _accepted(machine)
    start = machine.ctx.now()
    late, early = (
        (start + timedelta(seconds=s)).isoformat().replace("+00:00", "Z") for s in (500, 5)
    )

    tell(machine.ctx, report(ANN, "Delivered", at=late))
    [(_, _, slow)] = sums(machine.ctx, broadcast)
    tell(machine.ctx, report(ANN, "Delivered", at=early))

    [((_, _, quick), count)] = sums(machine.ctx, broadcast).items()
    assert (count, quick < slow) == (1, True)


def test_a_report_before_the_answer_settles_the_batch(either_machine):
    machine = either_machine
    broadcast = machine.store([ANN])
    claim = machine.claim()

    tell(machine.ctx, report(ANN, "Delivered", reference=claim.reference, batch="01EARLY"))

    batch = machine.batch()
    assert (batch.state, batch.sinch_id, batch.lease_until) == (_S.ACCEPTED, "01EARLY", None)
    assert machine.broadcast(broadcast).status is BroadcastStatus.COMPLETE
    record_result(machine.ctx, claim, SubmitResult(outcome=Outcome.ACCEPTED, sinch_id="01EARLY"))
    assert (machine.batch().state, machine.batch().ended) == (_S.ACCEPTED, 1)


@pytest.mark.parametrize(
    "outcome", [Outcome.UNKNOWN, Outcome.NOT_SENT, Outcome.REJECTED, Outcome.HELD]
)
def test_no_later_answer_undoes_what_a_report_proved(machine, outcome):
    machine.store([ANN])
    claim = machine.claim()
    tell(machine.ctx, report(ANN, "Dispatched", 401, reference=claim.reference))

    record_result(machine.ctx, claim, SubmitResult(outcome=outcome))

    assert machine.batch().state is _S.ACCEPTED


@pytest.mark.parametrize(
    "state",
    [
        _S.UNKNOWN,
        _S.NEEDS_ATTENTION,
        _S.PENDING,
        _S.HELD,
        _S.CLOSED_UNSENT,
        _S.REJECTED,
        _S.EXPIRED,
        _S.CANCELLED,
    ],
)
def test_a_report_is_proof_whatever_was_known_before(machine, state):
    broadcast = machine.store([ANN, BOB])
    reference = machine.claim().reference
    now = machine.ctx.now()
    known = {"unknown_at": now, "next_reconcile_at": now} if state is _S.UNKNOWN else {}
    if state is _S.NEEDS_ATTENTION:
        known["attention"] = Attention.ABSENT
    machine.corrupt(Batch, state=state, lease_until=None, **known)

    tell(machine.ctx, report(ANN, "Delivered", reference=reference))

    assert machine.batch().state is _S.ACCEPTED
    assert machine.broadcast(broadcast).status is BroadcastStatus.COMPLETE
    assert machine.broadcast(broadcast).all_reported_at is None  # Bob's end is awaited


def test_a_report_on_a_batch_that_was_halved_keeps_its_half_from_being_sent(machine):
    broadcast = machine.store([ANN, BOB])
    whole = machine.claim()
    refusal = _refusal()
    record_result(machine.ctx, whole, SubmitResult(outcome=Outcome.REJECTED, refusal=refusal))
    assert machine.states(broadcast) == [_S.SPLIT, _S.PENDING, _S.PENDING]

    tell(machine.ctx, report(ANN, "Delivered", reference=whole.reference))

    half = machine.batch(machine.homes(broadcast)[ANN])
    assert (half.state, half.ended) == (_S.ACCEPTED, 1)


def _refusal():
    return SinchRejected(400, "syntax_invalid_parameter_format", "to[0]")


def test_another_id_than_ours_is_a_duplicate_that_stops_its_broadcast(machine):
    broadcast, batch = _accepted(machine, many_numbers(4), size=2)
    first = next(who for who, home in machine.homes(broadcast).items() if home == batch.id)

    told = report(first, "Delivered", batch="01SECOND", reference=batch.client_reference)
    tell(machine.ctx, told)

    row = machine.batch(batch.id)
    assert (row.state, row.duplicate_sinch_ids) == (_S.DUPLICATE, ["01SECOND"])
    assert machine.broadcast(broadcast).status is BroadcastStatus.HALTED


def test_a_batch_without_an_id_learns_it_from_a_report(machine):
    _, batch = _accepted(machine, name=None)

    told = report(ANN, "Dispatched", 401, batch="01LEARNT", reference=batch.client_reference)
    tell(machine.ctx, told)

    assert (machine.batch().sinch_id, machine.batch().next_reconcile_at) == ("01LEARNT", None)


def test_a_report_under_sinch_s_id_alone_waits_for_the_answer_that_names_it(machine):
    broadcast = machine.store([ANN])
    claim = machine.claim()
    tell(machine.ctx, report(ANN, "Delivered"))
    assert len(events(machine.ctx)) == 1

    record_result(
        machine.ctx, claim, SubmitResult(outcome=Outcome.ACCEPTED, sinch_id="01SINCHBATCH")
    )
    machine.clock.advance(11)
    tell(machine.ctx)

    assert ends(machine.ctx, broadcast) == {ANN: (_M.DELIVERED, 0)}
    assert events(machine.ctx) == []


def test_a_report_on_somebody_else_s_batch_is_left_over_and_forgotten(machine):
    store_events(machine.ctx, report(ANN, "Delivered", batch="01FOREIGN"))
    for _ in range(8):
        tell(machine.ctx)
        machine.clock.advance(11)

    [event] = events(machine.ctx)
    assert event.dead_letter_reason == "foreign"
    machine.clock.advance(3 * 86_400)
    assert old_dead_letters(machine.ctx).delete(machine.ctx.db) == 1


def test_what_cannot_be_read_is_left_over_and_holds_nothing_up(either_machine):
    machine = either_machine
    broadcast, _ = _accepted(machine)

    odd = [b"", b"{", b"[]", b"\xff\xfe", b'{"type": "new_kind"}', b'{"type": ["x"]}', b"null"]
    tell(machine.ctx, *odd, report(ANN, "Delivered"))

    assert [event.dead_letter_reason for event in events(machine.ctx)] == ["unreadable"] * len(odd)
    assert ends(machine.ctx, broadcast) == {ANN: (_M.DELIVERED, 0)}


def test_a_recipient_that_is_not_in_the_batch_changes_nothing(machine):
    broadcast, _ = _accepted(machine)

    tell(machine.ctx, report(BOB, "Delivered"))

    assert ends(machine.ctx, broadcast) == {ANN: (None, None)}
    assert (events(machine.ctx), sums(machine.ctx, broadcast)) == ([], {})


def test_a_full_report_ends_every_message_it_names(machine):
    broadcast, _ = _accepted(machine, [ANN, BOB])

    told = [
        {"code": 0, "status": "Delivered", "count": 1, "recipients": [ANN[1:]]},
        {"code": "402", "status": "Aborted", "count": 1, "recipients": [BOB]},
    ]
    tell(machine.ctx, batch_report(told))

    assert ends(machine.ctx, broadcast) == {ANN: (_M.DELIVERED, 0), BOB: (_M.ABORTED, 402)}


def test_a_summary_in_which_all_ended_alike_ends_them_all(machine):
    broadcast, _ = _accepted(machine, [ANN, BOB])

    tell(machine.ctx, batch_report([{"code": 0, "status": "Delivered", "count": 2}]))

    assert set(ends(machine.ctx, broadcast).values()) == {(_M.DELIVERED, 0)}


def test_any_other_summary_makes_us_ask_at_once(machine):
    _, batch = _accepted(machine, [ANN, BOB])
    assert batch.next_report_at > machine.ctx.now()

    told = [
        {"code": 0, "status": "Delivered", "count": 1},
        {"code": 402, "status": "Aborted", "count": 1},
    ]
    tell(machine.ctx, batch_report(told))

    assert machine.batch().next_report_at == machine.ctx.now()
    assert machine.batch().ended == 0


def _listen(machine, *kinds):
    """An endpoint of the client that these tests send as."""
    machine.add(
        Endpoint,
        public_id="listener",
        client="tests",
        created_at=machine.ctx.now(),
        url="https://example.org/hook",
        event_types=list(kinds),
        secret=b"secret",
        status=EndpointStatus.ACTIVE,
        served_at=machine.ctx.now(),
    )


def test_clients_are_told_each_end_once(machine):
    _listen(machine, "messages.updated", "broadcast.completed", "broadcast.all_reported")
    broadcast, _ = _accepted(machine, [ANN, BOB])
    name = machine.broadcast(broadcast).public_id
    tell(machine.ctx, report(ANN, "Delivered"), report(ANN, "Delivered"))
    tell(machine.ctx, report(ANN, "Delivered"), report(BOB, "Failed", 153))

    told = outbox(machine.ctx, "messages.updated")
    assert [
        (report["broadcast_id"], [m["status"] for m in report["messages"]]) for report in told
    ] == [
        (name, ["delivered"]),
        (name, ["failed"]),
    ]
    assert told[1]["messages"][0]["reason"] == "The phone was off or out of reach."
    assert len(outbox(machine.ctx, "broadcast.completed")) == 1
    assert len(outbox(machine.ctx, "broadcast.all_reported")) == 1


def test_an_operator_who_gave_up_is_told_better(machine):
    broadcast = machine.store([ANN])
    claim = machine.claim()
    machine.corrupt(Batch, state=_S.NEEDS_ATTENTION, attention=Attention.ABSENT, lease_until=None)
    resolve_batch(machine.ctx, claim.reference, Decision.GIVE_UP, actor="op", note="")
    assert machine.counts(broadcast) == {"abandoned": 1}

    tell(machine.ctx, report(ANN, "Delivered", reference=claim.reference))

    assert machine.batch().state is _S.ACCEPTED
    assert ends(machine.ctx, broadcast) == {ANN: (_M.DELIVERED, 0)}


def test_what_a_report_proves_is_never_posted(machine, sandbox):
    machine.store([ANN])
    claim = machine.claim()
    machine.corrupt(Batch, state=_S.PENDING, lease_until=None)

    tell(machine.ctx, report(ANN, "Dispatched", 401, reference=claim.reference))

    assert machine.idle().not_before is None
    submit_batch(machine.ctx, claim)  # who held the claim may still post it once
    assert machine.batch().state in (_S.ACCEPTED, _S.DUPLICATE)
