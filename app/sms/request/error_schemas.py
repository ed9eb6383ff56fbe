"""Errors that a broadcast request may be answered with."""

from http import HTTPStatus

from marshmallow import fields, validate

from app.errors import ErrorSchema
from app.http.fields import describe
from app.sms.models.states import BroadcastStatus

STATUSES = [*(each.value for each in BroadcastStatus), "unknown", "held"]

# Of every route that takes an order, beside those in words of their own.
REQUEST_ERRORS = (
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)


NO_RECIPIENTS = {
    HTTPStatus.NOT_FOUND: "Nobody active bears the tag or fits the audience, or there is no such "
    "template.",
}


class BroadcastRefusedSchema(ErrorSchema):
    """The error when the request breaks a rule: nothing was sent."""

    invalid_numbers = fields.List(
        fields.Raw(), metadata=describe("The first 100 entries that are not numbers.")
    )
    invalid_count = fields.Integer(metadata=describe("How many there are."))


class BroadcastConflictSchema(ErrorSchema):
    """The error when a broadcast does not stand where this may be done to it."""

    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
