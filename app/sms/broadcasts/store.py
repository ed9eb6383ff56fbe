"""Storage of a broadcast, before its client gets an answer.

One transaction stores the broadcast, its chunks and the client's Idempotency-Key.  For a small
broadcast it also plans the batches and makes the first claim, so that one commit comes before the
POST to Sinch and one after it.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from app.db.base import table_of
from app.db.engine import repeat_on_conflict
from app.failpoints import failpoints
from app.ids import make_id
from app.sms.audience.chunks import INSERT_CHUNKS, AudienceChunk, chunk_recipients, make_chunk_rows
from app.sms.audience.expand import look_up_small
from app.sms.audience.plan import plan_chunks
from app.sms.broadcasts.duplicates import DuplicateCheck, find_duplicate, reject_duplicate
from app.sms.broadcasts.idempotency import RequestKey, keep_key
from app.sms.context import Context
from app.sms.dispatch.claim import Claim, Idle, claim_in
from app.sms.dispatch.one_batch import INSERT_BROADCASTS, OneBatch, claim_new, prepare_one_batch
from app.sms.dispatch.submit import Accepted
from app.sms.lifecycle.finalize import finalize_in
from app.sms.lifecycle.locks import lock_request_keys, lock_storing
from app.sms.models.broadcast import Broadcast
from app.sms.models.states import BroadcastStatus
from app.sms.request.model import (
    MAX_INLINE_RECIPIENTS,
    BroadcastRequest,
    choose_priority,
    collect_defaults,
    describe_audience,
    hash_text,
    may_be_repeated,
)
from app.subscribers.suppressions.store import lock_suppressions_shared

_BROADCASTS = table_of(Broadcast)


def accept_broadcast(
    ctx: Context,
    request: BroadcastRequest,
    *,
    client: str,
    key: RequestKey | None = None,
    describe: Callable[[str], dict[str, Any]] | None = None,
) -> Accepted:
    """Store a request durably.

    `describe` makes the answer of a broadcast for the background, from its id; the answer is stored
    with the key.  Raises KeyTaken when another request with the key was stored first,
    BroadcastDuplicated when an equal text has just gone to mostly equal recipients.
    """
    ctx.require_own_database()
    chunks: list[AudienceChunk] | None
    if request.audience is None:
        chunks = list(chunk_recipients(ctx, request))
    else:
        request, chunks = look_up_small(ctx, request)
    row = make_row(ctx, request, chunks, client=client)
    public_id: str = row["public_id"]
    check = None
    if key is None and not may_be_repeated(request, None if chunks is None else row["recipients"]):
        recipients = [phone for chunk in chunks or () for phone in chunk.recipients]
        check = DuplicateCheck(client, row["text_hash"], recipients, row["audience"])
    cleared = find_duplicate(ctx, check) if check else frozenset()
    inline = _is_inline(request, chunks)

    def keep(tx: Connection, broadcast_id: int) -> None:
        if key is not None:
            answer = None if inline or describe is None else describe(public_id)
            keep_key(tx, ctx, key, client=client, broadcast_id=broadcast_id, answer=answer)

    name = key.value if key else None
    one_batch = None
    if inline and chunks:
        one_batch = prepare_one_batch(ctx, row, chunks, keep, key=name)

    def store() -> Accepted:
        if one_batch and not check:
            claim = ctx.db.share(_store_together).write(one_batch)
            if claim is not None:
                return _accept(claim.broadcast_id, public_id, claim)
        with ctx.db.write() as tx:
            first: Claim | Idle | None = None
            if check:
                reject_duplicate(tx, ctx, check, cleared)
                first = claim_new(tx, [one_batch])[0] if one_batch else None
            if isinstance(first, Claim):
                broadcast_id = first.broadcast_id
            else:
                lock_to_store(tx, client, name, to_claim=inline)
                broadcast_id = insert_broadcast(tx, row, chunks)
                keep(tx, broadcast_id)
            if inline and first is None:
                plan_chunks(tx, ctx, broadcast_id)
                first = claim_in(tx, ctx, broadcast_id=broadcast_id)
                if isinstance(first, Idle):
                    finalize_in(tx, ctx, broadcast_id)  # no recipient is allowed now
            failpoints.reach("C0")
        return _accept(broadcast_id, public_id, first)

    return repeat_on_conflict(store)


def _store_together(tx: Connection, broadcasts: Sequence[OneBatch]) -> Sequence[Claim | None]:
    claims = claim_new(tx, broadcasts)
    failpoints.reach("C0")
    return claims


def _accept(broadcast_id: int, public_id: str, first: Claim | Idle | None) -> Accepted:
    failpoints.reach("C1")
    if isinstance(first, Claim):
        failpoints.reach("C3")
        failpoints.reach("C8")
    return Accepted(broadcast_id, public_id, first)


def _is_inline(request: BroadcastRequest, chunks: Sequence[AudienceChunk] | None) -> bool:
    if chunks is None or request.send_at is not None or request.canary is not None:
        return False
    return sum(len(chunk.recipients) for chunk in chunks) <= MAX_INLINE_RECIPIENTS


def make_row(
    ctx: Context,
    request: BroadcastRequest,
    chunks: Sequence[AudienceChunk] | None,
    *,
    client: str,
    resend_of: int | None = None,
) -> dict[str, Any]:
    """Return the table row of a new broadcast; without chunks its audience is looked up later."""
    now, rules = ctx.now(), ctx.rules
    start = request.send_at or now
    recipients = sum(len(chunk.recipients) for chunk in chunks or ())
    default_end = start + timedelta(seconds=rules.expire_after_s)
    return {
        "public_id": make_id(now),
        "client": client,
        "key_id": ctx.viewer.key_id,
        "countries": None if ctx.viewer.countries is None else sorted(ctx.viewer.countries),
        "created_by": request.created_by,
        "created_at": now,
        "text": request.text,
        "text_hash": hash_text(request, default_sender=ctx.default_sender),
        "sender": request.sender or ctx.default_sender,
        "category": request.category,
        # An audience that is looked up later is a large one.
        "priority": request.priority
        or choose_priority(request.category, sys.maxsize if chunks is None else recipients),
        "reference": request.reference,
        "options": _collect_options(request),
        "encoding": request.size.encoding.value,
        "parts": request.size.parts,
        "send_at": request.send_at,
        "expires_at": request.expire_at or default_end,
        "status": BroadcastStatus.SCHEDULED if request.send_at else BroadcastStatus.QUEUED,
        "recipients": recipients,
        "invalid": len(request.invalid),
        "duplicates": request.duplicates_removed,
        "planned": 0,
        "chunks": len(chunks or ()),
        "audience": describe_audience(request),
        "tag": request.tag or (request.audience.only_tag if request.audience else None),
        "resolving": chunks is None,
        "texts": dict(request.texts) or None,
        "resend_of": resend_of,
    }


def lock_to_store(tx: Connection, client: str, key: str | None, *, to_claim: bool = False) -> None:
    """Lock what comes before the insert of a broadcast and of its client's Idempotency-Key.

    A STOP does not wait for a transaction that claims nothing: a million recipients take a second.
    """
    if to_claim:
        lock_suppressions_shared(tx)
    lock_storing(tx)  # a cap that is set waits for it
    if key is not None:
        lock_request_keys(tx, [(client, key)])


def insert_broadcast(
    tx: Connection, row: Mapping[str, Any], chunks: Sequence[AudienceChunk] | None
) -> int:
    """Insert a broadcast and its chunks.  Returns its id."""
    broadcast_id: int = INSERT_BROADCASTS.run(tx, [row])[0].id
    if chunks:
        INSERT_CHUNKS.run_each(tx, list(make_chunk_rows(broadcast_id, chunks)))
    return broadcast_id


def _collect_options(request: BroadcastRequest) -> dict[str, Any]:
    options: dict[str, Any] = {
        "delivery_report": request.delivery_report.value if request.delivery_report else None,
        "flash": request.flash or None,
        "max_parts": request.max_parts,
        "defaults": collect_defaults(request) or None,
        "language": request.language,
        "template": astuple(request.template) if request.template else None,
        "reply": request.reply,
        "canary": asdict(request.canary) if request.canary else None,
        "answer": request.is_answer or None,
    }
    if request.most_people is not None:
        options |= {"most_people": request.most_people, "quoted": request.quoted}
    return {name: value for name, value in options.items() if value is not None}
