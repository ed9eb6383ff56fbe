"""Events in groups: none is taken for another, and no group is more than can be borne."""

import time

import pytest
from sqlalchemy import delete, insert, select

from app.sms.models.batch import Message
from app.sms.models.reports import Event
from app.webhooks.incoming.apply import apply_events
from tests.factories import many_numbers
from tests.machine import Together
from tests.reporting import batch_report, ends, events, read_all, report, store_events


def test_an_event_under_the_number_of_one_that_somebody_else_applied_is_not_lost(either_machine):
    """SQLite would number its next row as the last one that is gone."""
    ctx = either_machine.ctx
    ann, bob = many_numbers(2)
    either_machine.store([ann, bob])
    either_machine.submit()
    (batch,) = either_machine.batches()

    def tell(number):
        raw = report(number, "Delivered", batch=batch.sinch_id, reference=batch.client_reference)
        return {"received_at": ctx.now(), "raw": raw, "tries": 0}

    with ctx.db.write() as tx:
        tx.execute(insert(Event).values(**tell(ann)))
    with ctx.db.write() as tx:
        slow = Together(lambda: apply_events(ctx))
        time.sleep(0.3)  # it has read what waits, and waits for its turn to write
        tx.execute(delete(Event))
        tx.execute(insert(Event).values(**tell(bob)))
    slow.join()
    apply_events(ctx)

    with ctx.db.read() as tx:
        ended = tx.execute(select(Message.recipient).where(Message.status == "delivered"))
        assert bob in set(ended.scalars())


def _report_all(batch, start):
    """A full report of a thousand numbers from `start` on."""
    digits = [number.lstrip("+") for number in many_numbers(1_000, start=start)]
    status = {"status": "Delivered", "code": 0, "count": 1_000, "recipients": digits}
    return batch_report([status], batch=batch.sinch_id, reference=batch.client_reference)


@pytest.mark.slow
def test_a_pile_of_full_reports_is_worked_off(either_machine):
    """More numbers than one question may have: 250,000 on SQLite, 65,535 on PostgreSQL."""
    machine = either_machine
    broadcast = machine.store(many_numbers(2))
    machine.submit()
    count = 300 if machine.ctx.db.is_sqlite else 80
    reports = [_report_all(machine.batch(), 1_000 * number) for number in range(count)]
    store_events(machine.ctx, *reversed(reports))

    while apply_events(machine.ctx):
        pass

    assert [status for status, _ in ends(machine.ctx, broadcast).values()] == ["delivered"] * 2
    assert events(machine.ctx) == []


@pytest.mark.parametrize("named", [True, False])
def test_what_tells_of_thousands_is_booked_a_few_thousand_at_a_time(machine, named):
    """Who books keeps all others from writing."""
    machine.store(many_numbers(10_000), size=1_000)
    machine.submit_all()
    alike = {"status": "Delivered", "code": 0, "count": 1_000}
    for number, batch in enumerate(machine.batches()):
        raw = batch_report([alike], batch=batch.sinch_id, reference=batch.client_reference)
        store_events(machine.ctx, _report_all(batch, 1_000 * number) if named else raw)

    looked_at = apply_events(machine.ctx)

    booked = [row for row in read_all(machine.ctx, Message) if row.status is not None]
    assert 1_000 <= len(booked) == 1_000 * looked_at <= 4_000
    while apply_events(machine.ctx):
        pass
    assert {batch.ended for batch in machine.batches()} == {1_000}
