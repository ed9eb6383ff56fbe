"""Texts from phones: each once, whoever tells of it first, and tied to what it answers."""

import pytest

from app.sms.inbound.receive import fetch_inbounds_when_due
from app.sms.models.batch import Batch
from app.sms.models.states import BatchState
from app.sms.operations.restore import end_restore_when_done, mark_restored
from tests.reporting import events, inbound, inbounds, tell

ANN, BOB = "+46701234567", "+46707654321"


def test_a_text_is_kept_once_and_tied_to_the_last_broadcast(either_machine):
    machine = either_machine
    for _ in range(2):
        broadcast = machine.store([ANN])
        machine.submit()

    tell(machine.ctx, inbound(ANN, "STOP"), inbound(ANN, "STOP"))
    tell(machine.ctx, inbound(ANN, "STOP"), inbound(BOB, "who is this?", name="01OTHER"))

    kept = [(row.sender, row.body, row.broadcast_id) for row in inbounds(machine.ctx)]
    assert kept == [(ANN, "STOP", broadcast), (BOB, "who is this?", None)]
    assert events(machine.ctx) == []


def test_what_was_never_handed_to_sinch_is_not_what_somebody_answers(machine):
    machine.store([ANN])

    tell(machine.ctx, inbound(ANN, "hello"))

    assert inbounds(machine.ctx)[0].broadcast_id is None


@pytest.mark.parametrize(
    "more",
    [
        {"type": "mo_binary", "body": "AQID", "udh": "060504158a0000"},
        {"type": "mo_media", "body": {"subject": "s", "media": [{"contentType": "image/png"}]}},
        {"send_at": "2026-03-01T12:00:00Z"},
        {"from": "0046701234567"},
        {"body": "nul \0 and \ud83d\ude00"},
        {"received_at": "nonsense"},
        {"client_reference": "x" * 500},
    ],
)
def test_every_kind_and_spelling_is_kept(either_machine, more):
    tell(either_machine.ctx, inbound(ANN, "hello", **more))

    [row] = inbounds(either_machine.ctx)
    assert (row.sender, row.sinch_id) == (ANN, "01INBOUND")


def test_what_no_callback_told_is_found_in_the_list_every_five_minutes(machine, sandbox):
    sandbox.text_from(ANN, "STOP")
    assert fetch_inbounds_when_due(machine.ctx) == 1
    sandbox.text_from(BOB, "STOP")
    machine.clock.advance(299)
    assert fetch_inbounds_when_due(machine.ctx) == 0
    machine.clock.advance(2)
    assert fetch_inbounds_when_due(machine.ctx) == 1
    assert [row.sender for row in inbounds(machine.ctx)] == [ANN, BOB]


def test_a_list_that_cannot_be_read_is_asked_for_again(machine, sandbox, capsys):
    sandbox.text_from(ANN, "STOP")
    sandbox.order_fault(on="GET /inbounds", status=503, times=None)
    assert [fetch_inbounds_when_due(machine.ctx) for _ in range(3)] == [None] * 3
    # One line a minute, with the reason.
    assert capsys.readouterr().err.count("sinch's list of inbounds cannot be read") <= 1

    sandbox.clear_faults()
    assert fetch_inbounds_when_due(machine.ctx) == 1


def test_a_clock_that_was_set_back_lists_at_once(machine, sandbox):
    fetch_inbounds_when_due(machine.ctx)
    sandbox.text_from(ANN, "STOP")
    machine.clock.set_back(86_400)

    assert fetch_inbounds_when_due(machine.ctx) == 1


def test_restore_mode_ends_only_behind_a_list_of_the_texts_since_the_backup(machine, sandbox):
    fetch_inbounds_when_due(machine.ctx)
    sandbox.text_from(ANN, "STOP")
    machine.store([BOB])
    mark_restored(machine.ctx, actor="op")
    machine.corrupt(Batch, state=BatchState.CANCELLED)

    sandbox.order_fault(on="GET /inbounds", status=503, times=None)
    assert not end_restore_when_done(machine.ctx)
    assert machine.gates().restoring

    sandbox.clear_faults()
    assert end_restore_when_done(machine.ctx)
    assert [row.sender for row in inbounds(machine.ctx)] == [ANN]
    assert not machine.gates().restoring


def test_an_operator_may_end_it_without_that_list(machine, sandbox):
    mark_restored(machine.ctx, actor="op", inbounds=False)
    sandbox.order_fault(on="GET /inbounds", status=503, times=None)

    assert end_restore_when_done(machine.ctx)
    assert machine.audit()[-1].facts == {"inbounds": False, "last_broadcast_id": 0}
