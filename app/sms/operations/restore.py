"""A database that came back from a backup: what it holds as unsent may long have been sent.

Everything not ended becomes UNKNOWN and is looked for at Sinch, under references that a batch has
always had, before anything is claimed again.  What Sinch does not show then needs an operator.
"""

from loguru import logger
from sqlalchemy import func, select, update

from app.db.audit import write_audit
from app.sms.audience.plan import find_unplanned, plan_broadcast
from app.sms.context import Context
from app.sms.inbound.receive import (
    fetch_inbounds_when_due,
    mark_listed,
    restart_listing,
    were_listed,
)
from app.sms.lifecycle.gates import begin_restore, end_restore, read_gates
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import BatchState

_S = BatchState
_IN_DOUBT = (_S.PENDING, _S.SENDING, _S.HELD)
_NOT_ABSENT = {"not_found_count": 0, "absent_at": None, "absent_before_at": None}


def mark_restored(ctx: Context, *, actor: str, inbounds: bool = True) -> int:
    """Enter restore mode; how many batches are in doubt.

    Without `inbounds` it ends although the texts since the backup could not be listed.
    Audiences that were not looked up or cut yet are now: their batches may have been sent, too.
    """
    now = ctx.now()
    with ctx.db.write() as tx:
        newest = select(func.coalesce(func.max(Broadcast.id), 0))
        begin_restore(tx, now=now, last_broadcast_id=tx.execute(newest).scalar_one())
        if inbounds:
            restart_listing(tx)
        else:
            mark_listed(tx, now)
        doubtful = update(Batch).where(Batch.state.in_(_IN_DOUBT))
        tx.execute(
            doubtful.values(state=_S.UNKNOWN, unknown_at=now, lease_until=None, not_before=None)
        )
        # What a list said before the backup counts no more: it may have been sent since.
        again = update(Batch).where(Batch.state.in_((_S.UNKNOWN, _S.NEEDS_ATTENTION)))
        tx.execute(again.values(next_reconcile_at=now, reconcile_attempts=0, **_NOT_ABSENT))
        write_audit(
            tx,
            now=now,
            actor=actor,
            action="restored",
            subject="database",
            facts={"inbounds": inbounds},
        )
    for broadcast_id in find_unplanned(ctx):
        while plan_broadcast(ctx, broadcast_id):
            pass
    with ctx.db.read() as tx:
        in_doubt = select(Batch.id).where(Batch.state == _S.UNKNOWN)
        return len(tx.execute(in_doubt).all())


def end_restore_when_done(ctx: Context) -> bool:
    """Leave restore mode once a clean list answered for every batch in doubt; whether it did.

    And once the texts that came since the backup were listed: a STOP may be among them.

    One that no list answers for ends with an operator's call, and then waits for that alone.
    """
    with ctx.db.read() as tx:
        since = read_gates(tx, ctx.rules, ctx.now()).restoring_since
        if since is None:
            return False
        listed = were_listed(tx, since=since)
    if not listed and fetch_inbounds_when_due(ctx) is None:
        return False
    with ctx.db.read() as tx:
        # A clean list that shows it moves a batch on, one that does not is counted.
        unanswered = select(Batch.id).where(Batch.state == _S.UNKNOWN, Batch.not_found_count == 0)
        unasked = select(Batch.id).where(
            Batch.state == _S.NEEDS_ATTENTION, Batch.reconcile_attempts == 0
        )
        for query in (unanswered, unasked):
            if tx.execute(query.limit(1)).first() is not None:
                return False
    if find_unplanned(ctx):
        return False
    with ctx.db.write() as tx:
        end_restore(tx)
    logger.warning("restore mode ends: every batch in doubt was looked for at sinch")
    return True
