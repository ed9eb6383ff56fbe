"""Recording of delivery reports: update messages, batches and delivery counts.

A message keeps the report with the highest rank, so order and repetition change nothing.  Only one
transaction records reports at a time, so counts always match the messages.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, String, any_, bindparam, or_, select, update
from sqlalchemy.dialects import postgresql

from app.db.base import table_of
from app.db.engine import make_upserts
from app.db.prepared import Prepared, chunked
from app.phone.e164 import respell
from app.sms.context import Context
from app.sms.lifecycle.latency import NONE, latency_bucket
from app.sms.lifecycle.locks import read_status
from app.sms.models.batch import Batch, Message
from app.sms.models.broadcast import Broadcast
from app.sms.models.reports import DeliveryCount
from app.sms.models.statuses import ENDED, MessageStatus, rank_status
from app.sms.recovery.confirm import (
    LOCK_BATCHES,
    ReportedBatch,
    confirm_accepted,
    was_restored,
)

# Databases limit the number of parameters of a statement.
_PHONES_PER_QUERY = 10_000
_NEVER = datetime.max.replace(tzinfo=UTC)

_BATCHES, _BROADCASTS = table_of(Batch), table_of(Broadcast)
_MESSAGES, _DELIVERY_COUNTS = table_of(Message), table_of(DeliveryCount)

_REPORTED = Prepared(
    select(
        _BATCHES.c.id, _BATCHES.c.broadcast_id, _BATCHES.c.client_reference, _BATCHES.c.sinch_id
    ).where(
        or_(
            _BATCHES.c.client_reference.in_(bindparam("references", expanding=True)),
            _BATCHES.c.sinch_id.in_(bindparam("sinch_ids", expanding=True)),
        )
    )
)
_START = Prepared(
    select(_BROADCASTS.c.created_at, _BROADCASTS.c.send_at, _BROADCASTS.c.purged_at).where(
        _BROADCASTS.c.id == bindparam("broadcast_id")
    )
)
_OF_BROADCAST = select(_MESSAGES).where(_MESSAGES.c.broadcast_id == bindparam("broadcast_id"))
_BY_PHONES = Prepared(
    {
        "sqlite": _OF_BROADCAST.where(
            _MESSAGES.c.recipient.in_(bindparam("phones", expanding=True))
        ),
        # PostgreSQL plans hundreds of parameters six times as long as one array.
        "postgresql": _OF_BROADCAST.where(
            _MESSAGES.c.recipient == any_(bindparam("phones", type_=postgresql.ARRAY(String)))
        ),
    }
)
_UPDATE_MESSAGE = Prepared(
    update(_MESSAGES)
    .where(_MESSAGES.c.broadcast_id == bindparam("of_broadcast_id"))
    .where(_MESSAGES.c.recipient == bindparam("phone"))
    .values(
        status=bindparam("new_status"),
        code=bindparam("new_code"),
        status_at=bindparam("reported_at"),
        recorded_at=bindparam("now"),
    )
)
_ADD_ENDED = Prepared(
    update(_BATCHES)
    .where(_BATCHES.c.id == bindparam("batch_id"))
    .values(
        ended=_BATCHES.c.ended + bindparam("newly_ended"),
        rollup_dirty=True,
        next_report_at=bindparam("report_at"),
    )
)
_UPSERT_COUNT = Prepared(make_upserts(_DELIVERY_COUNTS, add=("messages",)))
# Status, code (or NONE) and latency bucket (or NONE).
_CountKey = tuple[MessageStatus, int, int]


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """A report on one message: by Sinch, or by us if Sinch did not report in time.

    The batch is found by our `reference`, else by `sinch_id`.  `at` is Sinch's time.
    """

    reference: str | None
    sinch_id: str | None
    recipient: str
    status: MessageStatus
    code: int | None
    at: datetime | None

    @property
    def weight(self) -> tuple[int, int, float]:
        """The rank of this report: a total order, so the order of arrival does not matter."""
        return _weigh(self.status, self.code, self.at)


@dataclass(slots=True)
class RecordedReports:
    """Result of recording.

    `placed` and `unplaced` are the reports whose batch was found or not.  `ended` are, by
    broadcast, the reports that gave a message a final status.  `to_finalize` are broadcasts that
    may be complete now.
    """

    placed: list[DeliveryReport] = field(default_factory=list)
    unplaced: list[DeliveryReport] = field(default_factory=list)
    ended: dict[int, list[DeliveryReport]] = field(default_factory=lambda: defaultdict(list))
    to_finalize: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Changes:
    """Changes of one broadcast: messages, counts, and batches with the number of newly ended.

    `reported_in` has, by batch, a Sinch id that a report on one of its messages names.
    """

    counts: Counter[_CountKey] = field(default_factory=Counter)
    ended: Counter[int] = field(default_factory=Counter)
    reported_in: dict[int, str | None] = field(default_factory=dict)
    batch_ids: set[int] = field(default_factory=set)
    messages: list[dict[str, Any]] = field(default_factory=list)


def record_reports(
    tx: Connection, ctx: Context, reports: Sequence[DeliveryReport]
) -> RecordedReports:
    """Record delivery reports.  The caller holds lock_counters."""
    recorded = RecordedReports()
    batches = _find_batches(tx, reports)
    by_broadcast: dict[int, dict[str, DeliveryReport]] = defaultdict(dict)
    sinch_ids: dict[int, set[str]] = defaultdict(set)
    for report in reports:
        batch = batches.get(report.reference) or batches.get(report.sinch_id)
        if batch is None:
            recorded.unplaced.append(report)
            continue
        recorded.placed.append(report)
        if report.sinch_id:
            sinch_ids[batch.id].add(report.sinch_id)
        best = by_broadcast[batch.broadcast_id]
        other = best.get(report.recipient)
        if other is None or report.weight > other.weight:
            best[report.recipient] = report
    for broadcast_id in sorted(by_broadcast):
        _record_broadcast(tx, ctx, broadcast_id, by_broadcast[broadcast_id], sinch_ids, recorded)
    return recorded


def _find_batches(
    tx: Connection, reports: Iterable[DeliveryReport]
) -> Mapping[str | None, Row[Any]]:
    """Find the reported batches, by our reference and by Sinch's id."""
    references = {report.reference for report in reports if report.reference}
    sinch_ids = {report.sinch_id for report in reports if report.sinch_id}
    ids = {"references": list(references), "sinch_ids": list(sinch_ids)}
    rows = _REPORTED.fetch(tx, ids)
    by_sinch_id = {row.sinch_id: row for row in rows if row.sinch_id}
    return by_sinch_id | {row.client_reference: row for row in rows}


def _record_broadcast(
    tx: Connection,
    ctx: Context,
    broadcast_id: int,
    best: Mapping[str, DeliveryReport],
    sinch_ids: Mapping[int, set[str]],
    recorded: RecordedReports,
) -> None:
    now = ctx.now()
    status = read_status(tx, broadcast_id)
    sent = _START.first(tx, {"broadcast_id": broadcast_id})
    if sent.purged_at is not None:
        return  # its counts are final: its messages are being deleted
    start = sent.send_at or sent.created_at
    changes = _Changes()
    best = {respell(phone): report for phone, report in best.items()} | dict(best)
    for row in _find_messages(tx, broadcast_id, list(best)):
        report = best[row.recipient]
        if report.recipient != row.recipient:
            report = replace(report, recipient=row.recipient)
        changes.ended[row.batch_id] += 0
        changes.reported_in[row.batch_id] = report.sinch_id
        if row.status is not None:
            if report.weight <= _weigh(row.status, row.code, row.status_at):
                continue
            at = row.status_at or row.recorded_at
            changes.counts[_make_count_key(row.status, row.code, at, start)] -= 1
        at = report.at or now
        changes.counts[_make_count_key(report.status, report.code, at, start)] += 1
        if report.status in ENDED:
            recorded.ended[broadcast_id].append(report)
            changes.ended[row.batch_id] += row.status not in ENDED
        changes.batch_ids.add(row.batch_id)
        changes.messages.append(
            {
                "of_broadcast_id": broadcast_id,
                "phone": row.recipient,
                "new_status": report.status,
                "new_code": report.code,
                "reported_at": report.at,
                "now": now,
            }
        )
    _update_batches(tx, ctx, changes, sinch_ids, status, recorded)
    if changes.messages:
        changes.messages.sort(key=lambda message: str(message["phone"]))
        _UPDATE_MESSAGE.change_each(tx, changes.messages)
    _add_counts(tx, broadcast_id, changes.counts)


def _update_batches(
    tx: Connection,
    ctx: Context,
    changes: _Changes,
    sinch_ids: Mapping[int, set[str]],
    status: Any,
    recorded: RecordedReports,
) -> None:
    """Count ended messages, and confirm that Sinch accepted each reported batch."""
    updates = []
    for row in LOCK_BATCHES.fetch(tx, {"batch_ids": list(changes.ended)}):
        named = sorted(sinch_ids.get(row.id, ()))
        other = changes.reported_in[row.id]
        if other and not named and not row.sinch_id and was_restored(tx, row.broadcast_id):
            # Before the restore this message was in another batch.  The full report of that batch
            # will tell for whom else of this one it was sent.
            named = [other]
        reported = ReportedBatch(row, named, status)
        if confirm_accepted(tx, ctx, reported):
            recorded.to_finalize.add(row.broadcast_id)
        if row.id in changes.batch_ids:
            newly_ended = changes.ended[row.id]
            all_ended = row.ended + newly_ended >= row.size
            next_at = row.next_report_at or ctx.first_report_at()
            report_at = None if all_ended else next_at
            updates.append({"batch_id": row.id, "newly_ended": newly_ended, "report_at": report_at})
            if all_ended:
                recorded.to_finalize.add(row.broadcast_id)
    if updates:
        _ADD_ENDED.change_each(tx, updates)


def _find_messages(tx: Connection, broadcast_id: int, phones: Sequence[str]) -> list[Row[Any]]:
    return [
        row
        for some in chunked(phones, _PHONES_PER_QUERY)
        for row in _BY_PHONES.fetch(tx, {"broadcast_id": broadcast_id, "phones": some})
    ]


def _make_count_key(
    status: MessageStatus, code: int | None, at: datetime, start: datetime
) -> _CountKey:
    """Return the key of the delivery count that a message belongs to."""
    delivered = status is MessageStatus.DELIVERED
    bucket = latency_bucket((at - start).total_seconds()) if delivered else NONE
    return status, NONE if code is None else code, bucket


def _weigh(status: MessageStatus, code: int | None, at: datetime | None) -> tuple[int, int, float]:
    return rank_status(status), NONE if code is None else code, -(at or _NEVER).timestamp()


def _add_counts(tx: Connection, broadcast_id: int, counts: Mapping[_CountKey, int]) -> None:
    rows = [
        {
            "broadcast_id": broadcast_id,
            "status": status,
            "code": code,
            "bucket": bucket,
            "messages": messages,
        }
        for (status, code, bucket), messages in sorted(counts.items())
        if messages
    ]
    if rows:
        _UPSERT_COUNT.change_each(tx, rows)
