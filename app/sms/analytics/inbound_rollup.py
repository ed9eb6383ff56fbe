"""Texts from phones are added to their sums by day, each once: in the order they were kept.

How far that has come is kept with the sums, in the same transaction.
"""

from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, func, null, select, text
from sqlalchemy.dialects import postgresql, sqlite

from app.db.base import table_of
from app.db.facts import read_metadata, set_metadata
from app.failpoints import failpoints
from app.keywords.classify import classify_keyword
from app.keywords.intent import KeywordIntent
from app.sms.context import Context
from app.sms.lifecycle.locks import lock_counters
from app.sms.models.broadcast import Broadcast
from app.sms.models.daily import DailyInbound
from app.sms.models.reports import Inbound

# Each is read for what it asks, which takes some 20 µs of a transaction others wait for.
_MOST = 1_000
_OPT_OUTS = (KeywordIntent.STOP, KeywordIntent.MAYBE_STOP)
_COUNTED = "rolled_up_inbounds"

_INBOUNDS, _BROADCASTS, _DAILY = table_of(Inbound), table_of(Broadcast), table_of(DailyInbound)
# Made once: to make a statement costs several times what it takes to run one.
_NEWEST = select(func.max(_INBOUNDS.c.id))
# Numbers are drawn before they are committed: behind this, nobody has one that is not seen yet.
# It waits for whoever keeps a text, who in turn never waits for the books.
_WAIT_FOR_WRITERS = text("LOCK TABLE inbounds IN SHARE MODE")
_NEXT = (
    select(
        _INBOUNDS.c.id,
        _INBOUNDS.c.recorded_at,
        case((_INBOUNDS.c.kind == "mo_text", _INBOUNDS.c.body), else_=null()).label("text"),
        _BROADCASTS.c.client,
    )
    .outerjoin(_BROADCASTS, _BROADCASTS.c.id == _INBOUNDS.c.broadcast_id)
    .where(_INBOUNDS.c.id > bindparam("after"))
    .order_by(_INBOUNDS.c.id)
    .limit(_MOST)
)


def _make_add(build: Any) -> Any:
    statement = build(_DAILY)
    return statement.on_conflict_do_update(
        index_elements=list(_DAILY.primary_key),
        set_={name: _DAILY.c[name] + statement.excluded[name] for name in ("inbounds", "opt_outs")},
    )


_ADD = {"sqlite": _make_add(sqlite.insert), "postgresql": _make_add(postgresql.insert)}


def roll_up_inbounds(ctx: Context, *, stop: Callable[[], bool] = lambda: False) -> int:
    """Add the texts that are not in the sums yet, until `stop`; how many."""
    ctx.require_own_database()
    added = 0
    while not stop() and (some := _add_some(ctx)):
        added += some
    return added


def _add_some(ctx: Context) -> int:
    with ctx.db.read() as tx:
        if read_counted(tx) == _find_newest(tx):
            return 0
    with ctx.db.write() as tx:
        lock_counters(tx)
        if not ctx.db.is_sqlite:
            tx.execute(_WAIT_FOR_WRITERS)
        # Where the newest were deleted, SQLite gives their numbers again.
        after = min(read_counted(tx), _find_newest(tx))
        rows = tx.execute(_NEXT, {"after": after}).all()
        _add(tx, rows)
        set_metadata(tx, _COUNTED, str(rows[-1].id if rows else after))
        failpoints.reach("R2")
    return len(rows)


def _add(tx: Connection, rows: Any) -> None:
    inbounds, opt_outs = Counter[tuple[date, str]](), Counter[tuple[date, str]]()
    for row in rows:
        place = row.recorded_at.date(), row.client or ""
        inbounds[place] += 1
        opt_outs[place] += _is_opt_out(row)
    added = [
        {"day": day, "client": client, "inbounds": count, "opt_outs": opt_outs[day, client]}
        for (day, client), count in sorted(inbounds.items())
    ]
    if added:
        tx.execute(_ADD[tx.dialect.name], added)


def _is_opt_out(row: Row[Any]) -> bool:
    return row.text is not None and classify_keyword(row.text).intent in _OPT_OUTS


def _find_newest(tx: Connection) -> int:
    return tx.execute(_NEWEST).scalar() or 0


def read_counted(tx: Connection) -> int:
    """Up to which text all are in the sums."""
    return int(read_metadata(tx, _COUNTED) or 0)
