"""Subscribers and their tags as they are answered."""

from typing import Any

from marshmallow import Schema, fields

from app.errors import ErrorSchema
from app.pagination import Page
from app.subscribers.consent.schemas import ConsentEventSchema
from app.subscribers.models import Cause, Scope
from app.subscribers.profiles.queries import Person
from app.subscribers.suppressions.store import Suppressed


class SuppressionSchema(Schema):
    """Why somebody is not written to."""

    suppression_id = fields.String(required=True)
    scope = fields.Enum(Scope, by_value=True, required=True)
    cause = fields.Enum(Cause, by_value=True, required=True)
    since = fields.AwareDateTime(required=True)
    needs_review = fields.Boolean(
        required=True,
        metadata={"description": "Their text could also be meant otherwise: somebody is to look."},
    )


class WholeSuppressionSchema(SuppressionSchema):
    """A suppression with all that is kept of it; lifted where `released_at` says when."""

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
        metadata={"description": "They ask for a double opt-in that has not come yet."},
    )
    active = fields.Boolean(required=True)
    subscribed_at = fields.AwareDateTime(required=True)
    updated_at = fields.AwareDateTime(required=True)
    consented_at = fields.AwareDateTime(
        required=True,
        allow_none=True,
        metadata={"description": "When they last agreed to marketing; null when they do not."},
    )
    suppressed = fields.Boolean(
        required=True, metadata={"description": "Whether they are written to, consent or not."}
    )
    suppression = fields.Nested(SuppressionSchema, required=True, allow_none=True)


class SubscriberPageSchema(Schema):
    """Subscribers in the order of their making."""

    subscribers = fields.List(fields.Nested(SubscriberViewSchema), required=True)
    cursor = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Continues behind them; null at the end."},
    )


class SubscriberConflictSchema(ErrorSchema):
    """The error when the number is a subscriber's already."""

    subscriber_id = fields.String()


class RefusalSchema(Schema):
    """An entry that is refused."""

    index = fields.Integer(required=True, metadata={"description": "Its place, from 0."})
    fields_ = fields.Dict(data_key="fields", attribute="fields", required=True)


class BulkRefusedSchema(ErrorSchema):
    """The error when entries are refused: nothing was done."""

    refused = fields.Integer()
    refusals = fields.List(fields.Nested(RefusalSchema))


class BulkAnswerSchema(Schema):
    """What became of many entries; they add up."""

    created = fields.Integer(required=True)
    updated = fields.Integer(required=True)
    unchanged = fields.Integer(required=True)
    refused = fields.Integer(required=True)
    refusals = fields.List(
        fields.Nested(RefusalSchema), required=True, metadata={"description": "The first 100."}
    )


class PersonExportSchema(Schema):
    """All that is known of a person."""

    subscriber = fields.Nested(SubscriberViewSchema, required=True)
    consent_events = fields.List(fields.Nested(ConsentEventSchema), required=True)
    suppression = fields.Nested(WholeSuppressionSchema, required=True, allow_none=True)
    related_data = fields.Dict(
        required=True,
        metadata={"description": "What is kept of them besides, such as messages and inbounds."},
    )


def show_person(person: Person) -> dict[str, Any]:
    """A subscriber as JSON."""
    row = person.row
    return {
        "subscriber_id": row.public_id,
        "phone": row.phone,
        "first_name": row.first_name,
        "last_name": row.last_name,
        "language": row.language,
        "time_zone": row.time_zone,
        "attributes": row.attributes or {},
        "tags": [each.name for each in person.tags if each.confirmed],
        "unconfirmed_tags": [each.name for each in person.tags if not each.confirmed],
        "active": row.active,
        "subscribed_at": row.subscribed_at,
        "updated_at": row.updated_at,
        "consented_at": row.consented_at,
        "suppressed": person.suppressed is not None,
        "suppression": person.suppressed and show_suppression(person.suppressed),
    }


def show_page(page: Page[Person]) -> dict[str, Any]:
    """A page of subscribers as JSON."""
    return {"subscribers": [show_person(each) for each in page.rows], "cursor": page.cursor}


def show_suppression(suppressed: Suppressed) -> dict[str, Any]:
    """A suppression as JSON, without whom it is about."""
    return {
        "suppression_id": suppressed.public_id,
        "scope": suppressed.scope,
        "cause": suppressed.cause,
        "since": suppressed.suppressed_at,
        "needs_review": suppressed.needs_review,
    }


def show_whole_suppression(suppressed: Suppressed) -> dict[str, Any]:
    """The same with all that is kept of it."""
    return {
        **show_suppression(suppressed),
        "released_at": suppressed.released_at,
        "actor": suppressed.actor,
        "note": suppressed.note,
    }
