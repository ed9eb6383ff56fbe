"""What is answered when a person is erased."""

from marshmallow import Schema, fields, validate

from app.sms.privacy.erase import PLACES


class ErasedSchema(Schema):
    """How far an erasure has come; the person is suppressed in any case."""

    suppression_id = fields.String(required=True)
    erased = fields.Boolean(required=True, metadata={"description": "Whether nothing is left."})
    left = fields.List(
        fields.String(validate=validate.OneOf(PLACES)),
        required=True,
        metadata={"description": "Where the number still stands; it goes by itself."},
    )
