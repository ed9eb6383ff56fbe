"""What Sinch tells of messages goes into the books: messages, their batches, and the sums of them.

A message keeps the report that outweighs the others, so that order and repetition change nothing.
Whoever books holds the books alone: sums follow their messages without a gap.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, String, any_, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.db.base import table_of
from app.sms.context import Context
from app.sms.lifecycle.latency import NONE, latency_bucket
from app.sms.lifecycle.locks import LOCK_STATUS
from app.sms.models.batch import Batch, Message
from app.sms.models.broadcast import Broadcast
from app.sms.models.reports import DeliveryCount
from app.sms.models.statuses import ENDED, MessageStatus, rank_status
from app.sms.recovery.confirm import HELD_BATCHES, ReportedBatch, confirm_accepted

# No database takes any number of parameters.
_MOST_AT_ONCE = 10_000
_NEVER = datetime.max.replace(tzinfo=UTC)

_BATCHES, _BROADCASTS = table_of(Batch), table_of(Broadcast)
_MESSAGES, _TALLIES = table_of(Message), table_of(DeliveryCount)

_PLACES = select(
    _BATCHES.c.id, _BATCHES.c.broadcast_id, _BATCHES.c.client_reference, _BATCHES.c.sinch_id
)
_BY_REFERENCE = _PLACES.where(_BATCHES.c.client_reference.in_(bindparam("these", expanding=True)))
_BY_SINCH_ID = _PLACES.where(_BATCHES.c.sinch_id.in_(bindparam("these", expanding=True)))
_START = select(_BROADCASTS.c.created_at, _BROADCASTS.c.send_at).where(
    _BROADCASTS.c.id == bindparam("this")
)
_OF_BROADCAST = select(_MESSAGES).where(_MESSAGES.c.broadcast_id == bindparam("of"))
_KNOWN = {
    "sqlite": _OF_BROADCAST.where(_MESSAGES.c.recipient.in_(bindparam("these", expanding=True))),
    # Hundreds of parameters take PostgreSQL six times as long to plan as one list.
    "postgresql": _OF_BROADCAST.where(
        _MESSAGES.c.recipient == any_(bindparam("these", type_=postgresql.ARRAY(String)))
    ),
}
_REPORT = (
    update(_MESSAGES)
    .where(_MESSAGES.c.broadcast_id == bindparam("of"), _MESSAGES.c.recipient == bindparam("who"))
    .values(
        status=bindparam("became"),
        code=bindparam("said"),
        status_at=bindparam("happened_at"),
        recorded_at=bindparam("now"),
    )
)
_COUNT_ENDED = (
    update(_BATCHES)
    .where(_BATCHES.c.id == bindparam("this"))
    .values(
        ended=_BATCHES.c.ended + bindparam("more"),
        rollup_dirty=True,
        next_report_at=bindparam("ask_at"),
    )
)


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """One thing said of one message: by Sinch, or by us where Sinch said nothing in time.

    Its batch is found by our reference, else by Sinch's id.  `at` is Sinch's time.
    """

    reference: str | None
    sinch_id: str | None
    recipient: str
    status: MessageStatus
    code: int | None
    at: datetime | None

    @property
    def weight(self) -> tuple[int, int, float]:
        """What outweighs what: a total order, so that any sequence ends the same."""
        return _weigh(self.status, self.code, self.at)


@dataclass(slots=True)
class RecordedReports:
    """What came of it: who was not found, and what changed, by broadcast."""

    unplaced: list[DeliveryReport] = field(default_factory=list)
    ended: dict[int, list[DeliveryReport]] = field(default_factory=lambda: defaultdict(list))
    to_settle: set[int] = field(default_factory=set)


def record_reports(tx: Connection, ctx: Context, told: Sequence[DeliveryReport]) -> RecordedReports:
    """Put into the books what was said of messages; the books are held."""
    booked = RecordedReports()
    places = _find_places(tx, told)
    by_broadcast: dict[int, dict[str, DeliveryReport]] = defaultdict(dict)
    sightings: dict[int, set[str]] = defaultdict(set)
    for each in told:
        place = places.get(each.reference) or places.get(each.sinch_id)
        if place is None:
            booked.unplaced.append(each)
            continue
        if each.sinch_id:
            sightings[place.id].add(each.sinch_id)
        best = by_broadcast[place.broadcast_id]
        other = best.get(each.recipient)
        if other is None or each.weight > other.weight:
            best[each.recipient] = each
    for broadcast_id in sorted(by_broadcast):
        _book_broadcast(tx, ctx, broadcast_id, by_broadcast[broadcast_id], sightings, booked)
    return booked


def _find_places(tx: Connection, told: Iterable[DeliveryReport]) -> Mapping[str | None, Row[Any]]:
    """The batches spoken of, by our reference and by Sinch's id."""
    references = {each.reference for each in told if each.reference}
    places: dict[str | None, Row[Any]] = {}
    if references:
        rows = tx.execute(_BY_REFERENCE, {"these": list(references)})
        places |= {row.client_reference: row for row in rows}
    sinch_ids = {each.sinch_id for each in told if each.sinch_id and each.reference not in places}
    if sinch_ids:
        rows = tx.execute(_BY_SINCH_ID, {"these": list(sinch_ids)})
        places |= {row.sinch_id: row for row in rows}
    return places


def _book_broadcast(
    tx: Connection,
    ctx: Context,
    broadcast_id: int,
    best: Mapping[str, DeliveryReport],
    sightings: Mapping[int, set[str]],
    booked: RecordedReports,
) -> None:
    now = ctx.now()
    status = tx.execute(LOCK_STATUS, {"broadcast_id": broadcast_id}).scalar_one()
    start = _read_start(tx, broadcast_id)
    known = _find_messages(tx, broadcast_id, list(best))
    sums = Counter[tuple[MessageStatus, int, int]]()
    ended = Counter[int]()
    changed = set[int]()
    changes: list[dict[str, Any]] = []
    for row in known:
        said = best[row.recipient]
        ended[row.batch_id] += 0
        if row.status is not None:
            if said.weight <= _weigh(row.status, row.code, row.status_at):
                continue
            sums[_tally(row.status, row.code, row.status_at or row.recorded_at, start)] -= 1
        sums[_tally(said.status, said.code, said.at or now, start)] += 1
        if said.status in ENDED:
            booked.ended[broadcast_id].append(said)
            ended[row.batch_id] += row.status not in ENDED
        changed.add(row.batch_id)
        changes.append(
            {
                "of": broadcast_id,
                "who": row.recipient,
                "became": said.status,
                "said": said.code,
                "happened_at": said.at,
                "now": now,
            }
        )
    _touch_batches(tx, ctx, ended, changed, sightings, status, booked)
    if changes:
        changes.sort(key=lambda change: str(change["who"]))
        tx.execute(_REPORT, changes)
    _add_sums(tx, broadcast_id, sums)


def _touch_batches(
    tx: Connection,
    ctx: Context,
    ended: Mapping[int, int],
    changed: Set[int],
    sightings: Mapping[int, set[str]],
    status: Any,
    booked: RecordedReports,
) -> None:
    """Count what has ended; a batch that is reported on is at Sinch, whatever we knew."""
    counts = []
    for row in tx.execute(HELD_BATCHES, {"these": list(ended)}).all():
        sighting = ReportedBatch(row, sorted(sightings.get(row.id, ())), status)
        if confirm_accepted(tx, ctx, sighting):
            booked.to_settle.add(row.broadcast_id)
        if row.id in changed:
            all_ended = row.ended + ended[row.id] >= row.size
            next_at = row.next_report_at or ctx.first_report_at()
            ask_at = None if all_ended else next_at
            counts.append({"this": row.id, "more": ended[row.id], "ask_at": ask_at})
            if all_ended:
                booked.to_settle.add(row.broadcast_id)
    if counts:
        tx.execute(_COUNT_ENDED, counts)


def _find_messages(tx: Connection, broadcast_id: int, who: Sequence[str]) -> list[Row[Any]]:
    known = _KNOWN[tx.dialect.name]
    return [
        row
        for start in range(0, len(who), _MOST_AT_ONCE)
        for row in tx.execute(
            known, {"of": broadcast_id, "these": who[start : start + _MOST_AT_ONCE]}
        )
    ]


def _read_start(tx: Connection, broadcast_id: int) -> datetime:
    row = tx.execute(_START, {"this": broadcast_id}).one()
    start: datetime = row.send_at or row.created_at
    return start


def _tally(
    status: MessageStatus, code: int | None, at: datetime, start: datetime
) -> tuple[MessageStatus, int, int]:
    """The sum that a message belongs to."""
    delivered = status is MessageStatus.DELIVERED
    bucket = latency_bucket((at - start).total_seconds()) if delivered else NONE
    return status, NONE if code is None else code, bucket


def _weigh(status: MessageStatus, code: int | None, at: datetime | None) -> tuple[int, int, float]:
    return rank_status(status), NONE if code is None else code, -(at or _NEVER).timestamp()


def _add_sums(
    tx: Connection, broadcast_id: int, sums: Mapping[tuple[MessageStatus, int, int], int]
) -> None:
    rows = [
        {
            "broadcast_id": broadcast_id,
            "status": status,
            "code": code,
            "bucket": bucket,
            "messages": messages,
        }
        for (status, code, bucket), messages in sorted(sums.items())
        if messages
    ]
    if rows:
        tx.execute(_ADD[tx.dialect.name], rows)


def _make_add(build: Any) -> Any:
    statement = build(_TALLIES)
    return statement.on_conflict_do_update(
        index_elements=list(_TALLIES.primary_key),
        set_={"messages": _TALLIES.c.messages + statement.excluded.messages},
    )


_ADD = {"sqlite": _make_add(sqlite.insert), "postgresql": _make_add(postgresql.insert)}
