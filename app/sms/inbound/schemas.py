"""Schemas of texts from phones."""

from marshmallow import Schema, fields, validate

from app.http.fields import Cursor, MessageText, UtcDateTime, describe


class InboundSchema(Schema):
    """A text from a phone to us."""

    inbound_id = fields.Integer(required=True)
    sinch_id = fields.String(required=True)
    kind = fields.String(required=True, metadata={"example": "mo_text"})
    sender = fields.String(
        required=True, metadata=describe("Masked unless the key has the scope messages:read.")
    )
    recipient = fields.String(required=True, metadata=describe("Our number or short code."))
    body = fields.String(
        required=True,
        metadata=describe("The text; of a binary one base64, of a media one its object as JSON."),
    )
    received_at = fields.DateTime(
        required=True, allow_none=True, format="iso", metadata=describe("Sinch's time.")
    )
    recorded_at = fields.DateTime(required=True, format="iso", metadata=describe("Ours."))
    client_reference = fields.String(required=True, allow_none=True)
    broadcast_id = fields.String(
        required=True,
        allow_none=True,
        metadata=describe("The last broadcast this phone was sent before."),
    )


class InboundPageSchema(Schema):
    """Inbounds, the newest first."""

    inbounds = fields.List(fields.Nested(InboundSchema), required=True)
    cursor = fields.String(required=True, allow_none=True)


class InboundQuerySchema(Schema):
    """Which inbounds to list."""

    cursor = Cursor()
    limit = fields.Integer(validate=validate.Range(1, 200), load_default=50)
    kind = MessageText(validate=validate.Length(1, 16), metadata={"example": "mo_text"})
    since = UtcDateTime(
        metadata={"description": "Noted by us then or later; ISO 8601 with offset."}
    )
    broadcast_id = MessageText(
        validate=validate.Length(1, 64), metadata={"description": "The broadcast they came after."}
    )
