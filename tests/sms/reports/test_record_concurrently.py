"""Whoever books meets those who claim, record, recover and book as well: nobody waits for ever."""

import random

from sqlalchemy import insert

from app.sms.dispatch.claim import Claim, claim_batch
from app.sms.dispatch.outcome import SubmitResult
from app.sms.dispatch.submit import expire_leases
from app.sms.lifecycle.finalize import finalize_stale
from app.sms.models.reports import Event
from app.sms.models.states import BatchState, BroadcastStatus, Outcome
from app.webhooks.incoming.apply import apply_events
from tests.factories import many_numbers
from tests.machine import Together, record_result
from tests.reporting import ends, events, report

_BATCHES, _SIZE, _REPORTERS = 40, 5, 2


def test_reports_verdicts_and_sweeps_at_once_end_in_balanced_books(either_machine):
    machine = either_machine
    dice = random.Random(7)
    broadcasts = [machine.store(many_numbers(_BATCHES * _SIZE // 2), size=_SIZE) for _ in range(2)]
    told = []
    for broadcast in broadcasts:
        references = {row.id: row.client_reference for row in machine.batches(broadcast)}
        for who, home in machine.homes(broadcast).items():
            status = dice.choice(["Delivered", "Failed"])
            name = f"01BATCH{home}"
            told += [report(who, status, batch=name, reference=references[home])] * 2
            told.append(report(who, "Dispatched", 401, batch=name, reference=references[home]))
    dice.shuffle(told)
    done = []

    def send():
        while isinstance(found := claim_batch(machine.ctx), Claim):
            name = f"01BATCH{found.batch_id}"
            record_result(machine.ctx, found, SubmitResult(outcome=Outcome.ACCEPTED, sinch_id=name))

    def hear(part):
        for start in range(0, len(part), 20):
            rows = [
                {"received_at": machine.ctx.now(), "raw": raw, "tries": 0}
                for raw in part[start : start + 20]
            ]
            with machine.ctx.db.write() as tx:
                tx.execute(insert(Event), rows)
        done.append(True)

    def book():
        while apply_events(machine.ctx, limit=50) or len(done) < _REPORTERS:
            pass

    def sweep():
        while len(done) < _REPORTERS:
            expire_leases(machine.ctx)
            finalize_stale(machine.ctx)

    Together(
        send,
        send,
        book,
        book,
        sweep,
        *(lambda part=part: hear(part) for part in (told[::2], told[1::2])),
    ).join()

    assert events(machine.ctx) == []
    for broadcast in broadcasts:
        assert set(machine.states(broadcast)) == {BatchState.ACCEPTED}
        assert all(
            status in ("delivered", "failed") for status, _ in ends(machine.ctx, broadcast).values()
        )
        row = machine.broadcast(broadcast)
        assert row.status is BroadcastStatus.COMPLETE
        assert row.all_reported_at is not None
    assert machine.violations() == []
