"""Schemas of responses about broadcasts."""

from marshmallow import Schema, fields, validate

from app.errors import ErrorSchema
from app.http.fields import describe, next_cursor, nullable, required
from app.sms.lifecycle.counts import STATUS_NAMES
from app.sms.messages.schemas import WhySchema
from app.sms.models.states import BatchState, Category, ExclusionReason
from app.sms.request.error_schemas import STATUSES


class ExclusionSchema(Schema):
    """Recipients that are excluded, or deferred until the end of their quiet hours."""

    reason = fields.String(
        required=True, validate=validate.OneOf([reason.value for reason in ExclusionReason])
    )
    recipients = fields.Integer(required=True)
    until = fields.String(
        **nullable(
            "When deferred recipients are sent to; null if they are excluded.", format="date-time"
        )
    )
    sentence = fields.String(
        required=True,
        metadata={"example": "600 recipients deferred until 2026-03-02 07:00 UTC: quiet hours."},
    )


class CapSchema(Schema):
    """A cap on what is sent in an hour or a day of UTC, and what is left of it."""

    client = fields.String(**nullable("Null: of all clients together, or of a key."))
    key = fields.Integer(
        **nullable("The number of the key that it is on, or that this key replaced.")
    )
    period = fields.String(required=True, validate=validate.OneOf(["hour", "day"]))
    unit = fields.String(
        **required("Message parts, or millionths of the currency of the prices."),
        validate=validate.OneOf(["parts", "cost"]),
    )
    amount = fields.Integer(required=True)
    left = fields.Integer(**required("At 0 batches wait until `resets_at`."))
    resets_at = fields.String(required=True, metadata={"format": "date-time"})


class CanaryViewSchema(Schema):
    """The canary of a broadcast, and its outcome once that is known."""

    recipients = fields.Integer(required=True)
    wait_minutes = fields.Integer(required=True)
    max_failed_percent = fields.Float(required=True)
    max_opt_out_percent = fields.Float(required=True)
    outcome = fields.String(
        validate=validate.OneOf(["good", "bad"]),
        metadata=describe("`bad`: the broadcast was paused; resume it to send the rest."),
    )
    sent = fields.Integer()
    failed = fields.Integer()
    opted_out = fields.Integer()


class BroadcastResultSchema(Schema):
    """A broadcast in the answer to its request."""

    broadcast_id = fields.String(**nullable("Null for a test key."))
    status = fields.String(
        **required("`test`: the key is a test key; all was checked, and nothing is sent."),
        validate=validate.OneOf([*STATUSES, "test"]),
    )
    url = fields.String(**nullable("Path of the broadcast; null for a test key."))
    batch_id = fields.String(
        **nullable("Sinch's id of the first batch; null until Sinch has accepted one.")
    )
    batch_ids = fields.List(fields.String(), required=True)
    recipients = fields.Integer(**required("Distinct valid recipients."))
    parts_per_message = fields.Integer(**required("Of the longest text, with values filled in."))
    encoding = fields.String(
        required=True, validate=validate.OneOf(["GSM-7", "UCS-2"]), metadata={"example": "GSM-7"}
    )
    duplicates_removed = fields.Integer(required=True)
    reference = fields.String()
    invalid_numbers = fields.List(
        fields.Raw(), metadata=describe("With skip_invalid: the first 100 invalid entries.")
    )
    invalid_count = fields.Integer()
    exclusions = fields.List(
        fields.Nested(ExclusionSchema),
        metadata=describe("Excluded and deferred recipients, if any."),
    )
    caps = fields.List(
        fields.Nested(CapSchema), metadata=describe("What the caps on this client and key leave.")
    )
    warnings = fields.List(
        fields.String(), metadata=describe("What is probably not meant, in sentences, if anything.")
    )


class BroadcastAcceptedSchema(BroadcastResultSchema):
    """An accepted broadcast: it is stored, and may be submitted already."""

    message = fields.String(
        required=True, metadata={"example": "SMS batch submitted successfully to Sinch."}
    )


class BroadcastDuplicatedSchema(ErrorSchema):
    """409: the broadcast duplicates a recent one."""

    duplicate_of = fields.String(metadata=describe("The broadcast that this one duplicates."))
    duplicate_recipients = fields.Integer(
        metadata=describe("Number of recipients that were sent this text already.")
    )


class BroadcastFailedSchema(ErrorSchema, BroadcastResultSchema):
    """502: Sinch rejected the broadcast and nothing was sent."""

    details = fields.Dict(
        metadata=describe("Sinch's status, code and text; left out if they concern our account.")
    )


CountsSchema = Schema.from_dict(
    {status: fields.Integer(required=True) for status in STATUS_NAMES}, name="CountsSchema"
)


class ReasonSchema(WhySchema):
    """Number of messages by status and reason."""

    messages = fields.Integer(required=True)


class DeliveredSchema(Schema):
    """Times by which 50, 90 and 99 % of the delivered messages arrived, to within 5 %."""

    p50 = fields.DateTime(**nullable("50 %."))
    p90 = fields.DateTime(**nullable("90 %."))
    p99 = fields.DateTime(**nullable("99 %."))


class TimelineSchema(Schema):
    """Times of the broadcast's events; null for an event that has not happened."""

    created_at = fields.DateTime(required=True)
    first_submitted_at = fields.DateTime(**nullable("When submission of the first batch began."))
    last_submitted_at = fields.DateTime(**nullable("When Sinch accepted the last batch."))
    delivered = fields.Nested(DeliveredSchema, required=True)
    completed_at = fields.DateTime(**nullable("When nothing was left to submit."))
    all_reported_at = fields.DateTime(**nullable("When every message had a final status."))


class ProgressSchema(Schema):
    """The place of a broadcast in the queue, and estimates of its times."""

    queue_position = fields.Integer(
        **nullable(
            "1 for the broadcast whose texts go next; null if none of its texts may go now. "
            "Broadcasts of other clients are counted, too."
        )
    )
    starts_at = fields.DateTime(
        **nullable("When the first text is, or was, handed to Sinch; an estimate.")
    )
    per_second = fields.Float(**nullable("Texts handed to Sinch a second, in the last minutes."))
    finishes_at = fields.DateTime(
        **nullable(
            "When the last text that may go now is handed to Sinch; an estimate. Those in quiet "
            "hours are in `exclusions`."
        )
    )


class TemplateVersionSchema(Schema):
    """A template and its version."""

    name = fields.String(required=True)
    version = fields.Integer(required=True)


class BroadcastViewSchema(Schema):
    """A broadcast and its counts, which add up to `recipients`."""

    broadcast_id = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    url = fields.String(required=True)
    client = fields.String(required=True)
    created_by = fields.String(
        **nullable(
            "The user who made it on the pages, or the operator who did on the command line; null "
            "for a client's own."
        )
    )
    reference = fields.String(allow_none=True)
    category = fields.Enum(Category, by_value=True, required=True)
    priority = fields.Integer(required=True)
    sender = fields.String(required=True)
    encoding = fields.String(required=True)
    parts_per_message = fields.Integer(required=True)
    created_at = fields.DateTime(required=True)
    send_at = fields.DateTime(required=True, allow_none=True)
    expires_at = fields.DateTime(required=True)
    first_submitted_at = fields.DateTime(required=True, allow_none=True)
    completed_at = fields.DateTime(required=True, allow_none=True)
    all_reported_at = fields.DateTime(required=True, allow_none=True)
    kept_until = fields.DateTime(
        **nullable(
            "When its text and numbers will be deleted; null before all is reported, and after."
        )
    )
    purged_at = fields.DateTime(
        **nullable("When its text and numbers were deleted; its counts are kept.")
    )
    resend_of = fields.String(
        **nullable("The broadcast whose undelivered recipients this one is sent to.")
    )
    recipients = fields.Integer(
        **required("Distinct recipients of the request, invalid ones included.")
    )
    duplicates_removed = fields.Integer(required=True)
    parts = fields.Integer(
        **required("Upper bound of the parts submitted: parts_per_message for each recipient.")
    )
    counts = fields.Nested(CountsSchema, required=True)
    reasons = fields.List(
        fields.Nested(ReasonSchema),
        **required("Counts by status and code; they add up to `recipients`, too."),
    )
    timeline = fields.Nested(TimelineSchema, required=True)
    progress = fields.Nested(ProgressSchema, required=True)
    batches = fields.Dict(
        **required("Number of batches by state."),
        keys=fields.String(validate=validate.OneOf([state.value for state in BatchState])),
        values=fields.Integer(),
    )
    excluded = fields.Dict(
        **required("Excluded recipients by reason; quiet_hours counts those that are deferred."),
        keys=fields.String(validate=validate.OneOf([reason.value for reason in ExclusionReason])),
        values=fields.Integer(),
    )
    exclusions = fields.List(
        fields.Nested(ExclusionSchema),
        **required("These recipients by reason and end, in words too."),
    )
    tag = fields.String(**nullable("The tag, of a broadcast to a tag."))
    audience = fields.Dict(**nullable("The audience; null for a list of recipients."))
    resolving = fields.Boolean(
        **required("True while the audience is looked up; `recipients` still grows.")
    )
    template = fields.Nested(
        TemplateVersionSchema, **nullable("The template and the version that the broadcast uses.")
    )
    canary = fields.Nested(CanaryViewSchema, required=True, allow_none=True)
    stopped_at_sinch = fields.Integer(
        **required(
            "Recipients of batches cancelled at Sinch; messages that Sinch had dispatched before "
            "still arrive."
        )
    )
    refusal = fields.Dict(**nullable("Sinch's last rejection; null if it concerns our account."))


class BroadcastPageSchema(Schema):
    """A page of broadcasts, newest first."""

    broadcasts = fields.List(fields.Nested(BroadcastViewSchema), required=True)
    cursor = next_cursor()


class CurvePointSchema(Schema):
    """A time, and how many messages were delivered until then."""

    at = fields.DateTime(required=True)
    delivered = fields.Integer(required=True)


class CountryFiguresSchema(Schema):
    """Messages to one country."""

    country = fields.String(**required("ISO 3166-1 alpha-2; ZZ for a number without a country."))
    sent = fields.Integer(**required("Accepted by Sinch."))
    delivered = fields.Integer(required=True)
    failed = fields.Integer(**required("Failed, rejected, expired, aborted, cancelled or deleted."))


class DeliveryFiguresSchema(Schema):
    """The delivery of a broadcast over time and by country.

    The figures of more than 1,000 recipients are up to a minute old.
    """

    started_at = fields.DateTime(**required("`send_at`, else `created_at`."))
    curve = fields.List(
        fields.Nested(CurvePointSchema),
        **required(
            "From the start to the last delivery, at most 302 points. They are exact to a second "
            "in the first two minutes, to ten seconds in the first hour, then to a minute."
        ),
    )
    countries = fields.List(
        fields.Nested(CountryFiguresSchema),
        **required("Of messages that Sinch accepted, the country with most of them first."),
    )
    delivered = fields.Integer(**required("Delivered messages in these figures."))
    behind = fields.Integer(**required("Delivered messages that are not in these figures yet."))


class ResendAcceptedSchema(BroadcastAcceptedSchema):
    """A resend: it is stored, and sent in the background."""

    resend_of = fields.String(**required("The broadcast that is resent."))
    excluded = fields.Integer(
        **required("Undelivered recipients that are left out, since the failure is permanent.")
    )
    awaited = fields.Integer(
        **required("Recipients that are left out, since they have no final status yet.")
    )


class ResendConflictSchema(ErrorSchema):
    """409: the broadcast was resent before, is not complete, or too few reports have come."""

    awaited = fields.Integer(metadata=describe("Recipients without a final status."))
    status = fields.String(metadata=describe("Status of the broadcast."))
    broadcast_id = fields.String(metadata=describe("The broadcast that it was resent as before."))
