"""Route of the consent ledger."""

from http import HTTPStatus
from typing import Any

from app.auth import require_api_key
from app.config.scopes import KeyScope
from app.http.fields import NumberSchema
from app.http.files import audit_export
from app.http.openapi import Blueprint
from app.subscribers.consent.schemas import EvidenceSchema
from app.subscribers.consent.verify import make_evidence
from app.subscribers.current import current_subscriber_context

blueprint = Blueprint("consent", __name__, url_prefix="/api", description="Consent ledger.")


@blueprint.route("/consent/evidence", methods=["POST"])
@require_api_key(KeyScope.OVERSEE_SUBSCRIBERS)
@blueprint.arguments(NumberSchema(), example={"phone": "+46701234567"})
@blueprint.response(HTTPStatus.OK, EvidenceSchema)
def show_evidence(body: dict[str, Any]) -> dict[str, Any]:
    """Show a number's consents and objections, with the hashes that prove them."""
    audit_export("consent evidence")
    return make_evidence(current_subscriber_context(), body["phone"])
