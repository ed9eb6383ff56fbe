"""Schemas of client webhooks: request and response."""

from typing import Any

from marshmallow import Schema, fields, validate

from app.errors import ErrorSchema
from app.http.fields import (
    Cursor,
    StrictBoolean,
    UtcDateTime,
    describe,
    next_cursor,
    nullable,
    required,
)
from app.sms.lifecycle.outbox import LISTENABLE, EventType
from app.webhooks.outgoing.models import DeliveryStatus, EndpointStatus
from app.webhooks.outgoing.url_policy import MAX_URL_CHARACTERS

_EVENT_TYPES = [event_type.value for event_type in LISTENABLE]


def _url(*, required: bool = False) -> fields.String:
    return fields.String(
        validate=validate.Length(1, MAX_URL_CHARACTERS),
        metadata=describe(
            "The URL to post events to: https, a public address, port 443 or at "
            "least 1024. Outside production also http and https on loopback. A host in another "
            "script is written in ASCII (xn--…).",
            example="https://example.com/hooks/sms",
        ),
        required=required,
    )


def _event_types() -> fields.List[Any]:
    event_type = fields.String(validate=validate.OneOf(_EVENT_TYPES))
    return fields.List(
        event_type,
        validate=validate.Length(1, len(_EVENT_TYPES)),
        metadata=describe("Event types to post. Default for a new webhook: all."),
    )


class EndpointSchema(Schema):
    """A new webhook."""

    url = _url(required=True)
    event_types = _event_types()


class EndpointChangeSchema(Schema):
    """Changes of a webhook; missing fields stay unchanged."""

    url = _url()
    event_types = _event_types()
    enabled = StrictBoolean(
        metadata=describe("false stops posting events; true starts again and resets the failures.")
    )


class ReplaySchema(Schema):
    """The events to post again."""

    since = UtcDateTime(**required("Events at or after this time. ISO 8601 with offset."))
    delivered = StrictBoolean(
        metadata=describe("Also replay delivered events, not only failed ones.")
    )


class DeliveryQuerySchema(Schema):
    """Query parameters of the list of deliveries."""

    cursor = Cursor()
    limit = fields.Integer(validate=validate.Range(1, 200), load_default=50)
    status = fields.Enum(DeliveryStatus, by_value=True)


class EndpointViewSchema(Schema):
    """A webhook, without its secret."""

    webhook_id = fields.String(attribute="public_id", required=True)
    url = fields.String(required=True)
    event_types = fields.List(fields.String(validate=validate.OneOf(_EVENT_TYPES)), required=True)
    status = fields.Enum(
        EndpointStatus,
        **required(
            "active; off: disabled by the client; failed: disabled after days of failures; gone: "
            "disabled since it answered 410. Only an active webhook gets events."
        ),
        by_value=True,
    )
    created_at = fields.AwareDateTime(required=True)
    delivered_at = fields.AwareDateTime(**nullable("Time of the last successful delivery."))
    failing_since = fields.AwareDateTime(
        **nullable("Time of the first of the current failures; null without any.")
    )
    failures = fields.Integer(**required("Number of consecutive failures."))
    problem = fields.String(**nullable("The last failure."))
    old_secret_until = fields.AwareDateTime(
        **nullable("Until then events are also signed with the previous secret.")
    )


class EndpointPageSchema(Schema):
    """All webhooks of a client."""

    webhooks = fields.List(fields.Nested(EndpointViewSchema), required=True)


class EndpointSecretSchema(EndpointViewSchema):
    """A webhook with its new secret, which is shown only once."""

    secret = fields.String(
        **required(
            "Key of the signatures, see https://www.standardwebhooks.com/.",
            example="whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD6eHN9WbiSRc=",
        )
    )


class EndpointConflictSchema(ErrorSchema):
    """409: the webhook is not active."""

    status = fields.Enum(EndpointStatus, by_value=True)


class DeliverySchema(Schema):
    """The delivery of an event to a webhook."""

    delivery_id = fields.String(
        **required("Id of the event, sent in the header webhook-id."), attribute="public_id"
    )
    type = fields.String(
        attribute="event_type",
        required=True,
        validate=validate.OneOf([event_type.value for event_type in EventType]),
    )
    created_at = fields.AwareDateTime(attribute="at", required=True)
    status = fields.Enum(DeliveryStatus, by_value=True, required=True)
    tries = fields.Integer(**required("Attempts since creation or the last replay."))
    next_try_at = fields.AwareDateTime(attribute="due_at", required=True, allow_none=True)
    tried_at = fields.AwareDateTime(required=True, allow_none=True)
    duration_ms = fields.Integer(required=True, allow_none=True)
    http_status = fields.Integer(required=True, allow_none=True)
    problem = fields.String(required=True, allow_none=True)


class DeliveryPageSchema(Schema):
    """A page of deliveries, newest events first."""

    deliveries = fields.List(fields.Nested(DeliverySchema), required=True)
    cursor = next_cursor()


class ReplayedSchema(Schema):
    """Number of events that are posted again."""

    replayed = fields.Integer(required=True)
