"""What a client is told of its broadcast: what is stored of it, and what became of it so far."""

from http import HTTPStatus
from typing import Any

from app.errors import NotFound, RequestRunning, SendFailed
from app.sms.broadcasts.idempotency import KeyTaken, Replay, RequestKey, find_replay, keep_answer
from app.sms.broadcasts.store import accept_broadcast
from app.sms.broadcasts.views import BroadcastView, list_batch_ids, view_by_id
from app.sms.context import Context
from app.sms.dispatch.drain import submit_inline
from app.sms.lifecycle.counts import make_url
from app.sms.models.states import BroadcastStatus
from app.sms.quotes.quote import check_quote
from app.sms.request.model import BroadcastRequest
from app.sms.request.prepare import prepare_request
from app.sms.request.schemas import check_times, show_invalid
from app.subscribers.audiences.audience import count_audience, find_unknown_tags

SUBMITTED = "SMS batch submitted successfully to Sinch."
REFUSED = "Failed to send SMS batch."

_SENTENCES = {
    "scheduled": "Broadcast accepted; it is sent at its time.",
    "queued": "Broadcast accepted; it is sent in the background.",
    "sending": "Broadcast accepted; the rest of it is sent in the background.",
    "unknown": "Broadcast accepted; Sinch has not confirmed it yet. Do not send it again: it may "
    "have been sent, and is not sent twice.",
    "complete_needs_attention": "Broadcast accepted; an operator has to look at a part of it.",
    "suppressed": "Broadcast accepted, but nobody of it may be written to.",
    "expired": "Broadcast accepted, but it was too late to send it to anybody.",
}
_PARTLY_REFUSED = "Broadcast accepted, but Sinch refused a part of its recipients."
_OTHERWISE = "Broadcast accepted."


def create_broadcast(
    ctx: Context,
    request: BroadcastRequest,
    *,
    client: str,
    key: RequestKey | None,
    production: bool,
) -> tuple[dict[str, Any], HTTPStatus, bool]:
    """Accept an order and submit what can be within the request.

    The answer, its status, and whether there is work left for the background.  Raises SendFailed
    when Sinch refused all of it, and what find_replay, check_times, complete_order, check_quote and
    accept_broadcast raise.
    """
    if key and (known := _find_answer(ctx, key, client=client, production=production)):
        return *known, False
    check_times(request, ctx.now())
    request = prepare_request(ctx, request)
    expected = count_expected(ctx, request)
    check_quote(ctx, request)

    def describe(public_id: str) -> dict[str, Any]:
        status = "scheduled" if request.send_at else "queued"
        return describe_request(request, public_id, status, recipients=expected)

    try:
        accepted = accept_broadcast(ctx, request, client=client, key=key, describe=describe)
    except KeyTaken as e:
        if key and (known := _find_answer(ctx, key, client=client, production=production)):
            return *known, False
        raise RequestRunning("This Idempotency-Key has just expired.", retry_after_s=1) from e
    if accepted.first is None:
        return describe(accepted.public_id), HTTPStatus.ACCEPTED, True
    submit_inline(ctx, accepted.id, accepted.first)
    view = view_by_id(ctx, accepted.id)
    answer = describe_view(ctx, view, request, production=production)
    status = choose_http_status(view)
    if key:
        keep_answer(ctx, key, client=client, status=status, answer=answer)
    return _give(answer, status), status, view.row.completed_at is None


def _find_answer(
    ctx: Context, key: RequestKey, *, client: str, production: bool
) -> tuple[dict[str, Any], HTTPStatus] | None:
    """What the first request with this key is answered; None when this one is the first."""
    replay = find_replay(ctx, key, client=client)
    if replay is None:
        return None
    return _answer_again(ctx, key, replay, client=client, production=production)


def _answer_again(
    ctx: Context, key: RequestKey, replay: Replay, *, client: str, production: bool
) -> tuple[dict[str, Any], HTTPStatus]:
    """The stored answer; one made now where the first request ended without giving any."""
    if replay.answer is not None and replay.status is not None:
        status = HTTPStatus(replay.status)
        return _give(replay.answer, status), status
    view = view_by_id(ctx, replay.broadcast_id)
    answer = describe_view(ctx, view, None, production=production)
    status = choose_http_status(view)
    keep_answer(ctx, key, client=client, status=status, answer=answer)
    return _give(answer, status), status


def _give(answer: dict[str, Any], status: HTTPStatus) -> dict[str, Any]:
    """The answer, or raised as the error it is."""
    if status < HTTPStatus.BAD_REQUEST:
        return answer
    facts = {name: value for name, value in answer.items() if name != "error"}
    raise SendFailed(answer["error"], **facts)


def choose_http_status(view: BroadcastView) -> HTTPStatus:
    """202, or 502 when Sinch refused and nothing of it was taken."""
    taken = view.sums.at_sinch or view.counts["unconfirmed"]
    refused = view.row.status is BroadcastStatus.REFUSED or view.counts["held"]
    return HTTPStatus.BAD_GATEWAY if refused and not taken else HTTPStatus.ACCEPTED


def count_expected(ctx: Context, request: BroadcastRequest) -> int:
    """How many recipients an order has, or would have if it were looked up now.

    Raises NotFound for an audience that is nobody.
    """
    if request.audience is None:
        return len(request.recipients)
    with ctx.db.read() as tx:
        if request.tag is not None and find_unknown_tags(tx, [request.tag]):
            people = 0
        else:
            people = count_audience(tx, request.audience)
    if not people:
        whom = f"tag: {request.tag}" if request.tag else "this audience"
        raise NotFound(f"No active subscribers found for {whom}")
    return people


def describe_request(
    request: BroadcastRequest, public_id: str, status: str, *, recipients: int
) -> dict[str, Any]:
    """The answer for a broadcast of which nothing has been submitted."""
    return {
        "message": _SENTENCES[status],
        "broadcast_id": public_id,
        "status": status,
        "url": make_url(public_id),
        "batch_id": None,
        "batch_ids": [],
        "recipients": recipients,
        "parts_per_message": request.size.parts,
        "encoding": request.size.encoding.value,
        "duplicates_removed": request.duplicates_removed,
        **({"reference": request.reference} if request.reference else {}),
        **(show_invalid(request.invalid) if request.invalid else {}),
    }


def describe_view(
    ctx: Context, view: BroadcastView, request: BroadcastRequest | None, *, production: bool
) -> dict[str, Any]:
    """The answer for a broadcast as it stands; `order` has its invalid entries, not stored."""
    row = view.row
    batch_ids = list_batch_ids(ctx, row.id)
    facts: dict[str, Any] = {
        "broadcast_id": row.public_id,
        "status": "held" if view.counts["held"] else view.status,
        "url": make_url(row.public_id),
        "batch_id": batch_ids[0] if batch_ids else None,
        "batch_ids": batch_ids,
        "recipients": row.recipients,
        "parts_per_message": row.parts,
        "encoding": row.encoding,
        "duplicates_removed": row.duplicates,
    }
    if row.reference:
        facts["reference"] = row.reference
    if row.invalid:
        facts |= show_invalid(request.invalid) if request else {"invalid_count": row.invalid}
    if choose_http_status(view) is HTTPStatus.BAD_GATEWAY:
        details = describe_refusal(row.refusal, production=production)
        error = {"error": _explain_refusal(view)}
        return error | facts | ({"details": details} if details else {})
    return {"message": _choose_sentence(view)} | facts


def _choose_sentence(view: BroadcastView) -> str:
    exclusion_reason = view.counts["suppressed"]
    if exclusion_reason and exclusion_reason == view.row.recipients:
        return _SENTENCES["suppressed"]
    if view.sums.at_sinch == view.row.recipients - exclusion_reason:
        return SUBMITTED
    if view.batches.get("rejected") and view.row.completed_at is not None:
        return _PARTLY_REFUSED
    # Tried, but all of it was put off.
    nothing_went = view.counts["pending"] == view.row.recipients
    status = "queued" if nothing_went and view.status == "sending" else view.status
    return _SENTENCES.get(status, _OTHERWISE)


def describe_refusal(refusal: dict[str, Any] | None, *, production: bool) -> dict[str, Any]:
    """Sinch's own words; in production not those on our account and configuration."""
    told = dict(refusal or {})
    everything = told.pop("everything", False)
    return {} if production and everything else told


def _explain_refusal(view: BroadcastView) -> str:
    if not view.counts["held"]:
        return REFUSED
    return (
        f"{REFUSED} Sinch refuses this service's configuration; tell its operator. Nothing was "
        "sent, but the broadcast is kept and goes out once that is mended: do not send it again, "
        "or cancel it first."
    )
