"""What is asked of suppressions and of consent, and what is answered."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from app.http.fields import Cursor, MessageText, PhoneNumber
from app.phone.e164 import is_country
from app.subscribers.models import Cause, Scope
from app.subscribers.suppressions.store import Suppressed

MAX_NUMBERS = 10_000
MAX_NOTE = 200
_TITLE = 64
_COUNTRY = "ISO 3166-1 alpha-2: whose national numbers stand in the list."


class SuppressionQuerySchema(Schema):
    """Which suppressions to list."""

    cursor = Cursor()
    limit = fields.Integer(validate=validate.Range(1, 500), load_default=100)
    cause = fields.Enum(Cause, by_value=True)
    scope = fields.Enum(Scope, by_value=True)
    needs_review = fields.Boolean(truthy={"true"}, falsy={"false"})
    active = fields.Boolean(truthy={"true"}, falsy={"false"})


class SuppressionFileQuerySchema(Schema):
    """Which suppressions a file holds."""

    active = fields.Boolean(
        truthy={"true"},
        falsy={"false"},
        load_default=True,
        metadata={"description": "false for those that were lifted."},
    )


class SuppressionImportQuerySchema(Schema):
    """How to read a list of numbers."""

    column = MessageText(
        validate=validate.Length(1, _TITLE),
        metadata={"description": "The title of the numbers, or their name in JSON."},
    )
    country = fields.String(
        validate=[validate.Length(equal=2), validate.Regexp("^[A-Z]{2}$")],
        metadata={"description": _COUNTRY, "example": "SE"},
    )
    without_plus = fields.Boolean(
        truthy={"true"},
        falsy={"false"},
        load_default=False,
        metadata={"description": "The numbers are international and have lost their plus."},
    )

    @validates_schema
    def check_country(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse what is no country with numbers."""
        if "country" in data and not is_country(data["country"]):
            raise ValidationError("No country whose numbers are known.", "country")


class NewSuppressionSchema(Schema):
    """Numbers that are not to be written to: one, or several."""

    phone = PhoneNumber()
    phones = fields.List(PhoneNumber(), validate=validate.Length(1, MAX_NUMBERS))
    scope = fields.Enum(Scope, by_value=True, load_default=Scope.ALL)
    note = MessageText(validate=validate.Length(max=MAX_NOTE))

    @validates_schema
    def check_numbers(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse both and neither."""
        if ("phone" in data) == ("phones" in data):
            raise ValidationError("Give either phone or phones.", "phones")


class ReleaseSchema(Schema):
    """Why a suppression is lifted."""

    note = MessageText(required=True, validate=validate.Length(1, MAX_NOTE))


class SuppressionViewSchema(Schema):
    """A suppression."""

    suppression_id = fields.String(required=True)
    phone = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "null where the person was erased."},
    )
    scope = fields.Enum(Scope, by_value=True, required=True)
    cause = fields.Enum(Cause, by_value=True, required=True)
    active = fields.Boolean(required=True)
    needs_review = fields.Boolean(
        required=True,
        metadata={"description": "The text could also be meant otherwise: confirm or release it."},
    )
    suppressed_at = fields.AwareDateTime(required=True, format="iso")
    released_at = fields.AwareDateTime(required=True, allow_none=True, format="iso")
    actor = fields.String(required=True)
    note = fields.String(required=True, allow_none=True)
    inbound = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Sinch's id of the text that asked for it."},
    )


class SuppressionPageSchema(Schema):
    """Suppressions, the newest first."""

    suppressions = fields.List(fields.Nested(SuppressionViewSchema), required=True)
    cursor = fields.String(required=True, allow_none=True)


class SuppressionAnswerSchema(Schema):
    """Whether a number is written to."""

    suppressed = fields.Boolean(required=True)
    suppression = fields.Nested(
        SuppressionViewSchema,
        required=True,
        allow_none=True,
        metadata={"description": "One that was lifted, too; null where there never was one."},
    )


class AddedSchema(Schema):
    """What came of the numbers given."""

    numbers = fields.Integer(required=True, metadata={"description": "Each once."})
    newly_suppressed = fields.Integer(
        required=True, metadata={"description": "Written to until now."}
    )


class RefusedLineSchema(Schema):
    """A line that was not taken."""

    line = fields.Integer(required=True)
    reason = fields.String(required=True)


class ImportedListSchema(Schema):
    """What came of a list."""

    numbers = fields.Integer(required=True)
    newly_suppressed = fields.Integer(
        required=True, metadata={"description": "Written to until now."}
    )
    refused = fields.Integer(required=True)
    refusals = fields.List(
        fields.Nested(RefusedLineSchema),
        required=True,
        metadata={"description": "The first 1,000 lines that were refused."},
    )


def show_suppression(found: Suppressed) -> dict[str, Any]:
    """A suppression as it is answered."""
    return {
        "suppression_id": found.public_id,
        "phone": found.phone,
        "scope": found.scope,
        "cause": found.cause,
        "active": found.active,
        "needs_review": found.needs_review,
        "suppressed_at": found.suppressed_at,
        "released_at": found.released_at,
        "actor": found.actor,
        "note": found.note,
        "inbound": found.inbound,
    }
