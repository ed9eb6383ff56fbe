"""Schemas of the consent ledger."""

from marshmallow import Schema, fields, validate

from app.http.fields import required
from app.subscribers.models import ConsentKind


class LinkContentSchema(Schema):
    """The content of an entry of the consent ledger."""

    actor = fields.String(required=True)
    channel = fields.String(required=True)
    source = fields.String(required=True)
    wording = fields.String(required=True)
    tag = fields.String(required=True, allow_none=True)


class ConsentEventSchema(LinkContentSchema):
    """An entry of the consent ledger, without its hashes."""

    number = fields.Integer(required=True, attribute="id")
    kind = fields.Enum(ConsentKind, by_value=True, required=True)
    at = fields.AwareDateTime(required=True)


class ConsentLinkSchema(LinkContentSchema):
    """An entry of the consent ledger, with its hashes."""

    id = fields.Integer(required=True)
    kind = fields.String(
        required=True, validate=validate.OneOf([kind.value for kind in ConsentKind])
    )
    at = fields.String(**required("The time in the form that was hashed.", format="date-time"))
    content = fields.String(required=True)
    salt = fields.String(required=True)
    commitment = fields.String(required=True)
    previous_hash = fields.String(required=True)
    hash = fields.String(required=True)


class HeadSchema(Schema):
    """The last entry of the ledger."""

    id = fields.Integer(required=True)
    hash = fields.String(required=True)


class EvidenceSchema(Schema):
    """All ledger entries of a number, as evidence."""

    phone = fields.String(required=True)
    made_at = fields.AwareDateTime(required=True)
    events = fields.List(fields.Nested(ConsentLinkSchema), required=True)
    head = fields.Nested(HeadSchema, required=True, allow_none=True)
    how_to_check = fields.String(required=True)
