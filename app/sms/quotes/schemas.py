"""A quote as the API shows it, and what it is asked for with."""

from typing import Any

from marshmallow import Schema, fields, post_load, validate

from app.http.fields import StrictBoolean
from app.sms.models.states import ExclusionReason
from app.sms.request.model import BroadcastRequest
from app.sms.request.schemas import BroadcastSchema


class QuoteRequestSchema(BroadcastSchema):
    """What would be sent.  `load` gives the Order and whether Sinch is asked, too."""

    dry_run = StrictBoolean(
        metadata={
            "description": "Ask Sinch, too, what the first 1,000 recipients would take; nothing is "
            "sent by that."
        }
    )

    @post_load
    def make_order(self, data: dict[str, Any], **more: Any) -> tuple[BroadcastRequest, bool]:
        """The order given, and whether to ask Sinch."""
        asks = data.pop("dry_run", False)
        return super().make_order(data, **more), asks


class CountryQuoteSchema(Schema):
    """What goes to one country."""

    recipients = fields.Integer(required=True)
    parts = fields.Integer(required=True)
    cost = fields.String(
        required=True, allow_none=True, metadata={"description": "null without a price."}
    )


class DeferredSchema(Schema):
    """So many wait for the beginning of their day."""

    at = fields.DateTime(required=True, format="iso")
    recipients = fields.Integer(required=True)


class NonGsmCharacterSchema(Schema):
    """A character that makes a text UCS-2, and a cheaper one like it."""

    character = fields.String(required=True)
    name = fields.String(required=True)
    count = fields.Integer(required=True)
    look_alike = fields.String(required=True, allow_none=True)


class TextQuoteSchema(Schema):
    """One of the texts, as it would leave."""

    language = fields.String(required=True, allow_none=True)
    text = fields.String(required=True)
    encoding = fields.String(required=True, validate=validate.OneOf(["GSM-7", "UCS-2"]))
    characters = fields.List(
        fields.Nested(NonGsmCharacterSchema),
        required=True,
        metadata={"description": "Those that force UCS-2."},
    )
    cheaper = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The text with look-alikes, where that takes fewer parts."},
    )


class CostSchema(Schema):
    """What all of it costs, by the price table."""

    amount = fields.String(required=True)
    currency = fields.String(required=True)
    unpriced = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "Countries without a price: they are not in the amount."},
    )


class DryRunSchema(Schema):
    """What Sinch says the first recipients would take."""

    recipients = fields.Integer(required=True, allow_none=True)
    parts = fields.Integer(required=True, allow_none=True)
    our_parts = fields.Integer(required=True)
    problem = fields.String(
        required=True, allow_none=True, metadata={"description": "Why Sinch gave no answer."}
    )


class QuoteSchema(Schema):
    """What a broadcast would come to now; nothing is sent."""

    recipients = fields.Integer(
        required=True, metadata={"description": "Who would get it, now or when their day begins."}
    )
    countries = fields.Dict(
        keys=fields.String(), values=fields.Nested(CountryQuoteSchema), required=True
    )
    excluded = fields.Dict(
        keys=fields.String(validate=validate.OneOf([each.value for each in ExclusionReason])),
        values=fields.Integer(),
        required=True,
        metadata={"description": "Who would not get it, by why."},
    )
    expired_before_window = fields.Integer(
        required=True,
        metadata={"description": "Whose day begins after the broadcast has ended."},
    )
    deferred = fields.List(
        fields.Nested(DeferredSchema),
        required=True,
        metadata={"description": "When those go for whom it is quiet at the start."},
    )
    invalid_numbers = fields.List(fields.Raw(), required=True)
    invalid_count = fields.Integer(required=True)
    duplicates_removed = fields.Integer(required=True)
    texts = fields.List(fields.Nested(TextQuoteSchema), required=True)
    parts = fields.Integer(required=True, metadata={"description": "Over all recipients."})
    parts_histogram = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        required=True,
        metadata={"description": "How many recipients' texts take so many parts."},
    )
    cost = fields.Nested(
        CostSchema, required=True, allow_none=True, metadata={"description": "null without prices."}
    )
    sending_s = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "At the plan's rate; null where none is set."},
    )
    dry_run = fields.Nested(DryRunSchema, required=True, allow_none=True)
    token = fields.String(
        required=True, metadata={"description": "For `quote` of a broadcast, within a day."}
    )
