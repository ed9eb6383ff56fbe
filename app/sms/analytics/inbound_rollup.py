"""Roll-up of inbound texts into the daily counters, each once, in the order of their ids.

The transaction that adds to the counters also stores the last id added.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Connection, Row, func, select, text

from app.db.base import table_of
from app.db.engine import make_upserts
from app.db.facts import read_metadata, set_metadata
from app.db.old_rows import Stop, never
from app.failpoints import failpoints
from app.keywords.classify import KeywordIntent, classify_texts
from app.sinch.schemas import read_texts
from app.sms.context import Context
from app.sms.lifecycle.locks import lock_counters
from app.sms.models.broadcast import Broadcast
from app.sms.models.daily import DailyInbound
from app.sms.models.reports import Inbound

# Classifying a text takes some 100 µs of a transaction that blocks others.
_PAGE_SIZE = 300
_OPT_OUTS = (KeywordIntent.STOP, KeywordIntent.MAYBE_STOP)
_LAST_ID_KEY = "rolled_up_inbounds"

_INBOUNDS, _BROADCASTS, _DAILY = table_of(Inbound), table_of(Broadcast), table_of(DailyInbound)
_ADD = make_upserts(_DAILY, add=("inbounds", "opt_outs"))


def roll_up_inbounds(ctx: Context, *, stop: Stop = never) -> int:
    """Add new inbound texts to the counters, until `stop`.  Returns how many."""
    ctx.require_own_database()
    added = 0
    while not stop() and (count := _add_next(ctx)):
        added += count
    return added


def _add_next(ctx: Context) -> int:
    with ctx.db.read() as tx:
        if read_counted(tx) == _find_newest(tx):
            return 0
    with ctx.db.write() as tx:
        lock_counters(tx)
        if not ctx.db.is_sqlite:
            # Ids are assigned before they are committed: wait until no smaller one can appear.
            # Transactions that store a text never wait for the counters.
            tx.execute(text("LOCK TABLE inbounds IN SHARE MODE"))
        # SQLite assigns the ids of deleted newest rows again.
        after = min(read_counted(tx), _find_newest(tx))
        rows = _select_next(tx, after)
        _add_counts(tx, rows)
        set_metadata(tx, _LAST_ID_KEY, str(rows[-1].id if rows else after))
        failpoints.reach("R2")
    return len(rows)


def _select_next(tx: Connection, after: int) -> Sequence[Row[Any]]:
    query = (
        select(
            _INBOUNDS.c.id,
            _INBOUNDS.c.recorded_at,
            _INBOUNDS.c.kind,
            _INBOUNDS.c.body,
            _BROADCASTS.c.client,
        )
        .outerjoin(_BROADCASTS, _BROADCASTS.c.id == _INBOUNDS.c.broadcast_id)
        .where(_INBOUNDS.c.id > after)
        .order_by(_INBOUNDS.c.id)
        .limit(_PAGE_SIZE)
    )
    rows: Sequence[Any] = tx.execute(query).all()
    return rows


def _add_counts(tx: Connection, rows: Sequence[Row[Any]]) -> None:
    inbounds, opt_outs = Counter[tuple[date, str]](), Counter[tuple[date, str]]()
    for row in rows:
        key = row.recorded_at.date(), row.client or ""
        inbounds[key] += 1
        intent = classify_texts(read_texts(row.kind, row.body)).intent
        opt_outs[key] += intent in _OPT_OUTS
    added = [
        {"day": day, "client": client, "inbounds": count, "opt_outs": opt_outs[day, client]}
        for (day, client), count in sorted(inbounds.items())
    ]
    if added:
        tx.execute(_ADD[tx.dialect.name], added)


def _find_newest(tx: Connection) -> int:
    return tx.execute(select(func.max(_INBOUNDS.c.id))).scalar() or 0


def read_counted(tx: Connection) -> int:
    """Return the id of the last inbound text that the counters contain."""
    return int(read_metadata(tx, _LAST_ID_KEY) or 0)
