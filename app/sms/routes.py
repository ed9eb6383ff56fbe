"""POST /api/broadcast."""

from http import HTTPStatus
from typing import Any

from flask import current_app

from app.auth import SEND, require_api_key
from app.openapi import API_KEY_SCHEME, Blueprint
from app.rate_limit import rate_limited
from app.sms.answers import make_answer
from app.sms.planning import Broadcast
from app.sms.schemas import (
    BroadcastAcceptedSchema,
    BroadcastFailedSchema,
    BroadcastRefusedSchema,
    BroadcastSchema,
)
from app.sms.sending import Sender

blueprint = Blueprint(
    "sms", __name__, url_prefix="/api", description="Broadcasts: one text to many people."
)


@blueprint.route("/broadcast", methods=["POST"])
@blueprint.documented_errors(
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.TOO_MANY_REQUESTS,
)
@blueprint.described_errors(
    {HTTPStatus.BAD_REQUEST: "The request breaks a rule; nothing was sent."},
    BroadcastRefusedSchema,
)
@blueprint.described_errors(
    {
        HTTPStatus.BAD_GATEWAY: "Sinch refused, or only a part was sent; `batches` says which.",
        HTTPStatus.SERVICE_UNAVAILABLE: "Sinch is busy or out of reach: nothing was sent; "
        "Retry-After says when to send the same again.",
        HTTPStatus.GATEWAY_TIMEOUT: "The texts may have been sent: look at Sinch before "
        "sending them again.",
    },
    BroadcastFailedSchema,
)
@blueprint.doc(security=[{API_KEY_SCHEME: []}])
@rate_limited
@require_api_key(SEND)
@blueprint.arguments(BroadcastSchema())  # an instance: made once, not at every request
@blueprint.response(HTTPStatus.ACCEPTED, BroadcastAcceptedSchema())
def create_broadcast(broadcast: Broadcast) -> dict[str, Any]:
    """Send one text to up to 10,000 recipients."""
    sender: Sender = current_app.extensions["sender"]
    outcomes = sender.submit_within_budget(sender.make_batches(broadcast))
    production: bool = current_app.config["PRODUCTION"]
    return make_answer(broadcast, outcomes, production=production)
