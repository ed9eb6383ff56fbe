"""Schemas of errors about broadcasts and broadcast requests."""

from marshmallow import fields, validate

from app.errors import ErrorSchema
from app.http.fields import describe
from app.sms.models.states import BroadcastStatus

STATUSES = [*(status.value for status in BroadcastStatus), "unknown", "held"]

NO_RECIPIENTS = "No active subscriber matches the tag or audience, or the template is unknown."


class BroadcastRefusedSchema(ErrorSchema):
    """400: the broadcast request is invalid; nothing was sent."""

    invalid_numbers = fields.List(
        fields.Raw(), metadata=describe("The first 100 entries that are not phone numbers.")
    )
    invalid_hints = fields.List(
        fields.Dict(),
        metadata=describe(
            "The index of each of the first 20 such entries in the request, with what to write."
        ),
    )
    invalid_count = fields.Integer(metadata=describe("Number of invalid entries."))


class BroadcastConflictSchema(ErrorSchema):
    """409: the broadcast's status does not allow the action."""

    status = fields.String(required=True, validate=validate.OneOf(STATUSES))


class PurgedSchema(ErrorSchema):
    """410: the text and the numbers of the broadcast were deleted."""

    purged_at = fields.DateTime(required=True)


PURGED = "Its text and numbers were deleted when their time was over; its counts are kept."
