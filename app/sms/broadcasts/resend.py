"""A broadcast again, to those whom it provably has not reached: once, and to nobody else.

Who may have got it, or may still get it, is left out, whatever is asked for.
"""

from collections.abc import Iterator, Sequence, Set
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, func, or_, select, tuple_

from app.db.audit import write_audit
from app.db.base import table_of
from app.errors import BadInput, Conflict, NotFound, RequestRunning
from app.ids import make_id
from app.sinch.schemas import ReportMode
from app.sms.audience.expand import expand_request
from app.sms.broadcasts.create import describe_request
from app.sms.broadcasts.idempotency import KeyTaken, RequestKey, find_replay, keep_key
from app.sms.broadcasts.store import insert_broadcast
from app.sms.content.placeholders import DEFAULT, Parameters, measure_messages
from app.sms.context import Context
from app.sms.lifecycle.counts import (
    STATUS_BY_BATCH_STATE,
    StatusCode,
    count_by_status_code,
    read_counts,
    status_before_batching,
)
from app.sms.lifecycle.finalize import lock_broadcast
from app.sms.lifecycle.latency import NONE
from app.sms.models.batch import Batch, Message
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.models.statuses import NOT_REACHED, explain
from app.sms.request.model import BroadcastRequest, hash_text

_SENTENCE = "Broadcast accepted; it is sent in the background to those it has not reached."

_BROADCASTS, _CHUNKS = table_of(Broadcast), table_of(Chunk)
_BATCHES, _MESSAGES = table_of(Batch), table_of(Message)
# Made once: to make a statement costs several times what it takes to run one.
_BY_PUBLIC_ID = select(_BROADCASTS).where(_BROADCASTS.c.public_id == bindparam("this"))
_AGAIN = select(_BROADCASTS.c.public_id).where(_BROADCASTS.c.resend_of == bindparam("this"))
# Of messages in batches: reported on in one of these ways, or in a batch that ended so as a whole.
_UNREACHED = (
    select(_MESSAGES.c.recipient)
    .select_from(_MESSAGES.join(_BATCHES, _BATCHES.c.id == _MESSAGES.c.batch_id))
    .where(_MESSAGES.c.broadcast_id == bindparam("of"))
    .where(
        or_(
            tuple_(_MESSAGES.c.status, func.coalesce(_MESSAGES.c.code, NONE)).in_(
                bindparam("kinds", expanding=True)
            ),
            and_(
                _MESSAGES.c.status.is_(None),
                _BATCHES.c.state.in_(bindparam("states", expanding=True)),
            ),
        )
    )
)
_AUDIENCE = (
    select(_CHUNKS.c.number, _CHUNKS.c.recipients)
    .where(_CHUNKS.c.broadcast_id == bindparam("of"))
    .order_by(_CHUNKS.c.number)
)
_OWN_VALUES = (
    select(_CHUNKS.c.parameters)
    .where(_CHUNKS.c.broadcast_id == bindparam("of"))
    .order_by(_CHUNKS.c.number)
)


def resend_undelivered(
    ctx: Context,
    public_id: str,
    *,
    client: str,
    key: RequestKey | None = None,
    include_permanent: bool = False,
) -> dict[str, Any]:
    """The answer for a new broadcast to those not reached for whom it makes sense, or to all.

    Raises NotFound; Conflict while it is not finished, and when it was resent before; BadInput
    when there is nobody; and what find_replay raises.
    """
    if key and (known := _find_answer(ctx, key, client)):
        return known
    try:
        original, numbers, excluded = _find_unreached(
            ctx, public_id, include_permanent=include_permanent
        )
        if not numbers:
            raise BadInput(_tell_nobody(excluded))
        request = _make_order(ctx, original, numbers)
        return _store(ctx, original, request, client=client, key=key, excluded=excluded)
    except (Conflict, KeyTaken) as e:
        # The same request at the same time was quicker.
        if key and (known := _find_answer(ctx, key, client)):
            return known
        if isinstance(e, KeyTaken):
            raise RequestRunning("This Idempotency-Key has just expired.", retry_after_s=1) from e
        raise


def _find_answer(ctx: Context, key: RequestKey, client: str) -> dict[str, Any] | None:
    """What the first request with this key was answered; it is stored with its broadcast."""
    replay = find_replay(ctx, key, client=client)
    return replay.answer if replay else None


def _refuse(tx: Connection, original: Row[Any]) -> None:
    """Raise Conflict where it is too early, or was done before."""
    status = original.status.value
    if original.completed_at is None:
        raise Conflict(
            f"A broadcast that is {status} has not ended: wait for its end, or cancel it.",
            status=status,
        )
    again = tx.execute(_AGAIN, {"this": original.id}).scalar()
    if again is not None:
        raise Conflict(
            "It was sent again before: look at that broadcast, and resend what that has not "
            "reached.",
            status=status,
            broadcast_id=again,
        )


def _find_unreached(
    ctx: Context, public_id: str, *, include_permanent: bool
) -> tuple[Row[Any], list[str], int]:
    """The broadcast, who shall get it again, and how many others were not reached."""
    with ctx.db.read() as tx:
        original = tx.execute(_BY_PUBLIC_ID, {"this": public_id}).first()
        if original is None:
            raise NotFound("There is no such broadcast.")
        _refuse(tx, original)
        kinds = count_by_status_code(original, read_counts(tx, [original.id])[original.id])
        unreached = {kind: n for kind, n in kinds.items() if kind[0] in NOT_REACHED}
        wanted = {kind for kind in unreached if include_permanent or explain(*kind).retry}
        excluded = sum(n for kind, n in unreached.items() if kind not in wanted)
        return original, list(_collect(tx, original, wanted)), excluded


def _collect(tx: Connection, original: Row[Any], wanted: Set[StatusCode]) -> Iterator[str]:
    """Those of these kinds, in the order they were asked for."""
    values = {
        "of": original.id,
        "kinds": [(status, NONE if code is None else code) for status, code in wanted],
        "states": [
            state for state, status in STATUS_BY_BATCH_STATE.items() if (status, None) in wanted
        ],
    }
    planned = set(tx.execute(_UNREACHED, values).scalars())
    unplanned = (status_before_batching(original.status), None) in wanted
    for chunk in tx.execute(_AUDIENCE, {"of": original.id}):
        lines = chunk.recipients.split("\n")
        if chunk.number < original.planned:
            yield from (number for number in lines if number in planned)
        elif unplanned:
            yield from lines


def _tell_nobody(excluded: int) -> str:
    if not excluded:
        return "There is nobody of whom it is proven that it has not reached them"
    return (
        f"Of {excluded} it is proven that it has not reached them, but sending it again would not "
        "help; set include_permanent to true to send it all the same"
    )


def _make_order(ctx: Context, original: Row[Any], numbers: Sequence[str]) -> BroadcastRequest:
    """The same text, sender, values and options for these."""
    options = original.options
    parameters = _collect_parameters(ctx, original, numbers)
    report = options.get("delivery_report")
    return BroadcastRequest(
        recipients=numbers,
        text=original.text,
        size=measure_messages(original.text, parameters, numbers),
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


def _collect_parameters(ctx: Context, original: Row[Any], numbers: Sequence[str]) -> Parameters:
    """The values of these recipients, and those by default."""
    wanted = set(numbers)
    collected: dict[str, dict[str, str]] = {
        name: {DEFAULT: value} for name, value in (original.options.get("defaults") or {}).items()
    }
    with ctx.db.read() as tx:
        for own in tx.execute(_OWN_VALUES, {"of": original.id}).scalars():
            for name, values in (own or {}).items():
                theirs = {number: values[number] for number in values.keys() & wanted}
                collected.setdefault(name, {}).update(theirs)
    return collected


def _store(
    ctx: Context,
    original: Row[Any],
    request: BroadcastRequest,
    *,
    client: str,
    key: RequestKey | None,
    excluded: int,
) -> dict[str, Any]:
    request, chunks = expand_request(ctx, request)
    with ctx.db.write() as tx:
        _refuse(tx, lock_broadcast(tx, original.id))
        public_id = make_id(ctx.now())
        broadcast_id = insert_broadcast(
            tx,
            ctx,
            request,
            client=client,
            public_id=public_id,
            text_hash=hash_text(request, default_sender=ctx.default_sender),
            resend_of=original.id,
            chunks=chunks,
        )
        answer = describe_request(
            request, public_id, "queued", recipients=len(request.recipients)
        ) | {
            "message": _SENTENCE,
            "resend_of": original.public_id,
            "excluded": excluded,
        }
        if key is not None:
            keep_key(tx, ctx, key, client=client, broadcast_id=broadcast_id, answer=answer)
        write_audit(
            tx,
            now=ctx.now(),
            actor=client,
            action="resend_undelivered",
            subject=original.public_id,
            facts={"broadcast_id": public_id, "recipients": len(request.recipients)},
        )
    return answer
