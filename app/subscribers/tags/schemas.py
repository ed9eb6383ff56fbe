"""Tags as JSON: what may be asked, and what is answered."""

from typing import Any

from marshmallow import Schema, fields, validate

from app.http.fields import Cursor, MessageText, StrictBoolean
from app.subscribers.fields import TagName
from app.subscribers.tags.tags import TagCounts

MAX_SUBSCRIBERS = 10_000


def _double_opt_in() -> StrictBoolean:
    return StrictBoolean(
        metadata={
            "description": "Whether who is given it bears it only once they have confirmed it. "
            "Whoever bears it already is asked nothing."
        }
    )


class TagSchema(Schema):
    """A tag to be made."""

    name = TagName(required=True)
    double_opt_in = _double_opt_in()


class TagChangeSchema(Schema):
    """What to change of a tag; what is left out stays."""

    name = TagName()
    double_opt_in = _double_opt_in()


class TagSubscribersSchema(Schema):
    """Who is to bear a tag, and who no longer."""

    add = fields.List(
        MessageText(),
        validate=validate.Length(max=MAX_SUBSCRIBERS),
        metadata={"description": "Ids."},
    )
    remove = fields.List(
        MessageText(),
        validate=validate.Length(max=MAX_SUBSCRIBERS),
        metadata={"description": "Ids."},
    )


class TagQuerySchema(Schema):
    """Which tags to list."""

    cursor = Cursor()
    limit = fields.Integer(validate=validate.Range(1, 500), load_default=100)


class TagCountsSchema(Schema):
    """How many bear a tag."""

    all = fields.Integer(required=True)
    active = fields.Integer(
        required=True, metadata={"description": "Active, and confirmed: whom a broadcast is for."}
    )
    unconfirmed = fields.Integer(required=True)


class TagViewSchema(Schema):
    """A tag."""

    name = fields.String(required=True)
    double_opt_in = fields.Boolean(required=True)
    created_at = fields.AwareDateTime(required=True)
    subscribers = fields.Nested(TagCountsSchema, required=True)


class TagPageSchema(Schema):
    """Tags in the order of their making."""

    tags = fields.List(fields.Nested(TagViewSchema), required=True)
    cursor = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Continues behind them; null at the end."},
    )


class TagDeletedSchema(Schema):
    """How many bore a tag that is gone."""

    removed = fields.Integer(required=True)


class TagSubscribersChangedSchema(Schema):
    """To how many it was new."""

    added = fields.Integer(required=True)
    removed = fields.Integer(required=True)


def show_tag(counted: TagCounts) -> dict[str, Any]:
    """A tag as JSON."""
    return {
        "name": counted.row.name,
        "double_opt_in": counted.row.double_opt_in,
        "created_at": counted.row.created_at,
        "subscribers": {
            "all": counted.all,
            "active": counted.active,
            "unconfirmed": counted.unconfirmed,
        },
    }
