"""What became of messages, over HTTP: as a file, for one person, sent again; and what came back."""

from http import HTTPStatus
from typing import Any

from flask import Response, current_app, g, request

from app.auth import READ, READ_NUMBERS, SEND, require_api_key
from app.http.files import CSV, answer_csv
from app.http.openapi import API_KEY_SCHEME, BODY_ERRORS, Blueprint
from app.rate_limit import rate_limited
from app.sms.broadcasts.idempotency import read_key
from app.sms.broadcasts.query_schemas import (
    InboundQuerySchema,
    MessageChoiceSchema,
    ResendSchema,
    SearchSchema,
)
from app.sms.broadcasts.resend import resend_not_reached as send_again
from app.sms.broadcasts.response_schemas import BroadcastConflictSchema
from app.sms.broadcasts.routes import KEY_DOC
from app.sms.broadcasts.serialize import show_inbounds
from app.sms.current import the_context
from app.sms.inbound.list import list_inbounds as find_inbounds
from app.sms.messages.export import export_messages
from app.sms.messages.schemas import (
    FoundMessagesSchema,
    InboundPageSchema,
    ResendAcceptedSchema,
    ResendConflictSchema,
)
from app.sms.messages.search import search_messages as find_messages

blueprint = Blueprint(
    "reports", __name__, url_prefix="/api", description="What became of messages, and inbounds."
)


@blueprint.route("/broadcasts/<broadcast_id>/messages.csv", methods=["GET"])
@blueprint.guarded_errors(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND)
@blueprint.described_errors(
    {HTTPStatus.CONFLICT: "A large audience is being put in order; Retry-After says how long."},
    BroadcastConflictSchema,
)
@rate_limited
@require_api_key(READ)
@blueprint.arguments(MessageChoiceSchema(), location="query")
@blueprint.response(
    HTTPStatus.OK,
    {"type": "string"},
    content_type=CSV,
    description="A line for each recipient; numbers are masked without the scope messages:read.",
)
@blueprint.doc(security=[{API_KEY_SCHEME: []}])
def export_as_csv(choice: dict[str, Any], broadcast_id: str) -> Response:
    """A broadcast's recipients and where each stands, as a file for a spreadsheet."""
    masked = READ_NUMBERS not in g.client.scopes
    lines = export_messages(the_context(), broadcast_id, masked=masked, **choice)
    return answer_csv(lines, f"{broadcast_id}.csv")


@blueprint.route("/broadcasts/<broadcast_id>/resend-not-reached", methods=["POST"])
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
def resend_not_reached(choice: dict[str, Any], broadcast_id: str) -> dict[str, Any]:
    """Send it again, once, to those whom it provably has not reached."""
    answer = send_again(
        the_context(),
        broadcast_id,
        client=g.client.name,
        key=read_key(request.headers.get("Idempotency-Key"), g.get("body_hash", b"")),
        **choice,
    )
    current_app.extensions["nudge"]()
    return answer


@blueprint.route("/messages/search", methods=["POST"])
@blueprint.guarded_errors(*BODY_ERRORS)
@rate_limited
@require_api_key(READ_NUMBERS)
@blueprint.arguments(SearchSchema())
@blueprint.response(HTTPStatus.OK, FoundMessagesSchema)
@blueprint.doc(security=[{API_KEY_SCHEME: []}])
def search_messages(question: dict[str, Any]) -> dict[str, Any]:
    """What one person was sent, the newest first, and why they did not get it."""
    return find_messages(the_context(), **question)


@blueprint.route("/inbounds", methods=["GET"])
@blueprint.guarded_errors(HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND)
@rate_limited
@require_api_key(READ)
@blueprint.arguments(InboundQuerySchema(), location="query")
@blueprint.response(HTTPStatus.OK, InboundPageSchema)
@blueprint.doc(security=[{API_KEY_SCHEME: []}])
def list_inbounds(query: dict[str, Any]) -> dict[str, Any]:
    """Texts from phones to us, the newest first."""
    page = find_inbounds(the_context(), **query)
    return show_inbounds(page, masked=READ_NUMBERS not in g.client.scopes)
