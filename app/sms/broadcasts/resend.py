"""Resending: a new broadcast for the recipients that the first one provably did not reach.

Recipients who may have got the text, or may still get it, are always left out.
"""

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, and_, func, or_, select, tuple_

from app.db.audit import write_audit
from app.errors import BadInput, ClarionError, Conflict, RequestRunning
from app.sinch.schemas import ReportMode
from app.sms.audience.chunks import chunk_recipients
from app.sms.broadcasts.create import describe_request
from app.sms.broadcasts.idempotency import KeyTaken, RequestKey, find_replay, keep_key
from app.sms.broadcasts.store import insert_broadcast, lock_to_store, make_row
from app.sms.caps.caps import check_recipients
from app.sms.content.measure import measure_messages
from app.sms.content.placeholders import DEFAULT, Parameters
from app.sms.context import Context
from app.sms.lifecycle.counts import (
    STATUS_BY_BATCH_STATE,
    StatusCode,
    count_by_status_code,
    read_counts,
    status_before_batching,
)
from app.sms.lifecycle.finalize import lock_broadcast
from app.sms.lifecycle.find import find_broadcast, require_kept
from app.sms.lifecycle.latency import NONE
from app.sms.models.batch import Batch, Message
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.models.statuses import NOT_REACHED, MessageStatus, explain
from app.sms.quotes.quote import Quote, make_quote
from app.sms.request.model import BroadcastRequest
from app.sms.request.prepare import require_allowed_sender

_SENTENCE = "Broadcast accepted; it is sent in the background to recipients that were not reached."
_STILL_AWAITED = (
    " Recipients without a final status are left out, and the first broadcast is resent only once."
)
# A final status may still come.
_AWAITED = (MessageStatus.SUBMITTED, MessageStatus.UNCONFIRMED)


def resend_undelivered(
    ctx: Context,
    public_id: str,
    *,
    client: str,
    key: RequestKey | None = None,
    include_permanent: bool = False,
    include_cancelled: bool = True,
    created_by: str | None = None,
    check: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Create a broadcast for unreached recipients: those a retry may help, or all.

    Those whom a cancellation kept the text from are among them, unless the caller leaves them out.
    `check` may raise before anything is stored, for the broadcast's row id and their number.
    Returns the answer.  Raises NotFound; Purged; Conflict for a broadcast that has not completed or
    was resent before; BadInput without such recipients, or with more than a cap allows; and the
    errors of find_replay.
    """
    if key and (answer := _find_answer(ctx, key, client)):
        return answer
    try:
        original, phones, excluded, awaited = _find_unreached(
            ctx, public_id, include_permanent=include_permanent, include_cancelled=include_cancelled
        )
        if not phones:
            raise _explain_nothing(original, excluded, awaited)
        require_allowed_sender(ctx, original.sender)
        check_recipients(ctx, client, len(phones))
        if check:
            check(original.id, len(phones))
        request = replace(_make_request(ctx, original, phones), created_by=created_by)
        left_out = {"excluded": excluded, "awaited": awaited}
        return _store(ctx, original, request, client=client, key=key, left_out=left_out)
    except (Conflict, KeyTaken) as e:
        # A simultaneous request with this key may have been stored first.
        if key and (answer := _find_answer(ctx, key, client)):
            return answer
        if isinstance(e, KeyTaken):
            raise RequestRunning("This Idempotency-Key has just expired.", retry_after_s=1) from e
        raise


def quote_resend(ctx: Context, public_id: str) -> Quote:
    """Return what a broadcast for those whom a retry may reach would come to now.

    It leaves out those of a cancellation.  Raises NotFound; Purged; Conflict for a broadcast that
    has not completed or was resent before.
    """
    original, phones, _, _ = _find_unreached(ctx, public_id)
    return make_quote(ctx, _make_request(ctx, original, phones))


def count_unreached(ctx: Context, public_id: str) -> tuple[int, int]:
    """Return the row id of a broadcast, and how many unreached recipients a retry may help.

    It leaves out those of a cancellation.  Raises NotFound; Purged; BadInput without any; Conflict
    for a broadcast that has not completed or was resent before.
    """
    original, phones, excluded, awaited = _find_unreached(ctx, public_id)
    if not phones:
        raise _explain_nothing(original, excluded, awaited)
    return original.id, len(phones)


def find_resend(ctx: Context, public_id: str) -> Row[Any] | None:
    """Return the broadcast that resent this one; None if it was not."""
    with ctx.db.read() as tx:
        original = find_broadcast(tx, ctx, public_id)
        query = select(Broadcast.__table__).where(Broadcast.resend_of == original.id)
        return tx.execute(query).first()


def _find_answer(ctx: Context, key: RequestKey, client: str) -> dict[str, Any] | None:
    """Return the answer to the first request with this key, stored with its broadcast."""
    replay = find_replay(ctx, key, client=client)
    return replay.answer if replay else None


def _require_resendable(tx: Connection, original: Row[Any]) -> None:
    """Raise Conflict for a broadcast that has not completed or was resent before."""
    require_kept(original)
    status = original.status.value
    if original.completed_at is None:
        raise Conflict(
            f"A broadcast that is {status} has not ended: wait for its end, or cancel it.",
            status=status,
        )
    query = select(Broadcast.public_id).where(Broadcast.resend_of == original.id)
    resent_as = tx.execute(query).scalar()
    if resent_as is not None:
        raise Conflict(
            "It was resent before: look at that broadcast, and resend what that one did not reach.",
            status=status,
            broadcast_id=resent_as,
        )


def _find_unreached(
    ctx: Context,
    public_id: str,
    *,
    include_permanent: bool = False,
    include_cancelled: bool = False,
) -> tuple[Row[Any], list[str], int, int]:
    """Return the broadcast and the recipients to resend to.

    Also returns how many others were not reached, and how many may still be.
    """
    with ctx.db.read() as tx:
        original = find_broadcast(tx, ctx, public_id)
        _require_resendable(tx, original)
        counts = count_by_status_code(original, read_counts(tx, [original.id])[original.id])
        statuses = NOT_REACHED if include_cancelled else NOT_REACHED - {MessageStatus.CANCELLED}
        unreached = {kind: n for kind, n in counts.items() if kind[0] in statuses}
        wanted = {kind for kind in unreached if include_permanent or explain(*kind).retry}
        excluded = sum(n for kind, n in unreached.items() if kind not in wanted)
        awaited = sum(n for (status, _), n in counts.items() if status in _AWAITED)
        return original, list(_list_recipients(tx, original, wanted)), excluded, awaited


def _list_recipients(tx: Connection, original: Row[Any], wanted: Set[StatusCode]) -> Iterator[str]:
    """Yield the recipients with one of these statuses and codes, in the broadcast's order."""
    planned = _select_planned(tx, original, wanted)
    include_unplanned = (status_before_batching(original.status), None) in wanted
    query = select(Chunk.number, Chunk.recipients).where(Chunk.broadcast_id == original.id)
    for number, recipients in tx.execute(query.order_by(Chunk.number)):
        phones = recipients.split("\n")
        if number < original.planned:
            yield from (phone for phone in phones if phone in planned)
        elif include_unplanned:
            yield from phones


def _select_planned(tx: Connection, original: Row[Any], wanted: Set[StatusCode]) -> set[str]:
    """Select recipients in batches: by their report, else by the state of their batch."""
    reported = [(status, NONE if code is None else code) for status, code in wanted]
    states = [state for state, status in STATUS_BY_BATCH_STATE.items() if (status, None) in wanted]
    query = (
        select(Message.recipient)
        .join(Batch, Batch.id == Message.batch_id)
        .where(Message.broadcast_id == original.id)
        .where(
            or_(
                tuple_(Message.status, func.coalesce(Message.code, NONE)).in_(reported),
                and_(Message.status.is_(None), Batch.state.in_(states)),
            )
        )
    )
    return set(tx.execute(query).scalars())


def _explain_nothing(original: Row[Any], excluded: int, awaited: int) -> ClarionError:
    """Return the error for a broadcast without a recipient to resend to."""
    if excluded:
        return BadInput(
            f"{excluded} recipients provably were not reached, but sending again would not help; "
            "set include_permanent to true to send it all the same"
        )
    if awaited:
        return Conflict(
            f"No recipient provably was not reached so far, and {awaited} have no final status "
            "yet: wait until the broadcast has its all_reported_at.",
            status=original.status.value,
            awaited=awaited,
        )
    return BadInput("There is no recipient that provably was not reached")


def _make_request(ctx: Context, original: Row[Any], phones: Sequence[str]) -> BroadcastRequest:
    """Copy the broadcast's text, sender, values and options for these recipients."""
    options = original.options
    parameters = _collect_parameters(ctx, original, phones)
    report = options.get("delivery_report")
    return BroadcastRequest(
        recipients=phones,
        tag=original.tag,
        text=original.text,
        size=measure_messages(original.text, parameters, phones),
        sender=original.sender,
        parameters=parameters,
        texts=original.texts or {},
        language=options.get("language"),
        delivery_report=ReportMode(report) if report else None,
        reference=original.reference,
        flash=bool(options.get("flash")),
        max_parts=options.get("max_parts"),
        category=original.category,
        priority=original.priority,
    )


def _collect_parameters(ctx: Context, original: Row[Any], phones: Sequence[str]) -> Parameters:
    wanted = set(phones)
    collected: dict[str, dict[str, str]] = {
        name: {DEFAULT: value} for name, value in (original.options.get("defaults") or {}).items()
    }
    query = select(Chunk.parameters).where(Chunk.broadcast_id == original.id)
    with ctx.db.read() as tx:
        for parameters in tx.execute(query.order_by(Chunk.number)).scalars():
            for name, values in (parameters or {}).items():
                known = {phone: values[phone] for phone in values.keys() & wanted}
                collected.setdefault(name, {}).update(known)
    return collected


def _store(
    ctx: Context,
    original: Row[Any],
    request: BroadcastRequest,
    *,
    client: str,
    key: RequestKey | None,
    left_out: dict[str, int],
) -> dict[str, Any]:
    chunks = list(chunk_recipients(ctx, request))
    with ctx.db.write() as tx:
        lock_to_store(tx, client, key.value if key else None)
        _require_resendable(tx, lock_broadcast(tx, original.id))
        row = make_row(ctx, request, chunks, client=client, resend_of=original.id)
        public_id: str = row["public_id"]
        broadcast_id = insert_broadcast(tx, row, chunks)
        answer = describe_request(
            request, public_id, "queued", recipients=len(request.recipients)
        ) | {
            "message": _SENTENCE + (_STILL_AWAITED if left_out["awaited"] else ""),
            "resend_of": original.public_id,
            **left_out,
        }
        if key is not None:
            keep_key(tx, ctx, key, client=client, broadcast_id=broadcast_id, answer=answer)
        write_audit(
            tx,
            ctx.now(),
            f"{client}:{request.created_by}" if request.created_by else client,
            "resend_undelivered",
            original.public_id,
            broadcast_id=public_id,
            recipients=len(request.recipients),
        )
    return answer
