"""Route of analytics."""

from http import HTTPStatus
from typing import Any

from flask import g

from app.auth import require_api_key, require_scope_for
from app.config.scopes import KeyScope
from app.http.openapi import Blueprint
from app.sms.analytics.query import AnalyticsQuery, read_analytics, show_analytics
from app.sms.analytics.schemas import AnalyticsQuerySchema, AnalyticsSchema
from app.sms.current import current_context
from app.sms.models.daily import Dimension

blueprint = Blueprint(
    "analytics", __name__, url_prefix="/api/analytics", description="Analytics of all messages."
)


@blueprint.route("", methods=["GET"])
@require_api_key(KeyScope.READ)
@blueprint.arguments(AnalyticsQuerySchema(), location="query")
@blueprint.response(HTTPStatus.OK, AnalyticsSchema)
def query_analytics(query: AnalyticsQuery) -> dict[str, Any]:
    """Count messages sent, delivered and failed, latency and opt-outs, by day, tag, country, …"""
    _limit_to_client(query)
    return show_analytics(query, read_analytics(current_context(), query))


def _limit_to_client(query: AnalyticsQuery) -> None:
    """Limit the query to the calling client without `clients:all`.  Raises KeyRefused."""
    require_scope_for(query.only.get(Dimension.CLIENT))
    if not g.client.viewer.sees_all:
        query.only[Dimension.CLIENT] = g.client.name
