"""Several that apply events at once: none is taken for another."""

import time

from sqlalchemy import delete, insert, select

from app.sms.applying import apply_events
from app.sms.models import Message
from app.sms.report_models import Event
from tests.factories import many_numbers
from tests.machine import Together
from tests.reporting import report


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
