"""Routes of messages: list them, export them, find those of one person."""

from functools import partial
from http import HTTPStatus
from typing import Any

from flask import Response, g

from app.auth import require_api_key
from app.config.scopes import KeyScope
from app.http.files import CSV_RESPONSE, make_csv_response
from app.http.openapi import Blueprint
from app.sms.current import current_context
from app.sms.messages.export import export_messages
from app.sms.messages.list import list_messages as find_messages_of
from app.sms.messages.schemas import (
    FoundMessagesSchema,
    MessageFileSchema,
    MessagePageSchema,
    MessageQuerySchema,
    SearchSchema,
    show_messages,
)
from app.sms.messages.search import search_messages as find_messages
from app.sms.request.error_schemas import PURGED, BroadcastConflictSchema, PurgedSchema

blueprint = Blueprint(
    "messages",
    __name__,
    url_prefix="/api",
    description="Messages: the status of each recipient's copy.",
)


@blueprint.route("/broadcasts/<broadcast_id>/messages.csv", methods=["GET"])
@blueprint.error_response(
    HTTPStatus.CONFLICT,
    "A large audience is being sorted; retry after `Retry-After` seconds.",
    BroadcastConflictSchema,
)
@blueprint.error_response(HTTPStatus.GONE, PURGED, PurgedSchema)
@require_api_key(KeyScope.READ)
@blueprint.arguments(MessageFileSchema(), location="query")
@blueprint.response(
    HTTPStatus.OK,
    **CSV_RESPONSE,
    description="A line per recipient. Numbers are masked without the scope messages:read.",
)
def export_broadcast_messages(choice: dict[str, Any], broadcast_id: str) -> Response:
    """Export a broadcast's recipients and their status as a CSV file."""
    masked = KeyScope.READ_NUMBERS not in g.client.scopes
    csv_format = choice.pop("csv_format")
    export = partial(export_messages, current_context(), broadcast_id, masked=masked, **choice)
    return make_csv_response(export, f"{broadcast_id}.csv", csv_format)


@blueprint.route("/messages/search", methods=["POST"])
@require_api_key(KeyScope.READ_NUMBERS)
@blueprint.arguments(SearchSchema(), example={"recipient": "+15551234567"})
@blueprint.response(HTTPStatus.OK, FoundMessagesSchema)
def search_messages(query: dict[str, Any]) -> dict[str, Any]:
    """Find the messages to one person, newest first, and why they did not arrive."""
    return find_messages(current_context(), **query)


@blueprint.route("/broadcasts/<broadcast_id>/messages", methods=["GET"])
@blueprint.error_response(HTTPStatus.GONE, PURGED, PurgedSchema)
@require_api_key(KeyScope.READ_NUMBERS)
@blueprint.arguments(MessageQuerySchema(), location="query")
@blueprint.response(HTTPStatus.OK, MessagePageSchema)
def list_messages(query: dict[str, Any], broadcast_id: str) -> dict[str, Any]:
    """List a broadcast's recipients and their status."""
    return show_messages(find_messages_of(current_context(), broadcast_id, **query))
