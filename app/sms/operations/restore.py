"""Restore mode: after a backup was restored, a batch stored as unsent may have been sent since.

Every batch without a final state becomes UNKNOWN and is looked up at Sinch by its reference, which
a restored database derives again.  Until then no batch is claimed.  A batch that Sinch does not
list needs attention.  Users have to sign in again.
"""

from loguru import logger
from sqlalchemy import Connection, and_, func, select, update

from app.accounts.users import end_all_access
from app.db.audit import write_audit
from app.db.facts import delete_metadata
from app.db.schema import BACKUP_OF
from app.keys.restored import mark_keys_restored
from app.sms.audience.plan import find_unplanned, plan_broadcast
from app.sms.context import Context
from app.sms.inbound.receive import fetch_inbounds_when_due, read_listed_at, set_listed_at
from app.sms.lifecycle.gates import add_in_doubt, begin_restore, end_restore, read_gates
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import BatchState
from app.sms.recovery.confirm import RESTORED, RESTORED_SUBJECT

_S = BatchState
_IN_DOUBT = (_S.PENDING, _S.SENDING, _S.HELD)
_NOT_ABSENT = {"not_found_count": 0, "absent_at": None, "absent_before_at": None}


def mark_restored(
    ctx: Context, *, actor: str, inbounds: bool = True, revoke_keys: bool = False
) -> int:
    """Enter restore mode.  Returns the number of batches in doubt.

    If `inbounds` is False, restore mode does not wait for the inbounds since the backup.
    `revoke_keys` ends all keys of the database: some may have been revoked since.  Audiences
    without batches get theirs now: they may have been sent, too.
    """
    now = ctx.now()
    with ctx.db.write() as tx:
        newest = select(func.coalesce(func.max(Broadcast.id), 0))
        last_broadcast_id: int = tx.execute(newest).scalar_one()
        begin_restore(tx, now=now, last_broadcast_id=last_broadcast_id)
        delete_metadata(tx, BACKUP_OF)
        set_listed_at(tx, None if inbounds else now)
        doubtful = update(Batch).where(Batch.state.in_(_IN_DOUBT))
        tx.execute(
            doubtful.values(state=_S.UNKNOWN, unknown_at=now, lease_until=None, not_before=None)
        )
        # Lists read before the backup prove nothing: the batch may have been sent since.
        unresolved = update(Batch).where(Batch.state.in_((_S.UNKNOWN, _S.NEEDS_ATTENTION)))
        again = {"next_reconcile_at": now, "reconcile_attempts": 0, **_NOT_ABSENT}
        add_in_doubt(tx, tx.execute(unresolved.values(again)).rowcount)
        end_all_access(tx)
        mark_keys_restored(tx, now, revoke=revoke_keys)
        write_audit(
            tx,
            now,
            actor,
            RESTORED,
            RESTORED_SUBJECT,
            inbounds=inbounds,
            last_broadcast_id=last_broadcast_id,
            **{"keys": "revoked"} if revoke_keys else {},
        )
    for broadcast_id in find_unplanned(ctx):
        while plan_broadcast(ctx, broadcast_id):
            pass
    with ctx.db.read() as tx:
        in_doubt = select(Batch.id).where(Batch.state == _S.UNKNOWN)
        return len(tx.execute(in_doubt).all())


def count_looked_up(ctx: Context) -> tuple[int, int]:
    """Return how many batches in doubt Sinch's list was read for, and how many there were."""
    with ctx.db.read() as tx:
        left = _count_not_looked_up(tx)
        # At first by an earlier version, which kept no number.
        in_doubt = max(read_gates(tx, ctx.rules, ctx.now()).restored_in_doubt, left)
    return in_doubt - left, in_doubt


def _count_not_looked_up(tx: Connection) -> int:
    """Return how many batches in doubt Sinch's list has not been read for."""
    # A clean list either moves a batch or increases its `not_found_count`.
    unlisted = and_(Batch.state == _S.UNKNOWN, Batch.not_found_count == 0)
    not_looked_up = and_(Batch.state == _S.NEEDS_ATTENTION, Batch.reconcile_attempts == 0)
    queries = (select(func.count()).where(either) for either in (unlisted, not_looked_up))
    return sum(tx.execute(query).scalar_one() for query in queries)


def end_restore_when_done(ctx: Context) -> bool:
    """Leave restore mode once every batch in doubt was looked up.  Returns True if it ended.

    It also waits until the inbounds since the backup were listed: a STOP may be among them.  A
    batch whose list cannot be read gets NEEDS_ATTENTION, and then waits for one clean list only.
    """
    with ctx.db.read() as tx:
        since = read_gates(tx, ctx.rules, ctx.now()).restoring_since
        if since is None:
            return False
        listed_at = read_listed_at(tx)
    if (listed_at is None or listed_at < since) and fetch_inbounds_when_due(ctx) is None:
        return False
    with ctx.db.read() as tx:
        if _count_not_looked_up(tx):
            return False
    if find_unplanned(ctx):
        return False
    with ctx.db.write() as tx:
        end_restore(tx)
    logger.warning("restore mode ends: every batch in doubt was looked up at sinch")
    return True
