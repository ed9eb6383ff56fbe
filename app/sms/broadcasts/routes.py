"""Broadcasts over HTTP: create one, look at them, pause, resume and cancel."""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from http import HTTPStatus
from typing import Any

from flask import current_app, g, request
from marshmallow import Schema

from app.auth import (
    CONTROL,
    READ,
    SEND,
    SEND_TRANSACTIONAL,
    require_api_key,
    require_scope,
)
from app.errors import NotFound
from app.http.openapi import API_KEY_SCHEME, BODY_ERRORS, Blueprint
from app.rate_limit import rate_limited
from app.sms.broadcasts import control, views
from app.sms.broadcasts.create import create_broadcast as answer_broadcast
from app.sms.broadcasts.idempotency import read_key
from app.sms.broadcasts.query_schemas import BroadcastQuerySchema, ResendSchema
from app.sms.broadcasts.resend import resend_undelivered as send_again
from app.sms.broadcasts.response_schemas import (
    BroadcastAcceptedSchema,
    BroadcastDuplicatedSchema,
    BroadcastFailedSchema,
    BroadcastPageSchema,
    BroadcastViewSchema,
    ResendAcceptedSchema,
    ResendConflictSchema,
)
from app.sms.broadcasts.serialize import show_page, show_view
from app.sms.context import Context
from app.sms.current import current_context
from app.sms.models.states import Category
from app.sms.request.error_schemas import (
    NO_RECIPIENTS,
    REQUEST_ERRORS,
    BroadcastConflictSchema,
    BroadcastRefusedSchema,
)
from app.sms.request.model import BroadcastRequest
from app.sms.request.schemas import BroadcastSchema, TagBroadcastSchema
from app.subscribers.attributes import normalise_tag
from app.subscribers.audiences.audience import plain_tag

blueprint = Blueprint(
    "sms", __name__, url_prefix="/api", description="Broadcasts: one text to many people."
)

_Change = Callable[[Context, str], None]

# For asking Sinch within a request; what is left is asked for by the next sweep.
_CANCEL_WITHIN_S = 3.0

KEY_DOC = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "schema": {"type": "string", "maxLength": 255},
    "description": "The same request with the same key again gets the same answer and sends "
    "nothing; kept for 30 days.",
}

_Create = Callable[..., BroadcastRequest]
_MAX_TAG_SHOWN = 64
_REFUSED = {HTTPStatus.BAD_REQUEST: "The request breaks a rule; nothing was sent."}
_REPEATED = {
    HTTPStatus.CONFLICT: "The same text has just gone to mostly the same people, the first "
    "request with this Idempotency-Key is still running, or the quote does not hold any more.",
}
_FAILED = {HTTPStatus.BAD_GATEWAY: "Sinch refused; `status` says whether it is kept for later."}
_CONFLICT = {HTTPStatus.CONFLICT: "It does not stand where this may be done; `status` says where."}


def _creates_broadcast(path: str, schema: type[Schema]) -> Callable[[_Create], Any]:
    """The route that makes a broadcast of what the schema loads, and answers how it stands."""

    def decorate(create: _Create) -> Any:
        @blueprint.route(path, methods=["POST"])
        @blueprint.guarded_errors(*REQUEST_ERRORS)
        @blueprint.described_errors(NO_RECIPIENTS)
        @blueprint.described_errors(_REFUSED, BroadcastRefusedSchema)
        @blueprint.described_errors(_REPEATED, BroadcastDuplicatedSchema)
        @blueprint.described_errors(_FAILED, BroadcastFailedSchema)
        @rate_limited
        @require_api_key(SEND)
        # An instance: webargs would make one of a class for every request.
        @blueprint.arguments(schema())
        @blueprint.response(HTTPStatus.ACCEPTED, BroadcastAcceptedSchema)
        @blueprint.doc(security=[{API_KEY_SCHEME: []}], parameters=[KEY_DOC])
        @wraps(create)
        def view(
            broadcast_request: BroadcastRequest, **parts: str
        ) -> tuple[dict[str, Any], HTTPStatus]:
            return _accept(create(broadcast_request, **parts))

        return view

    return decorate


def _accept(broadcast_request: BroadcastRequest) -> tuple[dict[str, Any], HTTPStatus]:
    if broadcast_request.category is Category.TRANSACTIONAL:
        require_scope(SEND_TRANSACTIONAL)
    answer, status, more = answer_broadcast(
        current_context(),
        broadcast_request,
        client=g.client.name,
        key=read_key(request.headers.get("Idempotency-Key"), g.get("body_hash", b"")),
        production=current_app.config["PRODUCTION"],
    )
    if more:
        current_app.extensions["wake_workers"]()
    return answer, status


@_creates_broadcast("/broadcast", BroadcastSchema)
def create_broadcast(broadcast_request: BroadcastRequest) -> BroadcastRequest:
    """Send one text to one, a thousand or a million people."""
    return broadcast_request


@_creates_broadcast("/broadcast/tag/<tag>", TagBroadcastSchema)
def create_tag_broadcast(broadcast_request: BroadcastRequest, tag: str) -> BroadcastRequest:
    """Send one text to all active subscribers who bear a tag."""
    name = normalise_tag(tag)
    if name is None:
        raise NotFound(f"No active subscribers found for tag: {tag[:_MAX_TAG_SHOWN]}")
    return replace(broadcast_request, tag=name, audience=plain_tag(name))


@blueprint.route("/broadcasts", methods=["GET"])
@blueprint.guarded_errors(HTTPStatus.BAD_REQUEST)
@rate_limited
@require_api_key(READ)
@blueprint.arguments(BroadcastQuerySchema(), location="query")
@blueprint.response(HTTPStatus.OK, BroadcastPageSchema)
@blueprint.doc(security=[{API_KEY_SCHEME: []}])
def list_broadcasts(query: dict[str, Any]) -> dict[str, Any]:
    """Broadcasts, newest first."""
    page = views.list_broadcasts(current_context(), **query)
    return show_page(page, production=current_app.config["PRODUCTION"])


@blueprint.route("/broadcasts/<broadcast_id>", methods=["GET"])
@blueprint.guarded_errors(HTTPStatus.NOT_FOUND)
@rate_limited
@require_api_key(READ)
@blueprint.response(HTTPStatus.OK, BroadcastViewSchema)
@blueprint.doc(security=[{API_KEY_SCHEME: []}])
def show_broadcast(broadcast_id: str) -> dict[str, Any]:
    """One broadcast, with counts that add up."""
    return _show(broadcast_id)


def _changes_broadcast(what: str) -> Callable[[_Change], Any]:
    """The route that does this to a broadcast, and then shows where it stands."""

    def decorate(change: _Change) -> Any:
        @blueprint.route(f"/broadcasts/<broadcast_id>/{what}", methods=["POST"])
        @blueprint.guarded_errors(HTTPStatus.NOT_FOUND)
        @blueprint.described_errors(_CONFLICT, BroadcastConflictSchema)
        @rate_limited
        @require_api_key(CONTROL)
        @blueprint.response(HTTPStatus.OK, BroadcastViewSchema)
        @blueprint.doc(security=[{API_KEY_SCHEME: []}])
        @wraps(change)
        def view(broadcast_id: str) -> dict[str, Any]:
            change(current_context(), broadcast_id)
            return _show(broadcast_id)

        return view

    return decorate


@_changes_broadcast("pause")
def pause_broadcast(ctx: Context, broadcast_id: str) -> None:
    """Hand nothing more of it to Sinch until it is resumed."""
    control.pause_broadcast(ctx, broadcast_id, actor=g.client.name)


@_changes_broadcast("resume")
def resume_broadcast(ctx: Context, broadcast_id: str) -> None:
    """Let one that is paused, stopped or late go on."""
    control.resume_broadcast(ctx, broadcast_id, actor=g.client.name)
    current_app.extensions["wake_workers"]()


@_changes_broadcast("cancel")
def cancel_broadcast(ctx: Context, broadcast_id: str) -> None:
    """Send nothing more of it, and have Sinch stop what it has not handed on."""
    control.cancel_broadcast(ctx, broadcast_id, actor=g.client.name)
    control.cancel_at_sinch(ctx, most=20, within_s=_CANCEL_WITHIN_S)
    current_app.extensions["wake_workers"]()


def _show(broadcast_id: str) -> dict[str, Any]:
    view = views.view_broadcast(current_context(), broadcast_id)
    return show_view(view, production=current_app.config["PRODUCTION"])


@blueprint.route("/broadcasts/<broadcast_id>/resend-undelivered", methods=["POST"])
@blueprint.guarded_errors(*BODY_ERRORS, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
@blueprint.described_errors(
    {
        HTTPStatus.CONFLICT: "It was resent before, `broadcast_id` says as which; or it is not "
        "finished, `status` says where it stands."
    },
    ResendConflictSchema,
)
@rate_limited
@require_api_key(SEND)
@blueprint.arguments(ResendSchema(), required=False)
@blueprint.response(HTTPStatus.ACCEPTED, ResendAcceptedSchema)
@blueprint.doc(security=[{API_KEY_SCHEME: []}], parameters=[KEY_DOC])
def resend_undelivered(choice: dict[str, Any], broadcast_id: str) -> dict[str, Any]:
    """Send it again, once, to those whom it provably has not reached."""
    answer = send_again(
        current_context(),
        broadcast_id,
        client=g.client.name,
        key=read_key(request.headers.get("Idempotency-Key"), g.get("body_hash", b"")),
        **choice,
    )
    current_app.extensions["wake_workers"]()
    return answer
