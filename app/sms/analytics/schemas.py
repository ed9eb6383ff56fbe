"""What may be asked of the analytics, and the JSON of their answer."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema
from webargs.fields import DelimitedList

from app.http.fields import MessageText, describe
from app.sms.models.daily import MAX_TAG_CHARACTERS, Dimension
from app.sms.models.statuses import REPORTED, MessageStatus

MAX_DAYS = 366
DEFAULT_DAYS = 30
_MAX_CODE = 2**31 - 1
_STATUSES = sorted(REPORTED)


class AnalyticsQuerySchema(Schema):
    """Which days, by what, and of what."""

    since = fields.Date(
        data_key="from",
        metadata=describe(f"The first day, in UTC; {DEFAULT_DAYS} days with the last if absent."),
    )
    until = fields.Date(data_key="to", metadata=describe("The last day; today if absent."))
    group_by = DelimitedList(
        fields.Enum(Dimension, by_value=True),
        validate=validate.Length(1, 2),
        load_default=lambda: [Dimension.DAY],
        metadata=describe("One or two, with a comma between them; `day` if absent.")
        | {"uniqueItems": True},
    )
    tag = MessageText(validate=validate.Length(1, MAX_TAG_CHARACTERS))
    sender = MessageText(
        validate=validate.Length(1, 16), metadata=describe("Of a number, the `+` as %2B.")
    )
    country = MessageText(
        validate=validate.Regexp("^[A-Z]{2}$", error="Not two capital letters, as in SE."),
        metadata=describe("ISO 3166-1; ZZ where a number belongs to no country."),
    )
    status = fields.String(validate=validate.OneOf(_STATUSES))
    code = fields.Integer(validate=validate.Range(0, _MAX_CODE), metadata=describe("Sinch's."))
    client = MessageText(
        validate=validate.Length(1, 64),
        metadata=describe("Another than oneself only with the scope analytics:all."),
    )

    @validates_schema
    def check_groups(self, data: dict[str, Any], **_: Any) -> None:
        """Raise ValidationError for a repeated dimension."""
        groups = data.get("group_by", [])
        if len(set(groups)) != len(groups):
            raise ValidationError("The same twice.", "group_by")

    @post_load
    def name_status(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """The same with the status itself in place of its word."""
        if "status" in data:
            data["status"] = MessageStatus(data["status"])
        return data

    @post_load
    def choose_days(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """The same with both days.  Raises ValidationError where they do not fit."""
        until: date = data.get("until") or datetime.now(UTC).date()
        since: date = data.get("since") or _go_back(until, DEFAULT_DAYS - 1)
        if since > until:
            raise ValidationError(f"Behind `to`, which is {until.isoformat()}.", "from")
        if (until - since).days >= MAX_DAYS:
            raise ValidationError(f"More than {MAX_DAYS} days up to `to`.", "from")
        return data | {"since": since, "until": until}


def _go_back(day: date, days: int) -> date:
    return day - min(timedelta(days=days), day - date.min)


class LatencySchema(Schema):
    """Within how many seconds so many in a hundred reached the phone, to within a twentieth."""

    p50 = fields.Float(required=True, allow_none=True)
    p90 = fields.Float(required=True, allow_none=True)
    p99 = fields.Float(required=True, allow_none=True)


class OptOutsSchema(Schema):
    """How many people wanted no more."""

    carrier = fields.Integer(
        required=True, metadata=describe("Messages that came back for it: Sinch's code 257.")
    )
    texted = fields.Integer(
        required=True,
        allow_none=True,
        metadata=describe("Texts that were nothing but a word like STOP; null as `inbounds`."),
    )


class FiguresSchema(Schema):
    """What became of the messages that Sinch took."""

    sent = fields.Integer(required=True, metadata=describe("Taken by Sinch; the next four of it."))
    delivered = fields.Integer(required=True)
    failed = fields.Integer(
        required=True,
        metadata=describe("Not reached: failed, rejected, expired, aborted, cancelled, deleted."),
    )
    unknown_ = fields.Integer(
        data_key="unknown",
        attribute="unknown",
        required=True,
        metadata=describe("Never reported."),
    )
    submitted = fields.Integer(required=True, metadata=describe("Not reported yet."))
    delivery_rate = fields.Float(
        required=True,
        allow_none=True,
        metadata=describe("Delivered, of all whose end is known or given up; null without any."),
    )
    parts = fields.Integer(required=True, metadata=describe("At most, as the text has them."))
    latency_s = fields.Nested(
        LatencySchema,
        required=True,
        allow_none=True,
        metadata=describe("From Sinch to the phone; null where a code, or a status other than "
        "delivered, is asked for."),
    )  # fmt: skip
    inbounds = fields.Integer(
        required=True,
        allow_none=True,
        metadata=describe("Texts from phones; null unless by day and client alone."),
    )
    opt_outs = fields.Nested(OptOutsSchema, required=True)


class GroupSchema(FiguresSchema):
    """The figures of one group; of day, tag and so on it has those that were asked for."""

    day = fields.Date()
    tag = fields.String()
    sender = fields.String()
    country = fields.String()
    status = fields.String(validate=validate.OneOf(_STATUSES))
    code = fields.Integer(allow_none=True, metadata=describe("null where Sinch gave none."))
    client = fields.String()


class AnalyticsSchema(Schema):
    """Figures by group, and of all together; they are some seconds old."""

    since = fields.Date(data_key="from", required=True)
    until = fields.Date(data_key="to", required=True)
    group_by = fields.List(fields.Enum(Dimension, by_value=True), required=True)
    rows = fields.List(fields.Nested(GroupSchema), required=True)
    totals = fields.Nested(FiguresSchema, required=True)
