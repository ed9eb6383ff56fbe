"""Creation of a broadcast: check and store the request, submit a small one, build the answer."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from loguru import logger
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from app.errors import NotFound, RequestRunning, SendFailed
from app.sms.audience.expand import AUDIENCE_WITHIN_S
from app.sms.broadcasts.idempotency import KeyTaken, RequestKey, find_replay, keep_answer
from app.sms.broadcasts.store import accept_broadcast
from app.sms.broadcasts.views import BroadcastView, list_batch_ids, view_by_id
from app.sms.caps.caps import check_recipients, describe_caps
from app.sms.context import Context
from app.sms.dispatch.claim import Claim, Idle
from app.sms.dispatch.submit import Accepted, submit_inline
from app.sms.lifecycle.gates import read_gates
from app.sms.models.broadcast import BROADCAST_URL
from app.sms.models.states import BroadcastStatus, ExclusionReason
from app.sms.quotes.quote import check_quote
from app.sms.request.model import MAX_INLINE_RECIPIENTS, BroadcastRequest
from app.sms.request.prepare import check_times, list_text_warnings, prepare_request
from app.sms.request.schemas import show_invalid
from app.subscribers.audiences.audience import count_audience, find_unknown_tags

SUBMITTED = "SMS batch submitted successfully to Sinch."
REFUSED = "Failed to send SMS batch."

_SENTENCES = {
    "test": "Checked, and not sent: this is a test key.",
    "scheduled": "Broadcast accepted; it is sent at its time.",
    "queued": "Broadcast accepted; it is sent in the background.",
    "sending": "Broadcast accepted; the rest of it is sent in the background.",
    "unknown": "Broadcast accepted; Sinch has not confirmed it yet. Do not send it again: it may "
    "have been sent, and is not sent twice.",
    "complete_needs_attention": "Broadcast accepted; an operator must decide about some batches.",
    "suppressed": "Broadcast accepted, but every recipient is excluded.",
    "expired": "Broadcast accepted, but it expired before it was sent.",
    "capped": "Broadcast accepted; a cap on sending is reached. The rest is sent when the cap "
    "begins anew, or once an administrator has raised it: do not send it again.",
    "held": "Broadcast accepted and kept, but not sent yet: Sinch refuses it because of this "
    "service's account or the sender. Tell the operator. It is sent once that is corrected: do not "
    "send it again, or cancel it first.",
}
_SENDING_STOPPED = (
    "Broadcast accepted and kept, but sending is stopped: Sinch refuses this service's calls. Tell "
    "the operator. It is sent once that is corrected: do not send it again, or cancel it first."
)
_SENDING_PAUSED = (
    "Broadcast accepted and kept, but sending is paused: the database was restored, and Sinch is "
    "asked for what was sent since. It is sent after that: do not send it again."
)
_PARTLY_REJECTED = "Broadcast accepted, but Sinch rejected a part of its recipients."


def create_broadcast(
    ctx: Context,
    request: BroadcastRequest,
    *,
    client: str,
    key: RequestKey | None,
    production: bool,
) -> tuple[dict[str, Any], HTTPStatus, bool]:
    """Accept a request and submit a small broadcast at once.

    Returns the answer, its status, and True if work remains for the background.  Raises SendFailed
    when Sinch rejected all of it and nothing is kept, and the errors of find_replay, check_times,
    prepare_request, check_quote and accept_broadcast.
    """
    if key and (stored := _find_answer(ctx, key, client=client, production=production)):
        return *stored, False
    request, expected = _check(ctx, request, client=client)

    def describe(public_id: str) -> dict[str, Any]:
        status = "scheduled" if request.send_at else "queued"
        answer = describe_request(request, public_id, status, recipients=expected)
        return answer | caps | ({"message": stopped} if stopped and not request.send_at else {})

    in_background = (
        request.audience is not None
        or request.canary is not None
        or expected > MAX_INLINE_RECIPIENTS
    )
    # Read before the transaction in which the answer is kept.
    stopped = explain_stop(ctx) if in_background else None
    caps = _show_caps(ctx, client, ctx.viewer.key_id) if in_background or request.send_at else {}

    try:
        accepted = accept_broadcast(ctx, request, client=client, key=key, describe=describe)
    except KeyTaken as e:
        if key and (stored := _find_answer(ctx, key, client=client, production=production)):
            return *stored, False
        raise RequestRunning("This Idempotency-Key has just expired.", retry_after_s=1) from e
    if accepted.first is None:
        return describe(accepted.public_id), HTTPStatus.ACCEPTED, True
    try:
        answer, status, completed = _submit(
            ctx, request, accepted, accepted.first, client=client, key=key, production=production
        )
    except SQLAlchemyError as e:
        # It is stored, and perhaps sent: an error would make the client send it again.
        logger.opt(exception=e).error("the database failed while a stored broadcast was submitted")
        unconfirmed = describe_request(request, accepted.public_id, "unknown", recipients=expected)
        return unconfirmed, HTTPStatus.ACCEPTED, True
    return _answer_or_raise(answer, status), status, not completed


def try_broadcast(ctx: Context, request: BroadcastRequest, *, client: str) -> dict[str, Any]:
    """Check a request that comes with a test key.  Returns the answer; nothing is stored or sent.

    Raises the errors of check_times, prepare_request and check_quote.
    """
    request, expected = _check(ctx, request, client=client)
    answer = describe_request(request, "", "test", recipients=expected)
    return answer | {"broadcast_id": None, "url": None} | _show_caps(ctx, client, ctx.viewer.key_id)


def _check(ctx: Context, request: BroadcastRequest, *, client: str) -> tuple[BroadcastRequest, int]:
    """Return the request as it is stored, and its number of recipients."""
    check_times(request, ctx.now())
    request = prepare_request(ctx, request)
    expected = count_expected(ctx, request)
    if expected > 1:
        check_recipients(ctx, client, expected)
    if request.quote is not None:
        check_quote(ctx, request, request.quote)
    return request, expected


def _submit(
    ctx: Context,
    request: BroadcastRequest,
    accepted: Accepted,
    first: Claim | Idle,
    *,
    client: str,
    key: RequestKey | None,
    production: bool,
) -> tuple[dict[str, Any], HTTPStatus, bool]:
    """Submit a small broadcast, and keep its answer with the key.

    Returns the answer, its status, and True if the broadcast is complete.
    """
    caps = first.caps if isinstance(first, Claim) else ()

    def describe_complete(batch_id: str) -> dict[str, Any]:
        answer = _describe_complete(request, accepted.public_id, batch_id)
        return answer | ({"caps": list(caps)} if caps else {})

    def keep_complete(tx: Connection, batch_id: str) -> None:
        if key:
            answer = describe_complete(batch_id)
            keep_answer(tx, key, client=client, status=HTTPStatus.ACCEPTED, answer=answer)

    # An audience is described as it was looked up.
    is_known = request.audience is None
    batch_id = submit_inline(ctx, accepted.id, first, keep_complete if is_known else None)
    if batch_id is not None and is_known:
        return describe_complete(batch_id), HTTPStatus.ACCEPTED, True
    view = view_by_id(ctx, accepted.id)
    answer = describe_view(ctx, view, request, production=production)
    status = choose_http_status(view)
    if key:
        with ctx.db.write() as tx:
            keep_answer(tx, key, client=client, status=status, answer=answer)
    return answer, status, view.row.completed_at is not None


def _find_answer(
    ctx: Context, key: RequestKey, *, client: str, production: bool
) -> tuple[dict[str, Any], HTTPStatus] | None:
    """Return the answer to the first request with this key; None for a new key.

    The answer is made now if the first request ended without one.
    """
    replay = find_replay(ctx, key, client=client)
    if replay is None:
        return None
    if replay.answer is not None:
        status = HTTPStatus(replay.answer_status)
        return _answer_or_raise(replay.answer, status), status
    view = view_by_id(ctx, replay.broadcast_id)
    answer = describe_view(ctx, view, None, production=production)
    status = choose_http_status(view)
    with ctx.db.write() as tx:
        keep_answer(tx, key, client=client, status=status, answer=answer)
    return _answer_or_raise(answer, status), status


def _answer_or_raise(answer: dict[str, Any], status: HTTPStatus) -> dict[str, Any]:
    """Return a successful answer; raise an error's as SendFailed."""
    if status < HTTPStatus.BAD_REQUEST:
        return answer
    facts = {name: value for name, value in answer.items() if name != "error"}
    raise SendFailed(answer["error"], **facts)


def choose_http_status(view: BroadcastView) -> HTTPStatus:
    """Return 202, or 502 when Sinch rejected all of the broadcast and nothing of it is kept.

    Many clients repeat a request that was answered 502.
    """
    refused = view.row.status is BroadcastStatus.REFUSED
    return HTTPStatus.BAD_GATEWAY if refused else HTTPStatus.ACCEPTED


def explain_stop(ctx: Context) -> str | None:
    """Return a sentence if nothing is sent at present, whatever the broadcast; else None."""
    with ctx.db.read() as tx:
        gates = read_gates(tx, ctx.rules, ctx.now())
    if gates.restoring:
        return _SENDING_PAUSED
    return _SENDING_STOPPED if gates.circuit else None


def count_expected(ctx: Context, request: BroadcastRequest) -> int:
    """Return the number of recipients, of an audience as of now.

    Raises NotFound for an empty audience, and QueryTooSlow.
    """
    if request.audience is None:
        return len(request.recipients)
    with ctx.db.read(within_s=AUDIENCE_WITHIN_S) as tx:
        unknown = request.tag is not None and find_unknown_tags(tx, [request.tag])
        recipients = 0 if unknown else count_audience(tx, request.audience)
    if not recipients:
        audience = f"tag: {request.tag}" if request.tag else "this audience"
        raise NotFound(f"No active subscribers found for {audience}")
    return recipients


def describe_request(
    request: BroadcastRequest, public_id: str, status: str, *, recipients: int
) -> dict[str, Any]:
    """Return the answer for a stored broadcast without any submitted batch."""
    return {
        "message": _SENTENCES.get(status, "Broadcast accepted."),
        "broadcast_id": public_id,
        "status": status,
        "url": BROADCAST_URL.format(public_id),
        "batch_id": None,
        "batch_ids": [],
        "recipients": recipients,
        "parts_per_message": request.size.parts,
        "encoding": request.size.encoding.value,
        "duplicates_removed": request.duplicates_removed,
        **_show_warnings(request.texts.values() or [request.text], request.size.parts),
        **({"reference": request.reference} if request.reference else {}),
        **(show_invalid(request.invalid) if request.invalid else {}),
    }


def _describe_complete(request: BroadcastRequest, public_id: str, batch_id: str) -> dict[str, Any]:
    """Return the answer for a broadcast whose only batch Sinch accepted."""
    answer = describe_request(request, public_id, "complete", recipients=len(request.recipients))
    return answer | {"message": SUBMITTED, "batch_id": batch_id, "batch_ids": [batch_id]}


def _show_caps(ctx: Context, client: str, key_id: int | None) -> dict[str, Any]:
    caps = describe_caps(ctx, client, key_id)
    return {"caps": caps} if caps else {}


def _show_warnings(texts: Iterable[str], parts: int) -> dict[str, Any]:
    warnings = list_text_warnings(texts, parts)
    return {"warnings": warnings} if warnings else {}


def describe_view(
    ctx: Context, view: BroadcastView, request: BroadcastRequest | None, *, production: bool
) -> dict[str, Any]:
    """Return the answer for a broadcast by its counts; invalid entries are in the request only."""
    row = view.row
    batch_ids = list_batch_ids(ctx, row.id)
    facts: dict[str, Any] = {
        "broadcast_id": row.public_id,
        "status": "held" if view.counts["held"] else view.status,
        "url": BROADCAST_URL.format(row.public_id),
        "batch_id": batch_ids[0] if batch_ids else None,
        "batch_ids": batch_ids,
        "recipients": row.recipients,
        "parts_per_message": row.parts,
        "encoding": row.encoding,
        "duplicates_removed": row.duplicates,
    }
    facts |= _show_warnings((row.texts or {}).values() or [row.text], row.parts)
    if view.exclusions:
        facts["exclusions"] = view.exclusions
    facts |= _show_caps(ctx, row.client, row.key_id)
    if row.reference:
        facts["reference"] = row.reference
    if row.invalid:
        facts |= show_invalid(request.invalid) if request else {"invalid_count": row.invalid}
    if choose_http_status(view) is HTTPStatus.BAD_GATEWAY:
        details = describe_refusal(row.refusal, production=production)
        return {"error": REFUSED} | facts | ({"details": details} if details else {})
    return {"message": _choose_sentence(ctx, view)} | facts


def _choose_sentence(ctx: Context, view: BroadcastView) -> str:
    suppressed = view.counts["suppressed"]
    if suppressed and suppressed == view.row.recipients:
        return _SENTENCES["suppressed"]
    if view.totals.at_sinch == view.row.recipients - suppressed:
        return SUBMITTED
    if view.counts["held"]:
        return _SENTENCES["held"]
    if any(group["reason"] == ExclusionReason.CAP_REACHED for group in view.exclusions):
        return _SENTENCES["capped"]
    if view.batches.get("rejected") and view.row.completed_at is not None:
        return _PARTLY_REJECTED
    if view.counts["pending"] and (stopped := explain_stop(ctx)):
        return stopped
    # A submission was tried, but every batch is still pending.
    all_pending = view.counts["pending"] == view.row.recipients
    status = "queued" if all_pending and view.status == "sending" else view.status
    return _SENTENCES.get(status, "Broadcast accepted.")


def describe_refusal(refusal: dict[str, Any] | None, *, production: bool) -> dict[str, Any]:
    """Return Sinch's reason; in production none about our account and configuration."""
    details = dict(refusal or {})
    is_configuration = details.pop("everything", False)
    return {} if production and is_configuration else details
