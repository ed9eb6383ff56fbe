"""Schemas of batches that need an operator's decision."""

from marshmallow import Schema, fields

from app.errors import ErrorSchema
from app.http.fields import required
from app.sms.models.states import Attention, BatchState


class BatchConflictSchema(ErrorSchema):
    """409: the batch needs no decision, or its broadcast is cancelled."""

    state = fields.Enum(BatchState, by_value=True)


class AttentionSchema(Schema):
    """A batch of unknown outcome."""

    client_reference = fields.String(required=True)
    broadcast_id = fields.String(attribute="public_id", required=True)
    client = fields.String(required=True)
    recipients = fields.Integer(attribute="size", required=True)
    reason = fields.Enum(Attention, attribute="attention", by_value=True, required=True)
    unknown_since = fields.DateTime(attribute="unknown_at", required=True)
    lookups = fields.Integer(
        attribute="reconcile_attempts",
        **required("Number of look-ups in Sinch's list of batches."),
    )
    not_found_count = fields.Integer(**required("Number of look-ups that did not find the batch."))


class AttentionPageSchema(Schema):
    """Batches that need a decision, oldest first, at most 1,000."""

    waiting = fields.Integer(**required("Number of all batches that need a decision."))
    batches = fields.List(fields.Nested(AttentionSchema), required=True)


class BatchStateSchema(Schema):
    """The state of a batch after a decision."""

    client_reference = fields.String(required=True)
    state = fields.Enum(BatchState, by_value=True, required=True)
