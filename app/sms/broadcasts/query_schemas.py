"""What may stand behind the `?` of a question, or in its body where it names a person."""

from marshmallow import Schema, fields, validate

from app.http.fields import Cursor, MessageText, StrictBoolean
from app.sms.models.states import BroadcastStatus


class BroadcastQuerySchema(Schema):
    """Which broadcasts to list."""

    cursor = Cursor()
    limit = fields.Integer(validate=validate.Range(1, 200), load_default=50)
    status = fields.Enum(BroadcastStatus, by_value=True)
    client = MessageText(validate=validate.Length(1, 64))
    reference = MessageText(validate=validate.Length(1, 64))


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
