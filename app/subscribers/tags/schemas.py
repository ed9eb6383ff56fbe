"""Schemas of tags: request and response."""

from marshmallow import Schema, fields, validate

from app.http.fields import Cursor, MessageText, StrictBoolean, describe, next_cursor, required
from app.subscribers.fields import TagName

MAX_SUBSCRIBERS = 10_000


def _double_opt_in() -> StrictBoolean:
    return StrictBoolean(
        metadata=describe(
            "If true, an added subscriber has the tag only after confirming it by "
            "text. Subscribers that already have the tag are not asked."
        )
    )


class TagSchema(Schema):
    """A new tag."""

    name = TagName(required=True)
    double_opt_in = _double_opt_in()


class TagChangeSchema(Schema):
    """Changes of a tag; missing fields stay unchanged."""

    name = TagName()
    double_opt_in = _double_opt_in()


class TagSubscribersSchema(Schema):
    """Subscribers to add to a tag, and to remove from it."""

    add = fields.List(
        MessageText(),
        validate=validate.Length(max=MAX_SUBSCRIBERS),
        metadata=describe("Subscriber ids to add."),
    )
    remove = fields.List(
        MessageText(),
        validate=validate.Length(max=MAX_SUBSCRIBERS),
        metadata=describe("Subscriber ids to remove."),
    )


class TagQuerySchema(Schema):
    """Query parameters of the list of tags."""

    cursor = Cursor()
    limit = fields.Integer(validate=validate.Range(1, 500), load_default=100)


class TagCountsSchema(Schema):
    """Number of subscribers with a tag."""

    all = fields.Integer(required=True)
    active = fields.Integer(
        **required("Active and confirmed: the recipients of a broadcast to the tag.")
    )
    unconfirmed = fields.Integer(required=True)


class TagViewSchema(Schema):
    """A tag."""

    name = fields.String(required=True)
    double_opt_in = fields.Boolean(required=True)
    created_at = fields.AwareDateTime(required=True)
    subscribers = fields.Nested(TagCountsSchema, required=True)


class TagPageSchema(Schema):
    """A page of tags in order of creation."""

    tags = fields.List(fields.Nested(TagViewSchema), required=True)
    cursor = next_cursor()


class TagDeletedSchema(Schema):
    """Number of subscribers that a deleted tag had."""

    removed = fields.Integer(required=True)


class TagSubscribersChangedSchema(Schema):
    """Number of subscribers that were added and removed."""

    added = fields.Integer(required=True)
    removed = fields.Integer(required=True)
