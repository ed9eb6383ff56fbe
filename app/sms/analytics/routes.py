"""The analytics over HTTP."""

from http import HTTPStatus
from typing import Any

from flask import g

from app.auth import ANALYTICS_ALL, READ, require_api_key
from app.errors import KeyRefused
from app.http.openapi import Blueprint
from app.rate_limit import rate_limited
from app.sms.analytics.query import AnalyticsQuery, read_analytics, show_analytics
from app.sms.analytics.schemas import AnalyticsQuerySchema, AnalyticsSchema
from app.sms.current import current_context
from app.sms.models.daily import Dimension

blueprint = Blueprint(
    "analytics", __name__, url_prefix="/api/analytics", description="What became of all messages."
)


@blueprint.route("", methods=["GET"])
@rate_limited
@require_api_key(READ)
@blueprint.arguments(AnalyticsQuerySchema(), location="query")
@blueprint.response(HTTPStatus.OK, AnalyticsSchema)
def show_figures(query: dict[str, Any]) -> dict[str, Any]:
    """Sent, delivered, failed, how quickly, and who wanted no more: one's own, by day and so on."""
    question = _make_question(query)
    return show_analytics(question, read_analytics(current_context(), question))


def _make_question(query: dict[str, Any]) -> AnalyticsQuery:
    """What is asked, of this client alone unless it may see all.  Raises KeyRefused."""
    only = {each: query[each.value] for each in Dimension if each.value in query}
    own = g.client.name
    if ANALYTICS_ALL not in g.client.scopes and only.setdefault(Dimension.CLIENT, own) != own:
        raise KeyRefused(f"This API key lacks the scope {ANALYTICS_ALL}")
    return AnalyticsQuery(
        since=query["since"], until=query["until"], group_by=query["group_by"], only=only
    )
