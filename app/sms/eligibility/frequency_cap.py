"""Daily cap on marketing texts per recipient: count, record and purge the sends."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from app.db.base import table_of
from app.db.engine import make_upserts
from app.db.old_rows import OldRows
from app.db.prepared import Prepared
from app.sms.context import Context
from app.sms.models.batch import MarketingSend

CAP_PERIOD = timedelta(days=1)
_SENDS = table_of(MarketingSend)
_RECORD = Prepared(make_upserts(_SENDS, replace=("at",)))
# Two transactions that count at the same time would both find room for one more text.
_LOCK_COUNTS = text("SELECT pg_advisory_xact_lock(7245013002)")


def lock_marketing_counts(tx: Connection, ctx: Context) -> None:
    """Lock the counting of marketing texts until the end of this transaction."""
    if ctx.subscriber_rules.marketing_per_day and tx.dialect.name != "sqlite":
        tx.execute(_LOCK_COUNTS)


def record_marketing_sends(
    tx: Connection, ctx: Context, recipients: Sequence[str], *, batch_id: int, now: datetime
) -> None:
    """Record that each recipient gets a marketing text with this batch."""
    if ctx.subscriber_rules.marketing_per_day:
        rows = [{"phone": phone, "batch_id": batch_id, "at": now} for phone in recipients]
        _RECORD.change_each(tx, rows)


def old_sends(ctx: Context) -> OldRows:
    """Return the sends that are older than twice the cap's period."""
    return OldRows(_SENDS, _SENDS.c.at < ctx.now() - 2 * CAP_PERIOD)
