"""What anybody may ask about broadcasts: one, or a page of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, func, select

from app.db.base import table_of
from app.errors import NotFound
from app.pagination import Page, make_page
from app.sms.context import Context
from app.sms.lifecycle.counts import (
    BroadcastCounts,
    StatusCode,
    count_by_status_code,
    read_counts,
    total_by_status,
)
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import AT_SINCH, BatchState, BroadcastStatus, CancelRequestState

_BROADCASTS, _BATCHES = table_of(Broadcast), table_of(Batch)
# Made once: to make a statement costs several times what it takes to run one.
_BY_ID = select(_BROADCASTS).where(_BROADCASTS.c.id == bindparam("this"))
_BY_PUBLIC_ID = select(_BROADCASTS).where(_BROADCASTS.c.public_id == bindparam("this"))
_BATCH_IDS = (
    select(_BATCHES.c.sinch_id)
    .where(_BATCHES.c.broadcast_id == bindparam("of"))
    .where(_BATCHES.c.state.in_(AT_SINCH))
    .where(_BATCHES.c.sinch_id.is_not(None))
    .order_by(_BATCHES.c.id)
    .limit(bindparam("most"))
)
_STOPPED = (
    select(_BATCHES.c.broadcast_id, func.sum(_BATCHES.c.size).label("recipients"))
    .where(_BATCHES.c.broadcast_id.in_(bindparam("these", expanding=True)))
    .where(_BATCHES.c.cancel_request == CancelRequestState.CANCELLED)
    .group_by(_BATCHES.c.broadcast_id)
)
_WITHHELD = (
    select(
        _BATCHES.c.broadcast_id,
        _BATCHES.c.exclusion_reason,
        func.sum(_BATCHES.c.size).label("recipients"),
    )
    .where(_BATCHES.c.broadcast_id.in_(bindparam("these", expanding=True)))
    .where(_BATCHES.c.exclusion_reason.is_not(None))
    .where(_BATCHES.c.state.in_((BatchState.SUPPRESSED, BatchState.PENDING)))
    .group_by(_BATCHES.c.broadcast_id, _BATCHES.c.exclusion_reason)
)
_NAMES = select(_BROADCASTS.c.id, _BROADCASTS.c.public_id).where(
    _BROADCASTS.c.id.in_(bindparam("these", expanding=True))
)


@dataclass(frozen=True, slots=True)
class BroadcastView:
    """A broadcast's row, and what its sums say.

    `kinds` are recipients by where they stand and why, `counts` by where they stand, `batches` how
    many batches stand in each state, `withheld` why recipients are suppressed or wait for their
    day; `resend_of` is the broadcast whose unreached recipients it is
    sent to again.
    """

    row: Row[Any]
    sums: BroadcastCounts
    kinds: dict[StatusCode, int]
    counts: dict[str, int]
    batches: dict[str, int]
    stopped_at_sinch: int
    excluded: dict[str, int]
    resend_of: str | None

    @property
    def status(self) -> str:
        """Its status; `unknown` while it only waits for Sinch to say whether it has a batch."""
        sending = self.row.status in (BroadcastStatus.SENDING, BroadcastStatus.QUEUED)
        waiting = ("pending", "sending", "held")
        if sending and self.batches.get("unknown") and not any(map(self.batches.get, waiting)):
            planned = self.row.planned == self.row.chunks and not self.row.resolving
            return "unknown" if planned else str(self.row.status)
        return str(self.row.status.value)


def view_broadcast(ctx: Context, public_id: str) -> BroadcastView:
    """One broadcast.  Raises NotFound."""
    with ctx.db.read() as tx:
        row = tx.execute(_BY_PUBLIC_ID, {"this": public_id}).first()
        if row is None:
            raise NotFound("There is no such broadcast.")
        return _view(tx, [row])[0]


def view_by_id(ctx: Context, broadcast_id: int) -> BroadcastView:
    """One broadcast by its row's id."""
    with ctx.db.read() as tx:
        return _view(tx, [tx.execute(_BY_ID, {"this": broadcast_id}).one()])[0]


def _view(tx: Connection, rows: Sequence[Row[Any]]) -> list[BroadcastView]:
    sums = read_counts(tx, [row.id for row in rows])
    cancelled = [row.id for row in rows if row.status is BroadcastStatus.CANCELLED]
    stopped = _read_pairs(tx, _STOPPED, cancelled)
    again = [row.resend_of for row in rows if row.resend_of is not None]
    names = _read_pairs(tx, _NAMES, again)
    excluded = _read_withheld(tx, [row.id for row in rows])
    views = []
    for row in rows:
        kinds = count_by_status_code(row, sums[row.id])
        views.append(
            BroadcastView(
                row=row,
                sums=sums[row.id],
                kinds=kinds,
                counts=total_by_status(kinds),
                batches={state.value: n for state, n in sums[row.id].batches.items()},
                stopped_at_sinch=int(stopped.get(row.id, 0)),
                excluded=excluded[row.id],
                resend_of=names.get(row.resend_of),
            )
        )
    return views


def _read_withheld(tx: Connection, these: Sequence[int]) -> Mapping[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = defaultdict(dict)
    for row in tx.execute(_WITHHELD, {"these": list(these)}):
        found[row.broadcast_id][row.exclusion_reason.value] = int(row.recipients)
    return found


def _read_pairs(tx: Connection, statement: Select[Any], these: Sequence[int]) -> Mapping[int, Any]:
    """What a statement says of each of these rows; nothing is asked about none."""
    if not these:
        return {}
    return {row[0]: row[1] for row in tx.execute(statement, {"these": list(these)})}


def list_broadcasts(
    ctx: Context,
    *,
    cursor: int | None = None,
    limit: int = 50,
    status: BroadcastStatus | None = None,
    client: str | None = None,
    reference: str | None = None,
) -> Page[BroadcastView]:
    """Broadcasts, newest first, that fit all that is given."""
    query = select(Broadcast.__table__).order_by(Broadcast.id.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(Broadcast.id < cursor)
    if status is not None:
        query = query.where(Broadcast.status == status)
    if client is not None:
        query = query.where(Broadcast.client == client)
    if reference is not None:
        query = query.where(Broadcast.reference == reference)
    with ctx.db.read() as tx:
        page = make_page(tx.execute(query).all(), limit)
        return Page(_view(tx, page.rows), page.cursor)


def list_batch_ids(ctx: Context, broadcast_id: int, *, most: int = 1_000) -> list[str]:
    """Sinch's ids of the batches it has taken, in the order they were cut."""
    with ctx.db.read() as tx:
        rows = tx.execute(_BATCH_IDS, {"of": broadcast_id, "most": most})
        return [str(each) for each in rows.scalars()]
