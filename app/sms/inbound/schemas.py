"""Schemas of inbound texts."""

from marshmallow import Schema, fields, validate

from app.http.fields import (
    Cursor,
    MessageText,
    UtcDateTime,
    describe,
    next_cursor,
    nullable,
    required,
)


class InboundSchema(Schema):
    """An inbound text."""

    inbound_id = fields.Integer(required=True)
    sinch_id = fields.String(required=True)
    kind = fields.String(required=True, metadata={"example": "mo_text"})
    sender = fields.String(**required("Masked unless the API key has the scope messages:read."))
    recipient = fields.String(**required("Our number or short code."))
    body = fields.String(
        **required("The text; base64 for a binary message, JSON for a media message.")
    )
    received_at = fields.DateTime(**nullable("When Sinch received it."))
    recorded_at = fields.DateTime(**required("When we stored it."))
    client_reference = fields.String(required=True, allow_none=True)
    broadcast_id = fields.String(
        **nullable("The last broadcast that was sent to this phone before.")
    )


class InboundPageSchema(Schema):
    """A page of inbound texts, newest first."""

    inbounds = fields.List(fields.Nested(InboundSchema), required=True)
    cursor = next_cursor()


class InboundQuerySchema(Schema):
    """Query parameters of the list of inbound texts."""

    cursor = Cursor()
    limit = fields.Integer(validate=validate.Range(1, 200), load_default=50)
    kind = MessageText(validate=validate.Length(1, 16), metadata={"example": "mo_text"})
    since = UtcDateTime(
        metadata=describe("Only texts stored at or after this time. ISO 8601 with offset.")
    )
    broadcast_id = MessageText(
        validate=validate.Length(1, 64),
        metadata=describe("Only texts that came after this broadcast."),
    )
