"""What may stand behind the `?` of a question about broadcasts."""

from marshmallow import Schema, fields, validate

from app.sms.fields import MessageText
from app.sms.states import BroadcastStatus


class BroadcastQuerySchema(Schema):
    """Which broadcasts to list."""

    cursor = MessageText(validate=validate.Length(1, 64))
    limit = fields.Integer(validate=validate.Range(1, 200), load_default=50)
    status = fields.Enum(BroadcastStatus, by_value=True)
    client = MessageText(validate=validate.Length(1, 64))
    reference = MessageText(validate=validate.Length(1, 64))


class MessageQuerySchema(Schema):
    """Which messages to list."""

    cursor = MessageText(validate=validate.Length(1, 64))
    limit = fields.Integer(validate=validate.Range(1, 1000), load_default=100)
