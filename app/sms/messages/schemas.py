"""The JSON of answers about single messages, resends and inbounds, for the API document."""

from marshmallow import Schema, fields

from app.errors import ErrorSchema
from app.sms.broadcasts.response_schemas import BroadcastAcceptedSchema, WhySchema


def _describe(text: str) -> dict[str, str]:
    return {"description": text}


class MessageSchema(WhySchema):
    """One recipient's copy."""

    recipient = fields.String(required=True)
    at = fields.DateTime(
        required=True,
        allow_none=True,
        format="iso",
        metadata=_describe("Since when it stands there: Sinch's time where it gave one."),
    )
    batch_id = fields.String(required=True, allow_none=True)
    client_reference = fields.String(required=True, allow_none=True)


class MessagePageSchema(Schema):
    """A broadcast's messages, in the order they are sent."""

    messages = fields.List(fields.Nested(MessageSchema), required=True)
    cursor = fields.String(
        required=True, allow_none=True, metadata=_describe("For the next page; null at the end.")
    )


class FoundMessageSchema(MessageSchema):
    """What one person was sent with one broadcast, and what became of it."""

    broadcast_id = fields.String(required=True)
    broadcast_status = fields.String(required=True)
    url = fields.String(required=True, metadata=_describe("Where the broadcast can be looked at."))
    client = fields.String(required=True)
    reference = fields.String(required=True, allow_none=True)
    sender = fields.String(required=True)
    text = fields.String(required=True, metadata=_describe("As this person got it, filled in."))
    created_at = fields.DateTime(required=True, format="iso")


class FoundMessagesSchema(Schema):
    """A page of what one person was sent, the newest first."""

    recipient = fields.String(required=True)
    explanation = fields.String(
        required=True,
        allow_none=True,
        metadata=_describe(
            "What became of the newest, or why there is none; null on pages behind the first."
        ),
    )
    messages = fields.List(fields.Nested(FoundMessageSchema), required=True)
    cursor = fields.String(required=True, allow_none=True)


class ResendAcceptedSchema(BroadcastAcceptedSchema):
    """The new broadcast is stored; it is sent in the background."""

    resend_of = fields.String(required=True, metadata=_describe("The broadcast it comes from."))
    left_out = fields.Integer(
        required=True,
        metadata=_describe("Not reached, but sending it again would not help: left out."),
    )


class ResendConflictSchema(ErrorSchema):
    """The error when it was resent before, or not all of it was sent yet."""

    status = fields.String(metadata=_describe("Where it stands."))
    broadcast_id = fields.String(metadata=_describe("The broadcast that it was resent as."))


class InboundSchema(Schema):
    """A text from a phone to us."""

    inbound_id = fields.Integer(required=True)
    sinch_id = fields.String(required=True)
    kind = fields.String(required=True, metadata={"example": "mo_text"})
    sender = fields.String(
        required=True, metadata=_describe("Masked unless the key has the scope messages:read.")
    )
    recipient = fields.String(required=True, metadata=_describe("Our number or short code."))
    body = fields.String(
        required=True,
        metadata=_describe("The text; of a binary one base64, of a media one its object as JSON."),
    )
    received_at = fields.DateTime(
        required=True, allow_none=True, format="iso", metadata=_describe("Sinch's time.")
    )
    noted_at = fields.DateTime(required=True, format="iso", metadata=_describe("Ours."))
    client_reference = fields.String(required=True, allow_none=True)
    broadcast_id = fields.String(
        required=True,
        allow_none=True,
        metadata=_describe("The last broadcast this phone was sent before."),
    )


class InboundPageSchema(Schema):
    """Inbounds, the newest first."""

    inbounds = fields.List(fields.Nested(InboundSchema), required=True)
    cursor = fields.String(required=True, allow_none=True)
