"""Errors that a broadcast request may be answered with."""

from marshmallow import fields, validate

from app.errors import ErrorSchema
from app.http.fields import describe
from app.sms.models.states import BroadcastStatus

STATUSES = [*(each.value for each in BroadcastStatus), "unknown", "held"]

NO_RECIPIENTS = "No active subscriber matches the tag or audience, or the template is unknown."


class BroadcastRefusedSchema(ErrorSchema):
    """The error when the request breaks a rule: nothing was sent."""

    invalid_numbers = fields.List(
        fields.Raw(), metadata=describe("The first 100 entries that are not numbers.")
    )
    invalid_count = fields.Integer(metadata=describe("How many there are."))


class BroadcastConflictSchema(ErrorSchema):
    """The error when a broadcast does not stand where this may be done to it."""

    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
