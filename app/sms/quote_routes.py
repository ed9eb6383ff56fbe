"""What a broadcast would come to, before it is sent."""

from http import HTTPStatus
from typing import Any

from app.auth import SEND, require_api_key
from app.openapi import API_KEY_SCHEME, Blueprint
from app.rate_limit import rate_limited
from app.sms.answer_schemas import BroadcastRefusedSchema
from app.sms.current import the_context
from app.sms.planning import Order
from app.sms.quote_schemas import QuoteRequestSchema, QuoteSchema
from app.sms.quoted import answer_quote

blueprint = Blueprint("quotes", __name__, url_prefix="/api", description="Before a broadcast.")


@blueprint.route("/broadcast/quote", methods=["POST"])
@blueprint.documented_errors(
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
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
