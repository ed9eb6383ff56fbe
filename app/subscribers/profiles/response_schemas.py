"""Schemas of responses about subscribers."""

from marshmallow import Schema, fields

from app.errors import ErrorSchema
from app.http.fields import next_cursor, nullable, required
from app.subscribers.consent.schemas import ConsentEventSchema
from app.subscribers.suppressions.schemas import SuppressionViewSchema


class SubscriberViewSchema(Schema):
    """A subscriber."""

    subscriber_id = fields.String(required=True, attribute="public_id")
    phone = fields.String(required=True)
    first_name = fields.String(required=True, allow_none=True)
    last_name = fields.String(required=True, allow_none=True)
    language = fields.String(required=True, allow_none=True)
    time_zone = fields.String(required=True, allow_none=True)
    attributes = fields.Dict(required=True)
    tags = fields.List(fields.String(), required=True)
    unconfirmed_tags = fields.List(
        fields.String(),
        **required("Tags with double opt-in that the subscriber has not confirmed yet."),
    )
    active = fields.Boolean(required=True)
    subscribed_at = fields.AwareDateTime(required=True)
    updated_at = fields.AwareDateTime(required=True)
    consented_at = fields.AwareDateTime(
        **nullable("When they last consented to marketing; null without consent.")
    )
    suppressed = fields.Boolean(
        **required("True if the number is suppressed; `suppression` says why.")
    )
    suppression = fields.Nested(SuppressionViewSchema, required=True, allow_none=True)


class SubscriberPageSchema(Schema):
    """A page of subscribers in order of creation."""

    subscribers = fields.List(fields.Nested(SubscriberViewSchema), required=True)
    cursor = next_cursor()


class SubscriberConflictSchema(ErrorSchema):
    """409: a subscriber with this number exists."""

    subscriber_id = fields.String()


class RefusalSchema(Schema):
    """A rejected entry."""

    index = fields.Integer(**required("Index of the entry, from 0."))
    fields_ = fields.Dict(data_key="fields", attribute="fields", required=True)


class BulkRefusedSchema(ErrorSchema):
    """400: entries are invalid; nothing was changed."""

    refused = fields.Integer()
    refusals = fields.List(fields.Nested(RefusalSchema))


class BulkAnswerSchema(Schema):
    """Counts of a bulk request; they add up to the number of entries."""

    created = fields.Integer(required=True)
    updated = fields.Integer(required=True)
    unchanged = fields.Integer(required=True)
    refused = fields.Integer(required=True)
    refusals = fields.List(fields.Nested(RefusalSchema), **required("The first 100."))


class PersonExportSchema(Schema):
    """All data stored about a person."""

    subscriber = fields.Nested(SubscriberViewSchema, required=True)
    consent_events = fields.List(fields.Nested(ConsentEventSchema), required=True)
    suppression = fields.Nested(SuppressionViewSchema, required=True, allow_none=True)
    related_data = fields.Dict(
        **required("Other data about the person, such as messages and inbound texts.")
    )
