"""Schemas of suppressions: request and response."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from app.http.fields import (
    Cursor,
    MessageText,
    PhoneNumber,
    describe,
    next_cursor,
    nullable,
    query_boolean,
    required,
)
from app.http.files import CsvQuerySchema
from app.subscribers.fields import CountryCode
from app.subscribers.lists.reader import DEFAULT_ENCODING, ENCODINGS
from app.subscribers.models import Cause, Scope

MAX_NUMBERS = 10_000
MAX_NOTE = 200
_MAX_HEADER = 64


class SuppressionQuerySchema(Schema):
    """Query parameters of the list of suppressions."""

    cursor = Cursor()
    limit = fields.Integer(validate=validate.Range(1, 500), load_default=100)
    cause = fields.Enum(Cause, by_value=True)
    scope = fields.Enum(Scope, by_value=True)
    needs_review = query_boolean()
    active = query_boolean()


class SuppressionFileQuerySchema(CsvQuerySchema):
    """Query parameters of the suppressions as a file."""

    active = query_boolean(
        load_default=True, metadata=describe("false: export the suppressions that were lifted.")
    )


class SuppressionImportQuerySchema(Schema):
    """Query parameters of an import of suppressions."""

    column = MessageText(
        validate=validate.Length(1, _MAX_HEADER),
        metadata=describe("Header of the column with the numbers, or their key in JSON."),
    )
    country = CountryCode(
        metadata=describe("Country of the national numbers in the file, ISO 3166-1 alpha-2.")
    )
    encoding = fields.String(
        validate=validate.OneOf(list(ENCODINGS)),
        load_default=DEFAULT_ENCODING,
        metadata=describe("Encoding of a file without a byte order mark."),
    )
    without_plus = query_boolean(
        load_default=False, metadata=describe("Read numbers without + as international.")
    )


class NewSuppressionSchema(Schema):
    """Numbers to suppress: one or several."""

    phone = PhoneNumber()
    phones = fields.List(PhoneNumber(), validate=validate.Length(1, MAX_NUMBERS))
    scope = fields.Enum(Scope, by_value=True, load_default=Scope.ALL)
    note = MessageText(validate=validate.Length(max=MAX_NOTE))

    @validates_schema
    def check_numbers(self, data: dict[str, Any], **_: Any) -> None:
        """Raise ValidationError unless exactly one of phone and phones is given."""
        if ("phone" in data) == ("phones" in data):
            raise ValidationError("Give either phone or phones.", "phones")


class ReleaseSchema(Schema):
    """The reason for lifting a suppression."""

    note = MessageText(required=True, validate=validate.Length(1, MAX_NOTE))


class SuppressionViewSchema(Schema):
    """A suppression."""

    suppression_id = fields.String(required=True, attribute="public_id")
    phone = fields.String(**nullable("null if the person was erased."))
    scope = fields.Enum(Scope, by_value=True, required=True)
    cause = fields.Enum(Cause, by_value=True, required=True)
    active = fields.Boolean(required=True)
    needs_review = fields.Boolean(
        **required("The text may not have been meant as an opt-out: confirm or release it.")
    )
    suppressed_at = fields.AwareDateTime(required=True)
    released_at = fields.AwareDateTime(required=True, allow_none=True)
    actor = fields.String(required=True)
    note = fields.String(required=True, allow_none=True)
    inbound = fields.String(**nullable("Sinch's id of the text that opted out."))


class SuppressionPageSchema(Schema):
    """A page of suppressions, newest first."""

    suppressions = fields.List(fields.Nested(SuppressionViewSchema), required=True)
    cursor = next_cursor()


class SuppressionAnswerSchema(Schema):
    """The suppression of a number."""

    suppressed = fields.Boolean(required=True)
    suppression = fields.Nested(
        SuppressionViewSchema, **nullable("Also if it was lifted; null if there never was one.")
    )


class AddedSchema(Schema):
    """Number of suppressed numbers."""

    numbers = fields.Integer(**required("Distinct numbers of the request."))
    newly_suppressed = fields.Integer(**required("Not suppressed before."))


class RefusedLineSchema(Schema):
    """A rejected line."""

    line = fields.Integer(required=True)
    reason = fields.String(required=True)


class ImportedListSchema(Schema):
    """Result of an import of suppressions."""

    numbers = fields.Integer(required=True)
    newly_suppressed = fields.Integer(**required("Not suppressed before."))
    refused = fields.Integer(required=True)
    refusals = fields.List(
        fields.Nested(RefusedLineSchema), **required("The first 1,000 rejected lines.")
    )
