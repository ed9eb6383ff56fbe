"""The cap on marketing texts to one person in a day: counted, recorded, forgotten."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, delete, text
from sqlalchemy.dialects import postgresql, sqlite

from app.db.base import table_of
from app.sms.context import Context
from app.sms.models.batch import MarketingSend

CAP_PERIOD = timedelta(days=1)
_SENDS = table_of(MarketingSend)
# Two that count at once would both find room for one text more.
_COUNT_ALONE = text("SELECT pg_advisory_xact_lock(7245013002)")


def _make_note(build: Any) -> Any:
    statement = build(_SENDS)
    return statement.on_conflict_do_update(
        index_elements=list(_SENDS.primary_key), set_={"at": statement.excluded.at}
    )


_NOTE = {"sqlite": _make_note(sqlite.insert), "postgresql": _make_note(postgresql.insert)}


_FORGET = delete(_SENDS).where(_SENDS.c.at < bindparam("before"))


def lock_marketing_counts(tx: Connection, ctx: Context) -> None:
    """Let nobody else count marketing texts until this transaction ends."""
    if ctx.subscriber_rules.marketing_per_day and tx.dialect.name != "sqlite":
        tx.execute(_COUNT_ALONE)


def record_marketing_sends(
    tx: Connection, ctx: Context, recipients: Sequence[str], *, batch_id: int, now: datetime
) -> None:
    """Note for the cap that each of these gets a marketing text with this batch."""
    if ctx.subscriber_rules.marketing_per_day:
        rows = [{"phone": each, "batch_id": batch_id, "at": now} for each in recipients]
        tx.execute(_NOTE[tx.dialect.name], rows)


def purge_old_sends(ctx: Context) -> None:
    """What is older than the cap reaches back is not counted any more."""
    with ctx.db.write() as tx:
        tx.execute(_FORGET, {"before": ctx.now() - 2 * CAP_PERIOD})
