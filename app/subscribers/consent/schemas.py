"""Schemas of the ledger of consent, and its links as JSON."""

from typing import Any

from marshmallow import Schema, fields, validate

from app.subscribers.consent.ledger import Link
from app.subscribers.models import ConsentKind


class ConsentEventSchema(Schema):
    """Something the ledger of consent says."""

    number = fields.Integer(required=True)
    kind = fields.Enum(ConsentKind, by_value=True, required=True)
    at = fields.AwareDateTime(required=True)
    actor = fields.String(required=True, allow_none=True)
    channel = fields.String(required=True, allow_none=True)
    source = fields.String(required=True, allow_none=True)
    wording = fields.String(required=True, allow_none=True)
    tag = fields.String(required=True, allow_none=True)


def show_link(link: Link) -> dict[str, Any]:
    """A link of the ledger as JSON, without what proves it."""
    return {
        "number": link.id,
        "kind": link.kind,
        "at": link.at,
        "actor": link.actor,
        "channel": link.channel,
        "source": link.source,
        "wording": link.wording,
        "tag": link.tag,
    }


class ConsentLinkSchema(Schema):
    """A link of the ledger, and what proves it."""

    id = fields.Integer(required=True)
    kind = fields.String(
        required=True, validate=validate.OneOf([each.value for each in ConsentKind])
    )
    at = fields.String(
        required=True, metadata={"description": "As it was hashed.", "format": "date-time"}
    )
    actor = fields.String(required=True)
    channel = fields.String(required=True)
    source = fields.String(required=True)
    wording = fields.String(required=True)
    tag = fields.String(required=True, allow_none=True)
    content = fields.String(required=True)
    salt = fields.String(required=True)
    commitment = fields.String(required=True)
    previous_hash = fields.String(required=True)
    hash = fields.String(required=True)


class HeadSchema(Schema):
    """The last link."""

    id = fields.Integer(required=True)
    hash = fields.String(required=True)


class EvidenceSchema(Schema):
    """All that the ledger says of a number."""

    phone = fields.String(required=True)
    made_at = fields.AwareDateTime(required=True, format="iso")
    events = fields.List(fields.Nested(ConsentLinkSchema), required=True)
    head = fields.Nested(HeadSchema, required=True, allow_none=True)
    how_to_check = fields.String(required=True)
