"""Routes of the `sms` blueprint: create, list, pause, resume, cancel and resend broadcasts."""

from dataclasses import replace
from http import HTTPStatus
from typing import Any

from flask import Response, after_this_request, current_app, g, request

from app.auth import require_api_key, require_scope, require_scope_for
from app.config.scopes import KeyScope
from app.errors import BadInput, KeyRefused, NotFound
from app.http.openapi import Blueprint
from app.sms.analytics.delivery import DeliveryFigures
from app.sms.broadcasts import control, create, resend, views
from app.sms.broadcasts.idempotency import RequestKey, read_key
from app.sms.broadcasts.query_schemas import BroadcastQuerySchema, CancelSchema, ResendSchema
from app.sms.broadcasts.response_schemas import (
    BroadcastAcceptedSchema,
    BroadcastDuplicatedSchema,
    BroadcastFailedSchema,
    BroadcastPageSchema,
    BroadcastViewSchema,
    DeliveryFiguresSchema,
    ResendAcceptedSchema,
    ResendConflictSchema,
)
from app.sms.broadcasts.serialize import show_page, show_view
from app.sms.current import current_context
from app.sms.models.states import Category
from app.sms.request.error_schemas import (
    NO_RECIPIENTS,
    PURGED,
    BroadcastConflictSchema,
    BroadcastRefusedSchema,
    PurgedSchema,
)
from app.sms.request.model import BroadcastRequest
from app.sms.request.schemas import BroadcastSchema, TagBroadcastSchema
from app.subscribers.attributes import normalise_tag
from app.subscribers.audiences.audience import plain_tag

blueprint = Blueprint(
    "sms", __name__, url_prefix="/api", description="Broadcasts: one text to many recipients."
)

# The request spends at most this long on cancelling at Sinch; a background job cancels the rest.
_CANCEL_WITHIN_S = 3.0
_MAX_TAG_SHOWN = 64

IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "schema": {"type": "string", "maxLength": 255},
    "description": "A repeated request with the same key gets the answer of the first and sends "
    "nothing; the header `Idempotent-Replayed: true` marks it. Keys are kept for 30 days.",
}
_REPLAYED = "Idempotent-Replayed"

_INVALID = "The request is invalid; nothing was sent."
_DUPLICATE = (
    "Duplicate of a recent broadcast (same text, mostly the same recipients), or the first request "
    "with this Idempotency-Key is still running, or the quote is no longer valid."
)
_FAILED = "Sinch rejected the broadcast, and nothing of it is kept."
_CONFLICT = "Not allowed in the broadcast's current status; see `status`."
_RESEND_CONFLICT = (
    "Already resent as the broadcast `broadcast_id`, or not complete yet, see `status`; or no "
    "failure is reported so far, see `awaited`."
)


@blueprint.route("/broadcast", methods=["POST"], parameters=[IDEMPOTENCY_KEY])
@blueprint.error_response(HTTPStatus.BAD_REQUEST, _INVALID, BroadcastRefusedSchema)
@blueprint.error_response(HTTPStatus.NOT_FOUND, NO_RECIPIENTS)
@blueprint.error_response(HTTPStatus.CONFLICT, _DUPLICATE, BroadcastDuplicatedSchema)
@blueprint.error_response(HTTPStatus.UNPROCESSABLE_ENTITY)
@blueprint.error_response(HTTPStatus.BAD_GATEWAY, _FAILED, BroadcastFailedSchema)
@require_api_key(KeyScope.SEND)
@blueprint.arguments(
    BroadcastSchema(), example={"recipients": ["+15551234567"], "message": "Pickup moved to 08:30"}
)
@blueprint.response(HTTPStatus.ACCEPTED, BroadcastAcceptedSchema)
def create_broadcast(broadcast_request: BroadcastRequest) -> tuple[dict[str, Any], HTTPStatus]:
    """Send one text to one, a thousand or a million recipients."""
    return _create(broadcast_request)


@blueprint.route("/broadcast/tag/<tag>", methods=["POST"], parameters=[IDEMPOTENCY_KEY])
@blueprint.error_response(HTTPStatus.BAD_REQUEST, _INVALID, BroadcastRefusedSchema)
@blueprint.error_response(HTTPStatus.NOT_FOUND, NO_RECIPIENTS)
@blueprint.error_response(HTTPStatus.CONFLICT, _DUPLICATE, BroadcastDuplicatedSchema)
@blueprint.error_response(HTTPStatus.UNPROCESSABLE_ENTITY)
@blueprint.error_response(HTTPStatus.BAD_GATEWAY, _FAILED, BroadcastFailedSchema)
@require_api_key(KeyScope.SEND)
@blueprint.arguments(TagBroadcastSchema(), example={"message": "Pickup moved to 08:30"})
@blueprint.response(HTTPStatus.ACCEPTED, BroadcastAcceptedSchema)
def create_tag_broadcast(
    broadcast_request: BroadcastRequest, tag: str
) -> tuple[dict[str, Any], HTTPStatus]:
    """Send one text to all active subscribers with a tag."""
    name = normalise_tag(tag)
    if name is None:
        raise NotFound(f"No active subscribers found for tag: {tag[:_MAX_TAG_SHOWN]}")
    return _create(replace(broadcast_request, tag=name, audience=plain_tag(name)))


@blueprint.route("/broadcasts", methods=["GET"])
@require_api_key(KeyScope.READ)
@blueprint.arguments(BroadcastQuerySchema(), location="query")
@blueprint.response(HTTPStatus.OK, BroadcastPageSchema)
def list_broadcasts(query: dict[str, Any]) -> dict[str, Any]:
    """List broadcasts, newest first."""
    require_scope_for(query.get("client"))
    page = views.list_broadcasts(current_context(), **query)
    return show_page(page, production=current_app.config["PRODUCTION"])


@blueprint.route("/broadcasts/<broadcast_id>", methods=["GET"])
@require_api_key(KeyScope.READ)
@blueprint.response(HTTPStatus.OK, BroadcastViewSchema)
def show_broadcast(broadcast_id: str) -> dict[str, Any]:
    """Show a broadcast: its status and how many recipients are in which state."""
    return _show(broadcast_id)


@blueprint.route("/broadcasts/<broadcast_id>/delivery", methods=["GET"])
@require_api_key(KeyScope.READ)
@blueprint.response(HTTPStatus.OK, DeliveryFiguresSchema)
def show_delivery(broadcast_id: str) -> DeliveryFigures:
    """Show how a broadcast was delivered: its curve over time, and its countries."""
    return views.view_delivery(current_context(), broadcast_id)[1]


@blueprint.route("/broadcasts/<broadcast_id>/pause", methods=["POST"])
@blueprint.error_response(HTTPStatus.CONFLICT, _CONFLICT, BroadcastConflictSchema)
@require_api_key(KeyScope.CONTROL, brakes=True)
@blueprint.response(HTTPStatus.OK, BroadcastViewSchema)
def pause_broadcast(broadcast_id: str) -> dict[str, Any]:
    """Pause a broadcast: submit nothing more to Sinch until it is resumed."""
    control.pause_broadcast(current_context(), broadcast_id, actor=g.client.name)
    return _show(broadcast_id)


@blueprint.route("/broadcasts/<broadcast_id>/resume", methods=["POST"])
@blueprint.error_response(HTTPStatus.CONFLICT, _CONFLICT, BroadcastConflictSchema)
@require_api_key(KeyScope.CONTROL)
@blueprint.response(HTTPStatus.OK, BroadcastViewSchema)
def resume_broadcast(broadcast_id: str) -> dict[str, Any]:
    """Resume a broadcast that is paused, halted or missed its start.

    One whose audience has grown beyond what was approved is resumed on its page.
    """
    control.resume_broadcast(current_context(), broadcast_id, actor=g.client.name)
    current_app.extensions["wake_workers"]()
    return _show(broadcast_id)


@blueprint.route("/broadcasts/<broadcast_id>/cancel", methods=["POST"])
@blueprint.error_response(HTTPStatus.CONFLICT, _CONFLICT, BroadcastConflictSchema)
@blueprint.error_response(HTTPStatus.UNPROCESSABLE_ENTITY)
@require_api_key(KeyScope.CONTROL, brakes=True)
@blueprint.arguments(CancelSchema(), required=False, example={"note": "Wrong opening time"})
@blueprint.response(HTTPStatus.OK, BroadcastViewSchema)
def cancel_broadcast(options: dict[str, Any], broadcast_id: str) -> dict[str, Any]:
    """Cancel a broadcast: submit nothing more, and cancel at Sinch what is not yet dispatched."""
    ctx = current_context()
    control.cancel_broadcast(ctx, broadcast_id, actor=g.client.name, **options)
    control.cancel_at_sinch(ctx, limit=20, within_s=_CANCEL_WITHIN_S)
    current_app.extensions["wake_workers"]()
    return _show(broadcast_id)


@blueprint.route(
    "/broadcasts/<broadcast_id>/resend-undelivered", methods=["POST"], parameters=[IDEMPOTENCY_KEY]
)
@blueprint.error_response(HTTPStatus.CONFLICT, _RESEND_CONFLICT, ResendConflictSchema)
@blueprint.error_response(HTTPStatus.GONE, PURGED, PurgedSchema)
@blueprint.error_response(HTTPStatus.UNPROCESSABLE_ENTITY)
@require_api_key(KeyScope.SEND)
@blueprint.arguments(ResendSchema(), required=False, example={"include_permanent": False})
@blueprint.response(HTTPStatus.ACCEPTED, ResendAcceptedSchema)
def resend_undelivered(choice: dict[str, Any], broadcast_id: str) -> dict[str, Any]:
    """Resend a broadcast, once, to the recipients that it provably did not reach."""
    if g.client.is_test:
        raise KeyRefused("A test key sends nothing: use another key")
    answer = resend.resend_undelivered(
        current_context(), broadcast_id, client=g.client.name, key=_read_key(), **choice
    )
    current_app.extensions["wake_workers"]()
    return answer


def _create(broadcast_request: BroadcastRequest) -> tuple[dict[str, Any], HTTPStatus]:
    if broadcast_request.category is Category.TRANSACTIONAL:
        require_scope(KeyScope.SEND_TRANSACTIONAL)
    if g.client.is_test:
        ctx, client = current_context(), g.client.name
        return create.try_broadcast(ctx, broadcast_request, client=client), HTTPStatus.ACCEPTED
    answer, status, is_incomplete = create.create_broadcast(
        current_context(),
        broadcast_request,
        client=g.client.name,
        key=_read_key(),
        production=current_app.config["PRODUCTION"],
    )
    if is_incomplete:
        current_app.extensions["wake_workers"]()
    return answer, status


def _read_key() -> RequestKey | None:
    header = request.headers.get("Idempotency-Key")
    if header is None:
        _require_no_misspelt_key()
        return None
    key = read_key(header, *g.get("body_hashes", (b"", b"")))
    return replace(key, on_replay=lambda: after_this_request(_mark_replay))


def _require_no_misspelt_key() -> None:
    """Raise BadInput for a key in a header of another name: its retry would send twice."""
    # As WSGI spells headers: to spell each of them otherwise takes six times as long.
    names = (name for name in request.environ if "DEMPOT" in name and name[:5] == "HTTP_")
    if found := next(names, None):
        name = found[5:].replace("_", "-").title()
        raise BadInput(f"The header {name[:64]} is not read: call it Idempotency-Key")


def _mark_replay(response: Response) -> Response:
    response.headers[_REPLAYED] = "true"
    return response


def _show(broadcast_id: str) -> dict[str, Any]:
    view = views.view_broadcast(current_context(), broadcast_id)
    return show_view(view, production=current_app.config["PRODUCTION"])
