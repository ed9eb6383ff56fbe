"""The JSON of answers about broadcasts, for the API document."""

from typing import Any

from marshmallow import Schema, fields, validate

from app.errors import ErrorSchema
from app.http.fields import describe
from app.sms.lifecycle.counts import STATUS_NAMES
from app.sms.messages.schemas import WhySchema
from app.sms.models.states import BatchState, Category, ExclusionReason
from app.sms.request.error_schemas import STATUSES


def _may_be(time: str) -> fields.Field[Any]:
    """A time that may not have come yet."""
    return fields.DateTime(required=True, allow_none=True, format="iso", metadata=describe(time))


class BroadcastAcceptedSchema(Schema):
    """The broadcast is stored; what of it Sinch has taken already."""

    message = fields.String(
        required=True, metadata={"example": "SMS batch submitted successfully to Sinch."}
    )
    broadcast_id = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    url = fields.String(required=True, metadata=describe("Where it can be looked at."))
    batch_id = fields.String(
        required=True,
        allow_none=True,
        metadata=describe("Sinch's id of the first batch; null until Sinch has taken one."),
    )
    batch_ids = fields.List(fields.String(), required=True)
    recipients = fields.Integer(
        required=True, metadata=describe("Each counted once, invalid ones left out.")
    )
    parts_per_message = fields.Integer(
        required=True, metadata=describe("Of the longest message once filled.")
    )
    encoding = fields.String(
        required=True, validate=validate.OneOf(["GSM-7", "UCS-2"]), metadata={"example": "GSM-7"}
    )
    duplicates_removed = fields.Integer(required=True)
    reference = fields.String()
    invalid_numbers = fields.List(
        fields.Raw(), metadata=describe("With skip_invalid: the first 100 left out.")
    )
    invalid_count = fields.Integer()


class BroadcastDuplicatedSchema(ErrorSchema):
    """The error when the same was asked for before."""

    duplicate_of = fields.String(metadata=describe("The broadcast that this one repeats."))
    duplicate_recipients = fields.Integer(
        metadata=describe("How many of the recipients were in that broadcast.")
    )


class BroadcastFailedSchema(ErrorSchema):
    """The error when Sinch refused the broadcast: nobody gets a text of it now."""

    broadcast_id = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    url = fields.String(required=True)
    batch_id = fields.String(required=True, allow_none=True)
    batch_ids = fields.List(fields.String(), required=True)
    recipients = fields.Integer(required=True)
    parts_per_message = fields.Integer(required=True)
    encoding = fields.String(required=True)
    duplicates_removed = fields.Integer(required=True)
    details = fields.Dict(
        metadata=describe("Sinch's status, code and text, where they may be shown.")
    )
    reference = fields.String()
    invalid_numbers = fields.List(fields.Raw())
    invalid_count = fields.Integer()


CountsSchema = Schema.from_dict(
    {name: fields.Integer(required=True) for name in STATUS_NAMES}, name="CountsSchema"
)


class ReasonSchema(WhySchema):
    """How many messages stand where, and why."""

    messages = fields.Integer(required=True)


class DeliveredSchema(Schema):
    """When so many in a hundred of the delivered ones were, within a twentieth of the wait."""

    p50 = _may_be("Half of them.")
    p90 = _may_be("Nine in ten.")
    p99 = _may_be("99 in a hundred.")


class TimelineSchema(Schema):
    """When things happened; null for what has not."""

    created_at = fields.DateTime(required=True, format="iso")
    first_submitted_at = _may_be("When the first batch was about to be handed to Sinch.")
    last_submitted_at = _may_be("When Sinch was last known to have taken a batch.")
    delivered = fields.Nested(DeliveredSchema, required=True)
    completed_at = _may_be("When nothing was left to be handed to Sinch.")
    all_reported_at = _may_be("When the end of its last message was known.")


class TemplateVersionSchema(Schema):
    """One version of a stored text."""

    name = fields.String(required=True)
    version = fields.Integer(required=True)


class BroadcastViewSchema(Schema):
    """A broadcast and where its recipients stand; the counts add up to all asked for."""

    broadcast_id = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    url = fields.String(required=True)
    client = fields.String(required=True)
    reference = fields.String(allow_none=True)
    category = fields.Enum(Category, by_value=True, required=True)
    priority = fields.Integer(required=True)
    sender = fields.String(required=True)
    encoding = fields.String(required=True)
    parts_per_message = fields.Integer(required=True)
    created_at = fields.DateTime(required=True, format="iso")
    send_at = fields.DateTime(required=True, allow_none=True, format="iso")
    expires_at = fields.DateTime(required=True, format="iso")
    first_submitted_at = fields.DateTime(required=True, allow_none=True, format="iso")
    completed_at = fields.DateTime(required=True, allow_none=True, format="iso")
    all_reported_at = fields.DateTime(required=True, allow_none=True, format="iso")
    resend_of = fields.String(
        required=True,
        allow_none=True,
        metadata=describe("The broadcast whose unreached recipients it is sent to again."),
    )
    recipients = fields.Integer(
        required=True, metadata=describe("Asked for, each once, invalid ones too.")
    )
    duplicates_removed = fields.Integer(required=True)
    parts = fields.Integer(
        required=True,
        metadata=describe("Handed to Sinch: parts_per_message for each recipient, so at most."),
    )
    counts = fields.Nested(CountsSchema, required=True)
    reasons = fields.List(
        fields.Nested(ReasonSchema),
        required=True,
        metadata=describe("The counts by status and code; they add up likewise."),
    )
    timeline = fields.Nested(TimelineSchema, required=True)
    batches = fields.Dict(
        keys=fields.String(validate=validate.OneOf([each.value for each in BatchState])),
        values=fields.Integer(),
        required=True,
        metadata=describe("How many batches stand in each state."),
    )
    excluded = fields.Dict(
        keys=fields.String(validate=validate.OneOf([each.value for each in ExclusionReason])),
        values=fields.Integer(),
        required=True,
        metadata=describe(
            "Why recipients are suppressed; with quiet_hours how many wait for their day."
        ),
    )
    tag = fields.String(
        required=True, allow_none=True, metadata=describe("The tag it went to, if to one.")
    )
    audience = fields.Dict(
        required=True, allow_none=True, metadata=describe("Whom it goes to, if not to a list.")
    )
    resolving = fields.Boolean(
        required=True,
        metadata=describe("Whether its audience is still being looked up: recipients grow."),
    )
    template = fields.Nested(
        TemplateVersionSchema,
        required=True,
        allow_none=True,
        metadata=describe("The stored text it was made of, and the version it keeps to."),
    )
    stopped_at_sinch = fields.Integer(
        required=True,
        metadata=describe(
            "Accepted recipients of batches that Sinch was made to stop; what it had handed on "
            "before still arrives."
        ),
    )
    refusal = fields.Dict(
        required=True,
        allow_none=True,
        metadata=describe("Sinch's last refusal, where it may be shown."),
    )


class BroadcastPageSchema(Schema):
    """Broadcasts, newest first."""

    broadcasts = fields.List(fields.Nested(BroadcastViewSchema), required=True)
    cursor = fields.String(
        required=True, allow_none=True, metadata=describe("For the next page; null at the end.")
    )


class ResendAcceptedSchema(BroadcastAcceptedSchema):
    """The new broadcast is stored; it is sent in the background."""

    resend_of = fields.String(required=True, metadata=describe("The broadcast it comes from."))
    excluded = fields.Integer(
        required=True,
        metadata=describe("Not reached, but sending it again would not help: left out."),
    )


class ResendConflictSchema(ErrorSchema):
    """The error when it was resent before, or not all of it was sent yet."""

    status = fields.String(metadata=describe("Where it stands."))
    broadcast_id = fields.String(metadata=describe("The broadcast that it was resent as."))
