"""Schemas of responses about subscribers."""

from typing import Any

from marshmallow import Schema, fields

from app.errors import ErrorSchema
from app.http.fields import next_cursor
from app.pagination import Page
from app.subscribers.consent.schemas import ConsentEventSchema
from app.subscribers.models import Cause, Scope
from app.subscribers.profiles.queries import Person
from app.subscribers.suppressions.store import Suppressed


class SuppressionSchema(Schema):
    """The suppression of a subscriber's number."""

    suppression_id = fields.String(required=True)
    scope = fields.Enum(Scope, by_value=True, required=True)
    cause = fields.Enum(Cause, by_value=True, required=True)
    suppressed_at = fields.AwareDateTime(required=True)
    needs_review = fields.Boolean(
        required=True,
        metadata={"description": "The text may not have been meant as an opt-out; decide by hand."},
    )


class WholeSuppressionSchema(SuppressionSchema):
    """A suppression with all its details; `released_at` is set if it was lifted."""

    released_at = fields.AwareDateTime(required=True, allow_none=True)
    actor = fields.String(required=True)
    note = fields.String(required=True, allow_none=True)


class SubscriberViewSchema(Schema):
    """A subscriber."""

    subscriber_id = fields.String(required=True)
    phone = fields.String(required=True)
    first_name = fields.String(required=True, allow_none=True)
    last_name = fields.String(required=True, allow_none=True)
    language = fields.String(required=True, allow_none=True)
    time_zone = fields.String(required=True, allow_none=True)
    attributes = fields.Dict(required=True)
    tags = fields.List(fields.String(), required=True)
    unconfirmed_tags = fields.List(
        fields.String(),
        required=True,
        metadata={
            "description": "Tags with double opt-in that the subscriber has not confirmed yet."
        },
    )
    active = fields.Boolean(required=True)
    subscribed_at = fields.AwareDateTime(required=True)
    updated_at = fields.AwareDateTime(required=True)
    consented_at = fields.AwareDateTime(
        required=True,
        allow_none=True,
        metadata={"description": "When they last consented to marketing; null without consent."},
    )
    suppressed = fields.Boolean(
        required=True,
        metadata={"description": "True if the number is suppressed; `suppression` says why."},
    )
    suppression = fields.Nested(SuppressionSchema, required=True, allow_none=True)


class SubscriberPageSchema(Schema):
    """A page of subscribers in order of creation."""

    subscribers = fields.List(fields.Nested(SubscriberViewSchema), required=True)
    cursor = next_cursor()


class SubscriberConflictSchema(ErrorSchema):
    """409: a subscriber with this number exists."""

    subscriber_id = fields.String()


class RefusalSchema(Schema):
    """A rejected entry."""

    index = fields.Integer(required=True, metadata={"description": "Index of the entry, from 0."})
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
    refusals = fields.List(
        fields.Nested(RefusalSchema), required=True, metadata={"description": "The first 100."}
    )


class PersonExportSchema(Schema):
    """All data stored about a person."""

    subscriber = fields.Nested(SubscriberViewSchema, required=True)
    consent_events = fields.List(fields.Nested(ConsentEventSchema), required=True)
    suppression = fields.Nested(WholeSuppressionSchema, required=True, allow_none=True)
    related_data = fields.Dict(
        required=True,
        metadata={
            "description": "Other data about the person, such as messages and inbound texts."
        },
    )


def show_person(person: Person) -> dict[str, Any]:
    """Return a subscriber as JSON."""
    row = person.row
    return {
        "subscriber_id": row.public_id,
        "phone": row.phone,
        "first_name": row.first_name,
        "last_name": row.last_name,
        "language": row.language,
        "time_zone": row.time_zone,
        "attributes": row.attributes or {},
        "tags": [tag.name for tag in person.tags if tag.confirmed],
        "unconfirmed_tags": [tag.name for tag in person.tags if not tag.confirmed],
        "active": row.active,
        "subscribed_at": row.subscribed_at,
        "updated_at": row.updated_at,
        "consented_at": row.consented_at,
        "suppressed": person.suppressed is not None,
        "suppression": person.suppressed and show_suppression(person.suppressed),
    }


def show_page(page: Page[Person]) -> dict[str, Any]:
    """Return a page of subscribers as JSON."""
    return {"subscribers": [show_person(person) for person in page.rows], "cursor": page.cursor}


def show_suppression(suppressed: Suppressed) -> dict[str, Any]:
    """Return a suppression as JSON, without the number."""
    return {
        "suppression_id": suppressed.public_id,
        "scope": suppressed.scope,
        "cause": suppressed.cause,
        "suppressed_at": suppressed.suppressed_at,
        "needs_review": suppressed.needs_review,
    }


def show_whole_suppression(suppressed: Suppressed) -> dict[str, Any]:
    """Return a suppression as JSON with all its details."""
    return {
        **show_suppression(suppressed),
        "released_at": suppressed.released_at,
        "actor": suppressed.actor,
        "note": suppressed.note,
    }
