"""The JSON of answers about single messages, resends and inbounds, for the API document."""

from typing import Any

from marshmallow import Schema, fields, post_load, validate

from app.http.fields import Cursor, MessageText, PhoneNumber, describe
from app.sms.lifecycle.counts import STATUS_NAMES
from app.sms.models.statuses import MessageStatus


class WhySchema(Schema):
    """Where a message stands, and why."""

    status = fields.String(required=True, validate=validate.OneOf(STATUS_NAMES))
    code = fields.Integer(
        required=True, allow_none=True, metadata=describe("Sinch's code, where it gave one.")
    )
    reason = fields.String(required=True, metadata=describe("Why, in a sentence."))
    retry = fields.Boolean(
        required=True, metadata=describe("Whether it makes sense to send it again.")
    )


class MessageSchema(WhySchema):
    """One recipient's copy."""

    recipient = fields.String(required=True)
    at = fields.DateTime(
        required=True,
        allow_none=True,
        format="iso",
        metadata=describe("Since when it stands there: Sinch's time where it gave one."),
    )
    batch_id = fields.String(required=True, allow_none=True)
    client_reference = fields.String(required=True, allow_none=True)


class MessagePageSchema(Schema):
    """A broadcast's messages, in the order they are sent."""

    messages = fields.List(fields.Nested(MessageSchema), required=True)
    cursor = fields.String(
        required=True, allow_none=True, metadata=describe("For the next page; null at the end.")
    )


class FoundMessageSchema(MessageSchema):
    """What one person was sent with one broadcast, and what became of it."""

    broadcast_id = fields.String(required=True)
    broadcast_status = fields.String(required=True)
    url = fields.String(required=True, metadata=describe("Where the broadcast can be looked at."))
    client = fields.String(required=True)
    reference = fields.String(required=True, allow_none=True)
    sender = fields.String(required=True)
    text = fields.String(required=True, metadata=describe("As this person got it, filled in."))
    created_at = fields.DateTime(required=True, format="iso")


class FoundMessagesSchema(Schema):
    """A page of what one person was sent, the newest first."""

    recipient = fields.String(required=True)
    explanation = fields.String(
        required=True,
        allow_none=True,
        metadata=describe(
            "What became of the newest, or why there is none; null on pages behind the first."
        ),
    )
    messages = fields.List(fields.Nested(FoundMessageSchema), required=True)
    cursor = fields.String(required=True, allow_none=True)


# The largest number that our columns hold.
_MAX_CODE = 2**31 - 1


class MessageChoiceSchema(Schema):
    """Which messages of a broadcast."""

    status = fields.String(validate=validate.OneOf(STATUS_NAMES))
    code = fields.Integer(
        validate=validate.Range(0, _MAX_CODE), metadata={"description": "Sinch's code."}
    )

    @post_load
    def name_status(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """The same with the status as the word it is."""
        return data | ({"status": MessageStatus(data["status"])} if "status" in data else {})


class MessageQuerySchema(MessageChoiceSchema):
    """Which messages to list."""

    cursor = MessageText(validate=validate.Length(1, 64))
    limit = fields.Integer(validate=validate.Range(1, 1000), load_default=100)


class SearchSchema(Schema):
    """Whose messages to look for."""

    recipient = PhoneNumber(required=True)
    cursor = Cursor()
    limit = fields.Integer(strict=True, validate=validate.Range(1, 200), load_default=50)
