"""Broadcasts of one batch: two short transactions, which the requests of a process share.

Most calls send one text to one person.  What they write is known before: the payload is frozen and
the rows are inserted as they are after the claim.  Requests that wait for a transaction commit
together, see app.db.writers.

    claim_new    checks gates and suppressions, inserts everything, claimed
    complete     after Sinch accepted the batch: ends batch, attempt and broadcast

Whatever differs (a suppressed number, a cap that leaves too little, a closed gate, another answer,
a pause meanwhile) goes the general way, by audience/plan, dispatch/claim and dispatch/outcome:
nothing is written here.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import SimpleNamespace
from typing import Any

from loguru import logger
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    String,
    bindparam,
    case,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import TypeEngine

from app.db.base import table_of
from app.db.prepared import Prepared, PreparedInsert, run_sql
from app.db.types import UtcTime
from app.failpoints import failpoints
from app.sinch.schemas import write_batch
from app.sms.audience.chunks import (
    INSERT_CHUNKS,
    INSERT_MESSAGES,
    AudienceChunk,
    BatchRecipients,
    make_chunk_rows,
    make_reference,
)
from app.sms.caps.budget import Budget, open_budgets, record_uses
from app.sms.context import Context
from app.sms.dispatch.claim import INSERT_ATTEMPTS, MIN_LIFE, Claim
from app.sms.dispatch.payload import make_attempt, make_outgoing
from app.sms.lifecycle.gates import read_gates
from app.sms.lifecycle.locks import lock_request_keys
from app.sms.lifecycle.outbox import EventType, notify_clients
from app.sms.models.batch import Attempt, Batch
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import BatchState, BroadcastStatus, Category, Outcome
from app.subscribers.suppressions.store import find_suppressed, lock_suppressions_shared

_BROADCASTS, _BATCHES, _ATTEMPTS = table_of(Broadcast), table_of(Batch), table_of(Attempt)
INSERT_BROADCASTS = PreparedInsert(_BROADCASTS, "id", "public_id")
_INSERT_BATCHES = PreparedInsert(_BATCHES, "id", "client_reference")
_INSERT_MESSAGES = {
    "sqlite": INSERT_MESSAGES["sqlite"] + "WHERE b.id IN (SELECT value FROM json_each(?))",  # noqa: S608
    "postgresql": INSERT_MESSAGES["postgresql"] + "WHERE b.id = ANY($1::bigint[])",
}
# Stores what belongs to a new broadcast's id, or to Sinch's id of its only batch.
StoreForBroadcast = Callable[[Connection, int], object]
StoreForBatch = Callable[[Connection, str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class OneBatch:
    """A broadcast of one batch: its row, its chunk and the frozen payload of its batch.

    `store_more` stores what belongs to its id, in the same transaction; `key` is the client's
    Idempotency-Key if that is among it.
    """

    ctx: Context
    row: Mapping[str, Any]
    chunk: AudienceChunk
    reference: str
    body: bytes
    called_back: bool
    store_more: StoreForBroadcast | None
    key: str | None


def prepare_one_batch(
    ctx: Context,
    row: Mapping[str, Any],
    chunks: Sequence[AudienceChunk],
    store_more: StoreForBroadcast | None = None,
    *,
    key: str | None = None,
) -> OneBatch | None:
    """Freeze the payload of a new broadcast.  Returns None for one that goes the general way.

    `row` is the row of the table of broadcasts, `key` the Idempotency-Key that is stored with it.
    """
    if len(chunks) != 1 or row["category"] is not Category.TRANSACTIONAL:
        return None
    chunk = chunks[0]
    if chunk.exclusion_reason is not None or ctx.rules.messages_per_second is not None:
        return None
    phones = list(chunk.recipients)
    rules = ctx.rules.numbers
    if rules.find_refused_kinds(phones):
        return None
    if rules.find_refused_countries(phones, row["client"], row["countries"]):
        return None
    reference = make_reference(row["public_id"], 0, 0, 0)
    outgoing = make_outgoing(
        ctx,
        SimpleNamespace(**row),
        BatchRecipients(phones, range(len(phones)), chunk.parameters or {}, chunk.language),
        phones,
        reference=reference,
        expires_at=row["expires_at"],
    )
    return OneBatch(
        ctx=ctx,
        row=row,
        chunk=chunk,
        reference=reference,
        body=write_batch(outgoing),
        called_back=outgoing.callback_url is not None,
        store_more=store_more,
        key=key,
    )


def claim_new(tx: Connection, broadcasts: Sequence[OneBatch]) -> list[Claim | None]:
    """Insert broadcasts with their claimed batches.  Returns a claim for each.

    None is for a broadcast that goes the general way: it is not inserted.  Raises WrongKey, and
    what `store_more` raises.
    """
    ctx = broadcasts[0].ctx
    # A claim behind a committed STOP sees that STOP.
    lock_suppressions_shared(tx)
    now = ctx.now()
    gates = read_gates(tx, ctx.rules, now)
    if gates.circuit or gates.find_obstacle(now) is not None:
        return [None] * len(broadcasts)
    phones = [phone for broadcast in broadcasts for phone in broadcast.chunk.recipients]
    suppressed = find_suppressed(tx, ctx.subscriber_context, phones, marketing=False)
    keys = {(own.row["client"], own.key) for own in broadcasts if own.key is not None}
    if keys:
        lock_request_keys(tx, keys)
    budgets = _open_budgets(tx, broadcasts, now)
    allowed = [
        broadcast
        for broadcast in broadcasts
        if _may_go(broadcast, suppressed, now) and _is_within(budgets, broadcast)
    ]
    ids = _insert(tx, allowed, now) if allowed else {}
    for broadcast in allowed:
        if broadcast.store_more:
            broadcast.store_more(tx, ids[broadcast.row["public_id"]])
    counted = {ids[each.reference]: budgets[each.reference] for each in allowed}
    record_uses(tx, {batch_id: budget for batch_id, budget in counted.items() if budget}, now)
    claimed_at = ctx.clock.monotonic()
    return [
        Claim(
            batch_id=ids[broadcast.reference],
            broadcast_id=ids[broadcast.row["public_id"]],
            attempt=1,
            reference=broadcast.reference,
            body=broadcast.body,
            size=len(broadcast.chunk.recipients),
            claimed_at=claimed_at,
            on_trial=False,
            after_busy=gates.busy_count > 0,
            called_back=broadcast.called_back,
            is_whole=True,
            caps=budget.left if (budget := budgets[broadcast.reference]) else (),
        )
        if broadcast.reference in ids
        else None
        for broadcast in broadcasts
    ]


def _open_budgets(
    tx: Connection, broadcasts: Sequence[OneBatch], now: datetime
) -> Mapping[str, Budget | None]:
    """Return the budgets of broadcasts by the reference of their batch."""
    rows = [SimpleNamespace(**broadcast.row) for broadcast in broadcasts]
    budgets = open_budgets(tx, broadcasts[0].ctx, rows, now)
    references = (broadcast.reference for broadcast in broadcasts)
    return dict(zip(references, budgets, strict=True))


def _is_within(budgets: Mapping[str, Budget | None], broadcast: OneBatch) -> bool:
    """Take what a broadcast needs.  Returns False if its caps do not leave that."""
    budget = budgets[broadcast.reference]
    return budget is None or budget.take_whole(list(broadcast.chunk.recipients))


def _may_go(broadcast: OneBatch, suppressed: set[str], now: datetime) -> bool:
    if broadcast.row["expires_at"] - now < MIN_LIFE:
        return False
    return not suppressed or suppressed.isdisjoint(broadcast.chunk.recipients)


def _insert(tx: Connection, broadcasts: Sequence[OneBatch], now: datetime) -> dict[str, int]:
    """Insert all rows.  Returns the ids of broadcasts by public id, of batches by reference."""
    claimed = {"status": BroadcastStatus.SENDING, "first_submitted_at": now, "planned": 1}
    rows = [{**broadcast.row, **claimed} for broadcast in broadcasts]
    ids = {row.public_id: row.id for row in INSERT_BROADCASTS.run(tx, rows)}
    INSERT_CHUNKS.run(
        tx,
        [
            row
            for broadcast in broadcasts
            for row in make_chunk_rows(ids[broadcast.row["public_id"]], [broadcast.chunk])
        ],
    )
    batches = [
        {
            "broadcast_id": ids[broadcast.row["public_id"]],
            "chunk": 0,
            "start": 0,
            "size": len(broadcast.chunk.recipients),
            "level": 0,
            "client_reference": broadcast.reference,
            "state": BatchState.SENDING,
            "attempt": 1,
            "lease_until": now + broadcast.ctx.lease,
            "reconcile_attempts": 0,
            "not_found_count": 0,
            "ended": 0,
            "report_fetches": 0,
            "rollup_dirty": False,
        }
        for broadcast in broadcasts
    ]
    batch_ids = {row.client_reference: row.id for row in _INSERT_BATCHES.run(tx, batches)}
    own = list(batch_ids.values())
    run_sql(
        tx,
        _INSERT_MESSAGES[tx.dialect.name],
        (json.dumps(own) if tx.dialect.name == "sqlite" else own,),
    )
    INSERT_ATTEMPTS.run(
        tx,
        [
            make_attempt(
                broadcast.ctx,
                batch_ids[broadcast.reference],
                number=1,
                body=broadcast.body,
                now=now,
            )
            for broadcast in broadcasts
        ],
    )
    return ids | batch_ids


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A claim of a broadcast's only batch, and Sinch's id of the batch.

    `store_more` stores what belongs to that id, in the same transaction.
    """

    ctx: Context
    claim: Claim
    sinch_id: str
    store_more: StoreForBatch | None = None


class _BatchMoved(Exception):
    """A batch is no longer as its claim left it."""


def complete(acceptance: Acceptance) -> bool:
    """Record that Sinch accepted a broadcast's only batch: the broadcast is complete.

    Returns False if nothing was recorded: then the general way does.
    """
    try:
        return acceptance.ctx.db.share(_complete).write(acceptance)
    except (SQLAlchemyError, _BatchMoved) as e:
        bound = logger.bind(client_reference=acceptance.claim.reference, error=type(e).__name__)
        bound.warning("a broadcast of one batch is recorded the general way")
        return False


def _complete(tx: Connection, acceptances: Sequence[Acceptance]) -> list[bool]:
    ctx = acceptances[0].ctx
    now = ctx.now()
    ids = {f"id_{n}": acceptance.claim.broadcast_id for n, acceptance in enumerate(acceptances)}
    # Broadcasts first, in the order of their ids, as every transaction locks them: one of them may
    # be paused or cancelled meanwhile.
    if len(ids) > 1 and tx.dialect.name != "sqlite":
        _lock_broadcasts(len(ids)).fetch(tx, ids)
    rows = _end_broadcasts(len(ids)).fetch(tx, {"now": now, **ids})
    ended = {row.id for row in rows}
    own = [acceptance for acceptance in acceptances if acceptance.claim.broadcast_id in ended]
    if own:
        _end_batches(tx, own, now)
        notify_clients(tx, ctx, EventType.BROADCAST_COMPLETED, rows, BroadcastStatus.COMPLETE)
    for acceptance in own:
        if acceptance.store_more:
            acceptance.store_more(tx, acceptance.sinch_id)
    failpoints.reach("C9")
    return [acceptance.claim.broadcast_id in ended for acceptance in acceptances]


def _end_batches(tx: Connection, acceptances: Sequence[Acceptance], now: datetime) -> None:
    given: dict[str, Any] = {"now": now}
    for n, acceptance in enumerate(acceptances):
        given[f"id_{n}"] = acceptance.claim.batch_id
        given[f"sinch_id_{n}"] = acceptance.sinch_id
        report_at = acceptance.ctx.first_report_at(called_back=acceptance.claim.called_back)
        given[f"report_at_{n}"] = report_at
    count = len(acceptances)
    if _accept_batches(count).change(tx, given) != count:
        raise _BatchMoved
    _end_attempts(count).change(tx, given)


@cache
def _lock_broadcasts(count: int) -> Prepared:
    locked = select(_BROADCASTS.c.id).where(_BROADCASTS.c.id.in_(_number(count)))
    return Prepared(locked.order_by(_BROADCASTS.c.id).with_for_update())


@cache
def _end_broadcasts(count: int) -> Prepared:
    return Prepared(
        update(_BROADCASTS)
        .where(_BROADCASTS.c.id.in_(_number(count)))
        .where(_BROADCASTS.c.status == BroadcastStatus.SENDING)
        .values(status=BroadcastStatus.COMPLETE, completed_at=bindparam("now"))
        .returning(
            _BROADCASTS.c.id,
            _BROADCASTS.c.public_id,
            _BROADCASTS.c.client,
            _BROADCASTS.c.reference,
        )
    )


@cache
def _accept_batches(count: int) -> Prepared:
    ids = _number(count)

    def choose(name: str, kind: TypeEngine[Any]) -> ColumnElement[Any]:
        chosen = [
            (_BATCHES.c.id == each, bindparam(f"{name}_{n}", type_=kind))
            for n, each in enumerate(ids)
        ]
        return case(*chosen)

    return Prepared(
        update(_BATCHES)
        .where(_BATCHES.c.id.in_(ids), _BATCHES.c.state == BatchState.SENDING)
        .where(_BATCHES.c.attempt == 1)
        .values(
            state=BatchState.ACCEPTED,
            sinch_id=choose("sinch_id", String()),
            lease_until=None,
            accepted_at=bindparam("now"),
            next_report_at=choose("report_at", UtcTime()),
            rollup_dirty=True,
        )
    )


@cache
def _end_attempts(count: int) -> Prepared:
    return Prepared(
        update(_ATTEMPTS)
        .where(_ATTEMPTS.c.batch_id.in_(_number(count)), _ATTEMPTS.c.number == 1)
        .values(ended_at=bindparam("now"), outcome=Outcome.ACCEPTED)
    )


def _number(count: int) -> list[Any]:
    return [bindparam(f"id_{n}", type_=BigInteger) for n in range(count)]
