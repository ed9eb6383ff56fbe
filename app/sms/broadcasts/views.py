"""Broadcasts with their counts: one, or a page of them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, case, func, or_, select

from app.config.keys import OWN_CLIENT
from app.db.base import table_of
from app.pagination import Page, read_newest
from app.sms.analytics.delivery import DeliveryFigures, read_delivery
from app.sms.audience.grown import HAS_GROWN
from app.sms.broadcasts.progress import Progress, read_progress
from app.sms.context import Context
from app.sms.lifecycle.counts import (
    BroadcastCounts,
    StatusCode,
    count_by_status_code,
    describe_exclusion,
    read_counts,
    total_by_status,
)
from app.sms.lifecycle.find import find_broadcast
from app.sms.messages.list import MessageView, list_in
from app.sms.messages.queries import MessageFilter
from app.sms.models.batch import Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import (
    AT_SINCH,
    BatchState,
    BroadcastStatus,
    CancelRequestState,
    ExclusionReason,
)
from app.sms.models.statuses import MessageStatus

_MAX_STUCK = 20

_BROADCASTS, _BATCHES = table_of(Broadcast), table_of(Batch)

# What belongs to one person's thread: texts that Clarion sends by itself, and answers of users.
_IS_IN_THREAD = and_(
    _BROADCASTS.c.recipients == 1,
    or_(
        _BROADCASTS.c.client == OWN_CLIENT, _BROADCASTS.c.options["answer"].as_string().is_not(None)
    ),
)


@dataclass(frozen=True, slots=True)
class BroadcastView:
    """A broadcast's row and its counts.

    `by_status_code` and `counts` are recipients, by status and code and by status alone; `batches`
    are batches by state; `cancel_requests` are the recipients of batches that Sinch was to cancel,
    by what came of it; `exclusions` are excluded and deferred recipients by reason and end;
    `resend_of` is the broadcast whose unreached recipients this one is for; `progress` is left out
    of the answer to a request; `kept_until` is when its text and numbers will be deleted, None
    while that is not known and after it was done.
    """

    row: Row[Any]
    seen_at: datetime
    totals: BroadcastCounts
    by_status_code: dict[StatusCode, int]
    counts: dict[str, int]
    batches: dict[str, int]
    cancel_requests: Mapping[CancelRequestState, int]
    exclusions: list[dict[str, Any]]
    resend_of: str | None
    progress: Progress
    kept_until: datetime | None

    @property
    def stopped_at_sinch(self) -> int:
        """The number of recipients of batches that Sinch cancelled on our request."""
        return self.cancel_requests.get(CancelRequestState.CANCELLED, 0)

    @property
    def excluded(self) -> dict[str, int]:
        """The number of excluded and deferred recipients, by reason."""
        excluded = Counter[str]()
        for group in self.exclusions:
            excluded[group["reason"]] += group["recipients"]
        return dict(excluded)

    @property
    def deferred(self) -> tuple[int, datetime | None]:
        """The number of recipients who wait for a time, and the latest of these times."""
        groups = [each for each in self.exclusions if ExclusionReason(each["reason"]).defers]
        times = [datetime.fromisoformat(each["until"]) for each in groups if each["until"]]
        return sum(each["recipients"] for each in groups), max(times, default=None)

    @property
    def status(self) -> str:
        """Its status; `unknown` while only batches with an unknown outcome are left."""
        sending = self.row.status in (BroadcastStatus.SENDING, BroadcastStatus.QUEUED)
        waiting = ("pending", "sending", "held")
        if sending and self.batches.get("unknown") and not any(map(self.batches.get, waiting)):
            planned = self.row.planned == self.row.chunks and not self.row.resolving
            return "unknown" if planned else str(self.row.status)
        return str(self.row.status.value)


def view_broadcast(ctx: Context, public_id: str) -> BroadcastView:
    """Return a broadcast by its public id.  Raises NotFound."""
    with ctx.db.read() as tx:
        return _view(tx, ctx, [find_broadcast(tx, ctx, public_id)])[0]


def view_delivery(ctx: Context, public_id: str) -> tuple[BroadcastView, DeliveryFigures]:
    """Return a broadcast and its delivery, as they are at one moment.  Raises NotFound."""
    with ctx.db.read() as tx:
        view = _view(tx, ctx, [find_broadcast(tx, ctx, public_id)])[0]
        delivered = view.counts[MessageStatus.DELIVERED.value]
        return view, read_delivery(tx, view.row, delivered=delivered, now=view.seen_at)


def view_messages(
    ctx: Context, public_id: str, *, cursor: str | None, limit: int, wanted: MessageFilter
) -> tuple[BroadcastView, Page[MessageView]]:
    """Return a broadcast and a page of its messages, at one moment.  Raises NotFound."""
    with ctx.db.read() as tx:
        view = _view(tx, ctx, [find_broadcast(tx, ctx, public_id)])[0]
        return view, list_in(tx, view.row, cursor=cursor, limit=limit, wanted=wanted)


def view_by_id(ctx: Context, broadcast_id: int) -> BroadcastView:
    with ctx.db.read() as tx:
        row = tx.execute(select(_BROADCASTS).where(_BROADCASTS.c.id == broadcast_id)).one()
        return _view(tx, ctx, [row], with_progress=False)[0]


def _view(
    tx: Connection, ctx: Context, rows: Sequence[Row[Any]], *, with_progress: bool = True
) -> list[BroadcastView]:
    if not rows:
        return []
    progress = read_progress(tx, ctx, rows) if with_progress else {}
    ids = [row.id for row in rows]
    totals = read_counts(tx, ids)
    cancelled = [row.id for row in rows if row.status is BroadcastStatus.CANCELLED]
    cancel_requests = _count_cancel_requests(tx, cancelled)
    resent = [row.resend_of for row in rows if row.resend_of is not None]
    public_ids = _read_public_ids(tx, resent)
    exclusions = _describe_exclusions(tx, ids)
    views = []
    for row in rows:
        by_status_code = count_by_status_code(row, totals[row.id])
        views.append(
            BroadcastView(
                row=row,
                seen_at=ctx.now(),
                totals=totals[row.id],
                by_status_code=by_status_code,
                counts=total_by_status(by_status_code),
                batches={state.value: n for state, n in totals[row.id].batches.items()},
                cancel_requests=cancel_requests[row.id],
                exclusions=exclusions[row.id],
                resend_of=public_ids.get(row.resend_of),
                progress=progress.get(row.id, Progress()),
                kept_until=_find_kept_until(ctx, row),
            )
        )
    return views


def _describe_exclusions(
    tx: Connection, broadcast_ids: Sequence[int]
) -> Mapping[int, list[dict[str, Any]]]:
    """Return who is excluded and deferred, by broadcast."""
    is_pending = _BATCHES.c.state == BatchState.PENDING
    # One that waits until its broadcast's end waits for an operator, see caps.budget.
    is_deferred = and_(is_pending, _BATCHES.c.not_before < _BROADCASTS.c.expires_at)
    until = case((is_deferred, _BATCHES.c.not_before)).label("until")
    key = _BATCHES.c.broadcast_id, _BATCHES.c.exclusion_reason, until
    query = (
        select(*key, func.sum(_BATCHES.c.size))
        .join(_BROADCASTS, _BROADCASTS.c.id == _BATCHES.c.broadcast_id)
        .where(_BATCHES.c.broadcast_id.in_(broadcast_ids))
        .where(_BATCHES.c.exclusion_reason.is_not(None))
        .where(is_pending | (_BATCHES.c.state == BatchState.SUPPRESSED))
        .group_by(*key[:2], "until")
        .order_by(_BATCHES.c.exclusion_reason, "until")
    )
    exclusions: Mapping[int, list[dict[str, Any]]] = defaultdict(list)
    for broadcast_id, *group in tx.execute(query):
        exclusions[broadcast_id].append(describe_exclusion(*group))
    return exclusions


def _find_kept_until(ctx: Context, row: Row[Any]) -> datetime | None:
    if row.all_reported_at is None or row.purged_at is not None:
        return None
    until: datetime = row.all_reported_at + timedelta(seconds=ctx.rules.messages_kept_s)
    return until


def _count_cancel_requests(
    tx: Connection, broadcast_ids: Sequence[int]
) -> Mapping[int, dict[CancelRequestState, int]]:
    found: Mapping[int, dict[CancelRequestState, int]] = defaultdict(dict)
    if broadcast_ids:
        query = (
            select(
                Batch.broadcast_id, Batch.cancel_request, func.sum(Batch.size).label("recipients")
            )
            .where(Batch.broadcast_id.in_(broadcast_ids), Batch.cancel_request.is_not(None))
            .group_by(Batch.broadcast_id, Batch.cancel_request)
        )
        for row in tx.execute(query):
            found[row.broadcast_id][row.cancel_request] = int(row.recipients)
    return found


def _read_public_ids(tx: Connection, broadcast_ids: Sequence[int]) -> Mapping[int, str]:
    if not broadcast_ids:
        return {}
    query = select(Broadcast.id, Broadcast.public_id).where(Broadcast.id.in_(broadcast_ids))
    return dict(tx.execute(query).all())


def list_broadcasts(
    ctx: Context,
    *,
    cursor: int | None = None,
    limit: int = 50,
    status: BroadcastStatus | None = None,
    client: str | None = None,
    reference: str | None = None,
    with_threads: bool = True,
) -> Page[BroadcastView]:
    """List the broadcasts that the viewer sees and that match all given filters, newest first.

    Without `with_threads`, what belongs to one person's thread is left out.
    """
    query = select(_BROADCASTS).where(ctx.viewer.sees(_BROADCASTS.c.client))
    if status is not None:
        query = query.where(Broadcast.status == status)
    if client is not None:
        query = query.where(Broadcast.client == client)
    if reference is not None:
        query = query.where(Broadcast.reference == reference)
    if not with_threads:
        query = query.where(~_IS_IN_THREAD)
    with ctx.db.read() as tx:
        page = read_newest(tx, query, _BROADCASTS.c.id, cursor=cursor, limit=limit)
        return Page(_view(tx, ctx, page.rows), page.cursor)


def list_newest(
    ctx: Context, statuses: Iterable[BroadcastStatus], *, limit: int
) -> list[BroadcastView]:
    """List the newest broadcasts of each status, all as they are at one moment, without threads.

    Otherwise a broadcast that changes its status meanwhile could be in no list.
    """
    newest = (
        select(_BROADCASTS)
        .where(ctx.viewer.sees(_BROADCASTS.c.client), ~_IS_IN_THREAD)
        .order_by(_BROADCASTS.c.id.desc())
        .limit(limit)
    )
    with ctx.db.read() as tx:
        rows: list[Row[Any]] = []
        for status in statuses:
            rows += tx.execute(newest.where(_BROADCASTS.c.status == status)).all()
        return _view(tx, ctx, rows)


def list_stuck(ctx: Context) -> list[Row[Any]]:
    """List rows of broadcasts that wait for a person: halted, not started in time, or grown."""
    is_stuck = _BROADCASTS.c.status.in_((BroadcastStatus.HALTED, BroadcastStatus.MISSED_START))
    query = select(_BROADCASTS).where(or_(is_stuck, HAS_GROWN)).order_by(_BROADCASTS.c.id)
    with ctx.db.read() as tx:
        return list(tx.execute(query.limit(_MAX_STUCK)).all())


def list_batch_ids(ctx: Context, broadcast_id: int, *, limit: int = 1_000) -> list[str]:
    """List Sinch's ids of the batches that it accepted, in the order they were planned."""
    query = (
        select(_BATCHES.c.sinch_id)
        .where(_BATCHES.c.broadcast_id == broadcast_id, _BATCHES.c.state.in_(AT_SINCH))
        .where(_BATCHES.c.sinch_id.is_not(None))
        .order_by(_BATCHES.c.id)
    )
    with ctx.db.read() as tx:
        return list(tx.execute(query.limit(limit)).scalars())
