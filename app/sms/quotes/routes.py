"""What a broadcast would come to, before it is sent."""

from http import HTTPStatus
from typing import Any

from app.auth import SEND, require_api_key
from app.http.openapi import API_KEY_SCHEME, Blueprint
from app.rate_limit import rate_limited
from app.sms.current import the_context
from app.sms.quotes.schemas import QuoteRequestSchema, QuoteSchema
from app.sms.quotes.serialize import answer_quote
from app.sms.request.error_schemas import NOBODY, ORDER_ERRORS, BroadcastRefusedSchema
from app.sms.request.model import Order

blueprint = Blueprint("quotes", __name__, url_prefix="/api", description="Before a broadcast.")


@blueprint.route("/broadcast/quote", methods=["POST"])
@blueprint.guarded_errors(*ORDER_ERRORS)
@blueprint.described_errors(NOBODY)
@blueprint.described_errors(
    {HTTPStatus.BAD_REQUEST: "The request breaks a rule."}, BroadcastRefusedSchema
)
@rate_limited
@require_api_key(SEND)
@blueprint.arguments(QuoteRequestSchema())
@blueprint.response(HTTPStatus.OK, QuoteSchema)
@blueprint.doc(security=[{API_KEY_SCHEME: []}])
def quote_broadcast(asked: tuple[Order, bool]) -> dict[str, Any]:
    """What a broadcast would come to: to whom, in how many parts, at what cost, when."""
    order, dry_run = asked
    return answer_quote(the_context(), order, dry_run=dry_run)
