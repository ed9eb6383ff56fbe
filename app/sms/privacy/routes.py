"""Routes that erase a person's data."""

from http import HTTPStatus
from typing import Any

from flask import g
from marshmallow import Schema, fields, validate

from app.auth import require_api_key
from app.config.scopes import KeyScope
from app.http.fields import NumberSchema, required
from app.http.openapi import Blueprint
from app.sms.current import current_context
from app.sms.privacy import erase
from app.sms.privacy.erase import PLACES

blueprint = Blueprint(
    "erasures", __name__, url_prefix="/api", description="Erasure of a person's data."
)

_WAITS = "Suppressed now; the remaining data is erased once its messages are final."


class ErasedSchema(Schema):
    """Progress of an erasure; the number is suppressed in any case."""

    suppression_id = fields.String(required=True)
    erased = fields.Boolean(**required("True if nothing remains."))
    remaining = fields.List(
        fields.String(validate=validate.OneOf(PLACES)),
        **required("Where the number is still stored; it is erased automatically."),
    )


@blueprint.route("/subscribers/<subscriber_id>/erase", methods=["POST"])
@require_api_key(KeyScope.OVERSEE_SUBSCRIBERS)
@blueprint.alt_response(HTTPStatus.ACCEPTED, schema=ErasedSchema, description=_WAITS)
@blueprint.response(HTTPStatus.OK, ErasedSchema)
def erase_subscriber(subscriber_id: str) -> tuple[dict[str, Any], HTTPStatus]:
    """Erase all data of a subscriber, except that the number stays suppressed."""
    erased = erase.erase_subscriber(current_context(), subscriber_id, actor=g.client.name)
    return _answer(erased)


@blueprint.route("/suppressions/erase", methods=["POST"])
@require_api_key(KeyScope.OVERSEE_SUBSCRIBERS)
@blueprint.arguments(NumberSchema(), example={"phone": "+15551234567"})
@blueprint.alt_response(HTTPStatus.ACCEPTED, schema=ErasedSchema, description=_WAITS)
@blueprint.response(HTTPStatus.OK, ErasedSchema)
def erase_number(body: dict[str, Any]) -> tuple[dict[str, Any], HTTPStatus]:
    """Erase all data of a number, subscriber or not, except that it stays suppressed."""
    return _answer(erase.erase_number(current_context(), body["phone"], actor=g.client.name))


def _answer(erased: erase.Erased) -> tuple[dict[str, Any], HTTPStatus]:
    status = HTTPStatus.ACCEPTED if erased.remaining else HTTPStatus.OK
    shown = {
        "suppression_id": erased.suppression_id,
        "erased": not erased.remaining,
        "remaining": erased.remaining,
    }
    return shown, status
