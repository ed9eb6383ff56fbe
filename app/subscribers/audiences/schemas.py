"""Schemas of audiences in requests, and of those that are saved by name."""

from datetime import datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate

from app.http.fields import Cursor, UtcDateTime, describe, next_cursor, required
from app.subscribers.attributes import (
    ATTRIBUTE,
    ATTRIBUTE_NAME,
    find_value_error,
    normalise_language,
)
from app.subscribers.audiences.audience import Audience
from app.subscribers.audiences.conditions import ORDERING, TEXT_FIELDS, TIME_FIELD, Condition, Op
from app.subscribers.fields import AudienceName, TagList

MAX_CONDITIONS = 20
MAX_LISTED = 100


class ConditionSchema(Schema):
    """A condition on a field of the subscriber.  Loads a Condition."""

    field = fields.String(
        **required(
            f"{', '.join(TEXT_FIELDS)}, {TIME_FIELD} or {ATTRIBUTE}<name>.",
            example="attributes.city",
        ),
        validate=validate.Length(1, 64),
    )
    op = fields.Enum(
        Op,
        by_value=True,
        load_default=Op.EQ,
        metadata=describe(
            "ne matches exactly the subscribers that eq does not match, including "
            "those without a value. lt, lte, gt and gte take text or numbers; in takes a list, "
            "exists true or false."
        ),
    )
    value = fields.Raw(
        **required(
            "Text, a number, true or false; a list for in; for subscribed_at an "
            "ISO 8601 time with offset. Text and numbers are never equal.",
            example="Berlin",
        )
    )

    @post_load
    def make_condition(self, data: dict[str, Any], **_: Any) -> Condition:
        """Return the Condition.  Raises ValidationError if field, op and value do not fit."""
        field, op, value = data["field"], data["op"], data["value"]
        attribute = field.removeprefix(ATTRIBUTE) if field.startswith(ATTRIBUTE) else None
        if attribute is not None and not ATTRIBUTE_NAME.fullmatch(attribute):
            raise ValidationError("Not the name of an attribute.", "field")
        if attribute is None and field not in (*TEXT_FIELDS, TIME_FIELD):
            raise ValidationError("Not a field for conditions.", "field")
        if field == TIME_FIELD:
            return Condition(field, op, _check_time(op, value))
        if op is Op.EXISTS:
            return Condition(field, op, _check_truth(value))
        return Condition(field, op, _check_value(field, op, value))


class AudienceSchema(Schema):
    """An audience: tags and conditions.  Loads an Audience."""

    any = TagList(metadata=describe("Subscribers with at least one of these tags."))
    all = TagList(metadata=describe("And with all of these tags."))
    none = TagList(metadata=describe("And with none of these tags."))
    where = fields.List(
        fields.Nested(ConditionSchema),
        validate=validate.Length(max=MAX_CONDITIONS),
        metadata=describe("And matching all of these conditions."),
    )

    @post_load
    def make_audience(self, data: dict[str, Any], **_: Any) -> Audience:
        """Return the Audience.  Raises ValidationError if it only excludes."""
        if not (data.get("any") or data.get("all") or data.get("where")):
            raise ValidationError("Give at least one of any, all and where.", "any")
        return Audience(**{name: tuple(values) for name, values in data.items()})


class SavedAudienceSchema(Schema):
    """An audience to save by a name."""

    name = AudienceName(required=True)
    audience = fields.Nested(AudienceSchema, required=True)


class SavedAudienceChangeSchema(Schema):
    """Changes of a saved audience; missing fields stay unchanged."""

    name = AudienceName()
    audience = fields.Nested(AudienceSchema)


class SavedAudienceQuerySchema(Schema):
    """Query parameters of the list of saved audiences."""

    cursor = Cursor()
    limit = fields.Integer(validate=validate.Range(1, 500), load_default=100)


class SavedAudienceViewSchema(Schema):
    """A saved audience."""

    name = fields.String(required=True)
    audience = fields.Dict(
        **required(
            "As a broadcast takes it.",
            example={"any": ["customers"], "all": [], "none": [], "where": []},
        )
    )
    created_at = fields.AwareDateTime(required=True)
    created_by = fields.String(required=True)


class SavedAudiencePageSchema(Schema):
    """A page of saved audiences in order of creation."""

    audiences = fields.List(fields.Nested(SavedAudienceViewSchema), required=True)
    cursor = next_cursor()


def _check_time(op: Op, value: Any) -> datetime:
    if op in (Op.IN, Op.EXISTS, Op.STARTS_WITH):
        raise ValidationError(f"{op.value} cannot be used with a time.", "op")
    try:
        time: datetime = UtcDateTime().deserialize(value)
    except ValidationError as e:
        raise ValidationError(e.messages, "value") from e
    return time


def _check_truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValidationError("Not true or false.", "value")
    return value


def _check_value(field: str, op: Op, value: Any) -> Any:
    """Return the value to compare with: a tuple for `in`, a language in its usual case."""
    if op is not Op.IN:
        return _check_scalar(field, op, value)
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_LISTED:
        raise ValidationError(f"Not a list of 1 to {MAX_LISTED} values.", "value")
    return tuple(_check_scalar(field, op, item) for item in value)


def _check_scalar(field: str, op: Op, value: Any) -> Any:
    text_only = op is Op.STARTS_WITH or field in TEXT_FIELDS
    if value is None or (text_only and not isinstance(value, str)):
        raise ValidationError("Not text." if text_only else "null: use exists instead.", "value")
    if op in ORDERING and isinstance(value, bool):
        raise ValidationError("Neither text nor a number.", "value")
    error = find_value_error(value)
    if error is not None:
        raise ValidationError(error, "value")
    exact = field == "language" and op in (Op.EQ, Op.NE, Op.IN)
    return (exact and normalise_language(value)) or value
