"""What may stand behind the `?` of a question, or in its body where it names a person."""

from typing import Any

from marshmallow import Schema, fields, post_load, validate

from app.http.fields import MessageText, Moment, PhoneNumber, StrictBoolean
from app.sms.lifecycle.counts import WORDS
from app.sms.models.states import BroadcastStatus
from app.sms.models.statuses import MessageStatus

# The largest number that our columns hold.
_MAX_CODE = 2**31 - 1


class BroadcastQuerySchema(Schema):
    """Which broadcasts to list."""

    cursor = MessageText(validate=validate.Length(1, 64))
    limit = fields.Integer(validate=validate.Range(1, 200), load_default=50)
    status = fields.Enum(BroadcastStatus, by_value=True)
    client = MessageText(validate=validate.Length(1, 64))
    reference = MessageText(validate=validate.Length(1, 64))


class MessageChoiceSchema(Schema):
    """Which messages of a broadcast."""

    status = fields.String(validate=validate.OneOf(WORDS))
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
    cursor = MessageText(validate=validate.Length(1, 64))
    limit = fields.Integer(strict=True, validate=validate.Range(1, 200), load_default=50)


class ResendSchema(Schema):
    """Whom to send it to again; all of it may be left out, the body too."""

    body_required = False
    include_permanent = StrictBoolean(
        load_default=False,
        metadata={
            "description": "Also to those for whom sending it again will probably not help, such "
            "as unknown numbers."
        },
    )


class InboundQuerySchema(Schema):
    """Which inbounds to list."""

    cursor = MessageText(validate=validate.Length(1, 64))
    limit = fields.Integer(validate=validate.Range(1, 200), load_default=50)
    kind = MessageText(validate=validate.Length(1, 16), metadata={"example": "mo_text"})
    since = Moment(metadata={"description": "Noted by us then or later; ISO 8601 with offset."})
    broadcast_id = MessageText(
        validate=validate.Length(1, 64), metadata={"description": "The broadcast they came after."}
    )
