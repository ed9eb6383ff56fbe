"""Route of inbound texts."""

from http import HTTPStatus
from typing import Any

from flask import g

from app.auth import require_api_key
from app.config.scopes import KeyScope
from app.http.openapi import Blueprint
from app.sms.current import current_context
from app.sms.inbound.list import list_inbounds as find_inbounds
from app.sms.inbound.schemas import InboundPageSchema, InboundQuerySchema
from app.sms.inbound.serialize import show_inbounds

blueprint = Blueprint(
    "inbounds", __name__, url_prefix="/api", description="Inbound texts from phones."
)


@blueprint.route("/inbounds", methods=["GET"])
@blueprint.error_response(HTTPStatus.NOT_FOUND, "No such broadcast.")
@require_api_key(KeyScope.READ)
@blueprint.arguments(InboundQuerySchema(), location="query")
@blueprint.response(HTTPStatus.OK, InboundPageSchema)
def list_inbounds(query: dict[str, Any]) -> dict[str, Any]:
    """List inbound texts, newest first."""
    page = find_inbounds(current_context(), **query)
    return show_inbounds(page, masked=KeyScope.READ_NUMBERS not in g.client.scopes)
