"""Webhooks of clients as JSON: what may be asked, and what is answered."""

from typing import Any

from marshmallow import Schema, fields, validate

from app.errors import ErrorSchema
from app.http.fields import Cursor, StrictBoolean, UtcDateTime, describe
from app.sms.lifecycle.outbox import LISTENABLE, EventType
from app.webhooks.outgoing.models import DeliveryStatus, EndpointStatus
from app.webhooks.outgoing.url_policy import MAX_URL_CHARACTERS

_KINDS = [each.value for each in LISTENABLE]


def _url(*, required: bool = False) -> fields.String:
    return fields.String(
        validate=validate.Length(1, MAX_URL_CHARACTERS),
        metadata={
            "description": "Where to post; https, on the public Internet, port 443 or 1024 and "
            "higher. Outside of production also http and https on loopback.",
            "example": "https://example.com/hooks/sms",
        },
        required=required,
    )


def _kinds() -> fields.List[Any]:
    event_type = fields.String(validate=validate.OneOf(_KINDS))
    return fields.List(
        event_type,
        validate=validate.Length(1, len(_KINDS)),
        metadata=describe("What to be told of; all of it when left out at first."),
    )


class EndpointSchema(Schema):
    """Where a client wants to be told, and of what."""

    url = _url(required=True)
    event_types = _kinds()


class EndpointChangeSchema(Schema):
    """What to change of a webhook; what is left out stays."""

    url = _url()
    event_types = _kinds()
    enabled = StrictBoolean(
        metadata=describe("Whether anything is posted. On again, it is given every chance anew.")
    )


class ReplaySchema(Schema):
    """Which events to post again."""

    since = UtcDateTime(
        required=True, metadata=describe("Events from then on; ISO 8601 with offset.")
    )
    delivered = StrictBoolean(
        metadata=describe("Also those that were delivered, not only those given up.")
    )


class DeliveryQuerySchema(Schema):
    """Which deliveries to list."""

    cursor = Cursor()
    limit = fields.Integer(validate=validate.Range(1, 200), load_default=50)
    status = fields.Enum(DeliveryStatus, by_value=True)


class EndpointViewSchema(Schema):
    """A webhook; its secret is not shown again."""

    webhook_id = fields.String(required=True)
    url = fields.String(required=True)
    event_types = fields.List(fields.String(validate=validate.OneOf(_KINDS)), required=True)
    status = fields.Enum(
        EndpointStatus,
        by_value=True,
        required=True,
        metadata=describe(
            "active; off: switched off by its client; failed: it took nothing for days; gone: it "
            "answered 410. What is not active gets nothing until it is enabled."
        ),
    )
    created_at = fields.AwareDateTime(required=True)
    delivered_at = fields.AwareDateTime(
        required=True, allow_none=True, metadata=describe("When it last took something.")
    )
    failing_since = fields.AwareDateTime(
        required=True, allow_none=True, metadata=describe("null while it takes what comes.")
    )
    failures = fields.Integer(required=True, metadata=describe("How many in a row."))
    problem = fields.String(
        required=True, allow_none=True, metadata=describe("How the last of them went.")
    )
    old_secret_until = fields.AwareDateTime(
        required=True,
        allow_none=True,
        metadata=describe("Until then the secret before the last rotation signs, too."),
    )


class EndpointPageSchema(Schema):
    """A client's webhooks."""

    webhooks = fields.List(fields.Nested(EndpointViewSchema), required=True)


class EndpointSecretSchema(EndpointViewSchema):
    """A webhook with its new secret, shown this once."""

    secret = fields.String(
        required=True,
        metadata={
            "description": "Signs as https://www.standardwebhooks.com/ describes.",
            "example": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD6eHN9WbiSRc=",
        },
    )


class EndpointConflictSchema(ErrorSchema):
    """The error when a webhook is switched off."""

    status = fields.Enum(EndpointStatus, by_value=True)


class DeliverySchema(Schema):
    """One event on its way to a webhook, and how the last try went."""

    delivery_id = fields.String(
        required=True, metadata=describe("The event's id, which the header webhook-id tells.")
    )
    type = fields.String(required=True, validate=validate.OneOf([each.value for each in EventType]))
    created_at = fields.AwareDateTime(required=True)
    status = fields.Enum(DeliveryStatus, by_value=True, required=True)
    tries = fields.Integer(required=True, metadata=describe("Since it was last asked for."))
    next_try_at = fields.AwareDateTime(required=True, allow_none=True)
    tried_at = fields.AwareDateTime(required=True, allow_none=True)
    duration_ms = fields.Integer(required=True, allow_none=True)
    http_status = fields.Integer(required=True, allow_none=True)
    problem = fields.String(required=True, allow_none=True)


class DeliveryPageSchema(Schema):
    """Deliveries, the newest events first."""

    deliveries = fields.List(fields.Nested(DeliverySchema), required=True)
    cursor = fields.String(
        required=True,
        allow_none=True,
        metadata=describe("Continues behind them; null at the end."),
    )


class ReplayedSchema(Schema):
    """How many events are posted again."""

    replayed = fields.Integer(required=True)
