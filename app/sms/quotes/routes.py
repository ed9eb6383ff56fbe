"""Route of quotes."""

from http import HTTPStatus
from typing import Any

from app.auth import require_api_key
from app.config.scopes import KeyScope
from app.http.openapi import Blueprint
from app.sms.current import current_context
from app.sms.quotes.schemas import QuoteRequestSchema, QuoteSchema
from app.sms.quotes.serialize import serialize_quote
from app.sms.request.error_schemas import NO_RECIPIENTS, BroadcastRefusedSchema
from app.sms.request.model import BroadcastRequest

blueprint = Blueprint(
    "quotes",
    __name__,
    url_prefix="/api",
    description="Quotes: cost and size of a broadcast before it is sent.",
)


@blueprint.route("/broadcast/quote", methods=["POST"])
@blueprint.error_response(HTTPStatus.BAD_REQUEST, "The request is invalid.", BroadcastRefusedSchema)
@blueprint.error_response(HTTPStatus.NOT_FOUND, NO_RECIPIENTS)
@require_api_key(KeyScope.SEND)
@blueprint.arguments(
    QuoteRequestSchema(),
    example={"recipients": ["+15551234567"], "message": "Pickup moved to 08:30"},
)
@blueprint.response(HTTPStatus.OK, QuoteSchema)
def quote_broadcast(body: tuple[BroadcastRequest, bool]) -> dict[str, Any]:
    """Quote a broadcast: recipients, parts, cost and times, without sending it."""
    request, dry_run = body
    return serialize_quote(current_context(), request, dry_run=dry_run)
