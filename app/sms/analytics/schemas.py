"""Schemas of analytics: query parameters and response."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema
from webargs.fields import DelimitedList

from app.http.fields import MessageText, describe, nullable, required
from app.sms.analytics.query import AnalyticsQuery
from app.sms.models.daily import MAX_TAG_CHARACTERS, Dimension
from app.sms.models.statuses import REPORTED, MessageStatus

MAX_DAYS = 366
DEFAULT_DAYS = 30
_MAX_CODE = 2**31 - 1
_STATUSES = sorted(REPORTED)


class AnalyticsQuerySchema(Schema):
    """Query parameters of analytics: days, grouping and filters."""

    since = fields.Date(
        data_key="from",
        metadata=describe(f"First day, in UTC. Default: {DEFAULT_DAYS} days including `to`."),
    )
    until = fields.Date(data_key="to", metadata=describe("Last day, in UTC. Default: today."))
    group_by = DelimitedList(
        fields.Enum(Dimension, by_value=True),
        validate=validate.Length(1, 2),
        load_default=lambda: [Dimension.DAY],
        metadata=describe("One or two dimensions, separated by a comma. Default: `day`.")
        | {"uniqueItems": True},
    )
    tag = MessageText(validate=validate.Length(1, MAX_TAG_CHARACTERS))
    sender = MessageText(
        validate=validate.Length(1, 16), metadata=describe("For a number, encode the `+` as %2B.")
    )
    country = MessageText(
        validate=validate.Regexp("^[A-Z]{2}$", error="Not two capital letters, as in SE."),
        metadata=describe("ISO 3166-1 alpha-2; ZZ for a number without a country."),
    )
    status = fields.String(validate=validate.OneOf(_STATUSES))
    code = fields.Integer(
        validate=validate.Range(0, _MAX_CODE), metadata=describe("Sinch's status code.")
    )
    client = MessageText(
        validate=validate.Length(1, 64),
        metadata=describe("Other clients need the scope analytics:all."),
    )

    @validates_schema
    def check_groups(self, data: dict[str, Any], **_: Any) -> None:
        """Raise ValidationError if a dimension is repeated."""
        groups = data.get("group_by", [])
        if len(set(groups)) != len(groups):
            raise ValidationError("Given twice.", "group_by")

    @post_load
    def make_query(self, data: dict[str, Any], **_: Any) -> AnalyticsQuery:
        """Return the AnalyticsQuery.  Raises ValidationError if the range of days is invalid."""
        until: date = data.get("until") or datetime.now(UTC).date()
        since: date = data.get("since") or _go_back(until, DEFAULT_DAYS - 1)
        if since > until:
            raise ValidationError(f"After `to`, which is {until.isoformat()}.", "from")
        if (until - since).days >= MAX_DAYS:
            raise ValidationError(f"More than {MAX_DAYS} days up to `to`.", "from")
        if "status" in data:
            data["status"] = MessageStatus(data["status"])
        only = {dimension: data[dimension] for dimension in Dimension if dimension in data}
        return AnalyticsQuery(since=since, until=until, group_by=data["group_by"], only=only)


def _go_back(day: date, days: int) -> date:
    return day - min(timedelta(days=days), day - date.min)


class LatencySchema(Schema):
    """Percentiles of the seconds until delivery, to within 5 %."""

    p50 = fields.Float(required=True, allow_none=True)
    p90 = fields.Float(required=True, allow_none=True)
    p99 = fields.Float(required=True, allow_none=True)


class OptOutsSchema(Schema):
    """Opt-outs by channel."""

    carrier = fields.Integer(**required("Messages rejected for an opt-out: Sinch's code 257."))
    texted = fields.Integer(
        **nullable("Texts that were only a keyword such as STOP; null if `inbounds` is.")
    )


class FiguresSchema(Schema):
    """Counts of the messages that Sinch accepted."""

    sent = fields.Integer(**required("Accepted by Sinch; the sum of the next four."))
    delivered = fields.Integer(required=True)
    failed = fields.Integer(**required("Failed, rejected, expired, aborted, cancelled or deleted."))
    unknown_ = fields.Integer(
        **required("No report came in time."), data_key="unknown", attribute="unknown"
    )
    submitted = fields.Integer(**required("No report yet."))
    delivery_rate = fields.Float(
        **nullable("delivered / (delivered + failed + unknown); null if that is 0.")
    )
    parts = fields.Integer(**required("Upper bound, by the length of the text."))
    latency_s = fields.Nested(
        LatencySchema,
        **nullable(
            "Seconds from acceptance by Sinch to delivery; null with a filter by code or by a "
            "status other than delivered."
        ),
    )
    inbounds = fields.Integer(
        **nullable("Inbound texts; null unless filtered and grouped only by day and client.")
    )
    opt_outs = fields.Nested(OptOutsSchema, required=True)


class GroupSchema(FiguresSchema):
    """The counts of one group, with the dimensions that it is grouped by."""

    day = fields.Date()
    tag = fields.String()
    sender = fields.String()
    country = fields.String()
    status = fields.String(validate=validate.OneOf(_STATUSES))
    code = fields.Integer(allow_none=True, metadata=describe("null if Sinch gave none."))
    client = fields.String()


class AnalyticsSchema(Schema):
    """Counts by group and in total; up to a few seconds old."""

    since = fields.Date(data_key="from", required=True)
    until = fields.Date(data_key="to", required=True)
    group_by = fields.List(fields.Enum(Dimension, by_value=True), required=True)
    rows = fields.List(fields.Nested(GroupSchema), required=True)
    totals = fields.Nested(FiguresSchema, required=True)
