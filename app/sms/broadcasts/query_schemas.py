"""Schemas of query parameters of broadcasts, and of the requests to cancel and to resend one."""

from marshmallow import Schema, fields, validate

from app.http.fields import Cursor, MessageText, StrictBoolean, describe
from app.sms.models.states import BroadcastStatus
from app.sms.recovery.attention import MAX_NOTE_CHARACTERS


class BroadcastQuerySchema(Schema):
    """Query parameters of the list of broadcasts."""

    cursor = Cursor()
    limit = fields.Integer(validate=validate.Range(1, 200), load_default=50)
    status = fields.Enum(BroadcastStatus, by_value=True)
    client = MessageText(validate=validate.Length(1, 64))
    reference = MessageText(validate=validate.Length(1, 64))


class CancelSchema(Schema):
    """Options of a cancellation; the body is optional."""

    body_required = False
    note = MessageText(
        validate=validate.Length(max=MAX_NOTE_CHARACTERS),
        metadata=describe("The reason, for the audit log. No personal data."),
    )


class ResendSchema(Schema):
    """Options of a resend; the body is optional."""

    body_required = False
    include_permanent = StrictBoolean(
        load_default=False,
        metadata=describe(
            "Also resend to recipients whose failure is probably permanent, such "
            "as unknown numbers."
        ),
    )
