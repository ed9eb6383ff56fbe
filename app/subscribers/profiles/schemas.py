"""Schemas of requests about subscribers."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate

from app.http.body import JsonBounds
from app.http.fields import (
    Cursor,
    MessageText,
    PhoneNumber,
    StrictBoolean,
    describe,
    query_boolean,
    required,
)
from app.phone.e164 import find_in_use
from app.subscribers.attributes import MAX_SOURCE_CHARACTERS, MAX_WORDING_CHARACTERS
from app.subscribers.fields import (
    AttributeFilters,
    AttributeTable,
    LanguageTag,
    PersonName,
    TagList,
    TagName,
    TimeOfPerson,
    TimeZoneName,
)
from app.subscribers.profiles.entry import DETAILS, GivenConsent, OnConflict, SubscriberEntry

MAX_BULK = 10_000
UNLISTED = "Not a number in use, by libphonenumber. Set allow_unlisted to accept it."
_ALLOW_UNLISTED = "Also accept numbers in E.164 that libphonenumber does not know."


class ConsentSchema(Schema):
    """A consent to marketing.  Loads a GivenConsent."""

    wording = MessageText(
        **required(
            "The exact text that the person agreed to.",
            example="Yes, text me offers.",
            pattern=r"\S",
        ),
        validate=validate.Length(1, MAX_WORDING_CHARACTERS),
    )
    source = MessageText(
        **required("Where the person agreed.", example="https://example.com/signup", pattern=r"\S"),
        validate=validate.Length(1, MAX_SOURCE_CHARACTERS),
    )
    at = TimeOfPerson(metadata=describe("When the person agreed. Default: now."))

    @post_load
    def make_consent(self, data: dict[str, Any], **_: Any) -> GivenConsent:
        """Return the GivenConsent."""
        return GivenConsent(**data)


class DetailsSchema(Schema):
    """Details of a subscriber, without the number."""

    first_name = PersonName(allow_none=True)
    last_name = PersonName(allow_none=True)
    language = LanguageTag(allow_none=True)
    time_zone = TimeZoneName(allow_none=True)
    attributes = AttributeTable()
    tags = TagList(metadata=describe("Unknown tags are created."))
    active = StrictBoolean(metadata=describe("Audiences include active subscribers only."))
    subscribed_at = TimeOfPerson(metadata=describe("When they subscribed. ISO 8601 with offset."))
    consent = fields.Nested(
        ConsentSchema, metadata=describe("Recorded in the consent ledger; it lifts no suppression.")
    )

    @post_load
    def sort_details(self, data: dict[str, Any], **_: Any) -> Any:
        """Return columns, attributes, tags and consent apart."""
        columns = (*DETAILS, "active", "subscribed_at")
        tags = data.get("tags")
        return {
            "details": {name: data[name] for name in columns if name in data},
            "attributes": data.get("attributes"),
            "tags": None if tags is None else tuple(tags),
            "consent": data.get("consent"),
        }


class EntrySchema(DetailsSchema):
    """A subscriber.  Loads a SubscriberEntry."""

    phone = PhoneNumber(required=True, metadata={"example": "+46701234567"})

    @post_load
    def sort_details(self, data: dict[str, Any], **_: Any) -> Any:
        """Return the SubscriberEntry."""
        details: dict[str, Any] = super().sort_details(data)
        return SubscriberEntry(phone=data["phone"], **details)


class SubscriberSchema(EntrySchema):
    """A new subscriber.  Loads a SubscriberEntry."""

    allow_unlisted = StrictBoolean(metadata=describe(_ALLOW_UNLISTED))

    @post_load
    def sort_details(self, data: dict[str, Any], **_: Any) -> Any:
        """Return the SubscriberEntry.  Raises ValidationError if the number is not in use."""
        if not data.get("allow_unlisted") and find_in_use(data["phone"]) is None:
            raise ValidationError(UNLISTED, "phone")
        return super().sort_details(data)


class _EntryList(fields.List[Any]):
    """Entries that are validated one by one later, since invalid ones may be skipped."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ValidationError("Not a list of subscribers.")
        return value


class BulkSchema(Schema):
    """A bulk request."""

    # Each of them with some tags and attributes; with more of them, fewer people fit.
    json_bounds = JsonBounds(max_bytes=2**40, max_containers=8 * MAX_BULK, max_items=30 * MAX_BULK)
    subscribers = _EntryList(
        fields.Nested(EntrySchema), required=True, validate=validate.Length(1, MAX_BULK)
    )
    on_conflict = fields.Enum(
        OnConflict,
        by_value=True,
        metadata=describe(
            "What to do with existing subscribers. merge (default): change the "
            "given fields and add the tags; replace: set names, language, time zone and attributes "
            "as given, and the tags if given; skip: change nothing."
        ),
    )
    skip_invalid = StrictBoolean(
        metadata=describe("Skip invalid entries instead of rejecting the request.")
    )
    allow_unlisted = StrictBoolean(metadata=describe(_ALLOW_UNLISTED))


class LookupSchema(Schema):
    """The number to look up."""

    phone = PhoneNumber(required=True)


class SubscriberQuerySchema(Schema):
    """Query parameters of the list of subscribers."""

    cursor = Cursor()
    limit = fields.Integer(validate=validate.Range(1, 500), load_default=100)
    tag = TagName(metadata=describe("Only subscribers with this tag, confirmed or not."))
    text = MessageText(
        validate=validate.Length(1, 100),
        metadata=describe("Only if the first or last name contains it, ignoring case."),
    )
    active = query_boolean()
    attribute = AttributeFilters()
