"""Schemas of batches that need attention."""

from marshmallow import Schema, fields

from app.errors import ErrorSchema
from app.http.fields import describe
from app.sms.models.states import Attention, BatchState


class BatchConflictSchema(ErrorSchema):
    """The error when a batch needs no decision, or its broadcast is cancelled."""

    state = fields.Enum(BatchState, by_value=True)


class AttentionSchema(Schema):
    """A batch of unknown outcome."""

    client_reference = fields.String(required=True)
    broadcast_id = fields.String(required=True)
    client = fields.String(required=True)
    recipients = fields.Integer(required=True)
    reason = fields.Enum(Attention, by_value=True, required=True)
    unknown_since = fields.DateTime(required=True, format="iso")
    lookups = fields.Integer(
        required=True, metadata=describe("Number of times that Sinch's list was read.")
    )
    not_found_count = fields.Integer(
        required=True, metadata=describe("Number of times that the list lacked the batch.")
    )


class AttentionPageSchema(Schema):
    """Batches that wait for a decision, the oldest first; at most a thousand."""

    waiting = fields.Integer(
        required=True, metadata=describe("Number of all batches that wait, shown or not.")
    )
    batches = fields.List(fields.Nested(AttentionSchema), required=True)


class BatchStateSchema(Schema):
    """The state of a batch after a decision."""

    client_reference = fields.String(required=True)
    state = fields.Enum(BatchState, by_value=True, required=True)
