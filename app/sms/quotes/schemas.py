"""Schemas of quotes: request and response."""

from typing import Any

from marshmallow import Schema, fields, post_load, validate

from app.http.fields import StrictBoolean, describe, nullable, required
from app.sms.models.states import ExclusionReason
from app.sms.request.model import BroadcastRequest
from app.sms.request.schemas import BroadcastSchema


class QuoteRequestSchema(BroadcastSchema):
    """The broadcast to quote.  Loads the BroadcastRequest and whether to do a dry run at Sinch."""

    dry_run = StrictBoolean(
        metadata=describe(
            "Also run Sinch's dry run with the first 1,000 recipients; nothing is sent."
        )
    )

    @post_load
    def make_request(self, data: dict[str, Any], **more: Any) -> tuple[BroadcastRequest, bool]:
        """Return the BroadcastRequest, and True if Sinch should do a dry run."""
        dry_run = data.pop("dry_run", False)
        return super().make_request(data, **more), dry_run


class CountryQuoteSchema(Schema):
    """Recipients, parts and cost of one country."""

    recipients = fields.Integer(required=True)
    parts = fields.Integer(required=True)
    cost = fields.String(**nullable("null if the country has no price."))


class DeferredSchema(Schema):
    """Recipients whose quiet hours end at a time."""

    at = fields.DateTime(required=True)
    recipients = fields.Integer(required=True)


class ZoneQuoteSchema(Schema):
    """Recipients in one time zone, and when the text is sent there."""

    zone = fields.String(
        **nullable("Its IANA name; null where a number may be in several of them.")
    )
    country = fields.String(**nullable("The country of the numbers, whose quiet hours apply."))
    recipients = fields.Integer(required=True)
    send_at = fields.DateTime(
        **nullable(
            "The start, or the end of quiet hours; null for recipients who do not get the text "
            "because their quiet hours end too late, or never."
        )
    )


class NonGsmCharacterSchema(Schema):
    """A character that forces UCS-2, and its GSM-7 replacement."""

    character = fields.String(required=True)
    name = fields.String(required=True)
    count = fields.Integer(required=True)
    look_alike = fields.String(required=True, allow_none=True)


class TextQuoteSchema(Schema):
    """The text in one language."""

    language = fields.String(required=True, allow_none=True)
    text = fields.String(required=True)
    recipients = fields.Integer(**required("Recipients who would get the text in this language."))
    encoding = fields.String(required=True, validate=validate.OneOf(["GSM-7", "UCS-2"]))
    characters = fields.List(
        fields.Nested(NonGsmCharacterSchema), **required("The characters that force UCS-2.")
    )
    cheaper = fields.String(
        **nullable("The text with GSM-7 replacements, if it takes fewer parts.")
    )


class CostSchema(Schema):
    """The cost by the price table."""

    amount = fields.String(required=True)
    currency = fields.String(required=True)
    unpriced = fields.List(
        fields.String(), **required("Countries without a price; the amount does not include them.")
    )


class DryRunSchema(Schema):
    """The result of Sinch's dry run with the first recipients."""

    recipients = fields.Integer(required=True, allow_none=True)
    parts = fields.Integer(required=True, allow_none=True)
    our_parts = fields.Integer(required=True)
    problem = fields.String(**nullable("Why Sinch returned no result."))


class QuoteSchema(Schema):
    """A quote: recipients, parts and cost of a broadcast if it started now."""

    recipients = fields.Integer(**required("Recipients of the text, now or after quiet hours."))
    countries = fields.Dict(
        keys=fields.String(), values=fields.Nested(CountryQuoteSchema), required=True
    )
    excluded = fields.Dict(
        **required("Recipients that are excluded, by reason."),
        keys=fields.String(validate=validate.OneOf([reason.value for reason in ExclusionReason])),
        values=fields.Integer(),
    )
    expired_before_window = fields.Integer(
        **required("Recipients whose quiet hours end after the broadcast expires.")
    )
    deferred = fields.List(
        fields.Nested(DeferredSchema),
        **required("Recipients in quiet hours at the start, by the time they are sent to."),
    )
    zones = fields.List(
        fields.Nested(ZoneQuoteSchema),
        **required("Where the recipients are and when it is sent there, most people first."),
    )
    invalid_numbers = fields.List(fields.Raw(), required=True)
    invalid_count = fields.Integer(required=True)
    duplicates_removed = fields.Integer(required=True)
    texts = fields.List(fields.Nested(TextQuoteSchema), required=True)
    parts = fields.Integer(**required("Parts of all recipients together."))
    parts_histogram = fields.Dict(
        **required("Recipients by the number of parts of their text."),
        keys=fields.String(),
        values=fields.Integer(),
    )
    cost = fields.Nested(CostSchema, **nullable("null if there are no prices."))
    sending_s = fields.Float(
        **nullable("Seconds to submit all parts at SINCH_MESSAGES_PER_SECOND, if it is set.")
    )
    dry_run = fields.Nested(DryRunSchema, required=True, allow_none=True)
    warnings = fields.List(
        fields.String(),
        **required(
            "What is probably not meant, in sentences: braces, many parts, a name to "
            "countries that take none."
        ),
    )
    token = fields.String(**required("Pass it as `quote` of the broadcast, within 24 hours."))
