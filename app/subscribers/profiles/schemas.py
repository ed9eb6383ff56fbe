"""What a client may give and ask of subscribers."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate

from app.http.fields import Cursor, MessageText, PhoneNumber, StrictBoolean, UtcDateTime
from app.phone.e164 import inspect_number
from app.subscribers.fields import (
    AttributeFilters,
    AttributeTable,
    LanguageTag,
    PersonName,
    TagList,
    TagName,
    TimeZoneName,
)
from app.subscribers.profiles.entry import DETAILS, GivenConsent, OnConflict, SubscriberEntry

MAX_BULK = 10_000
UNLISTED = "No such number is in use, as far as is known; allow_unlisted takes it all the same."
_ALLOW_UNLISTED = "Take numbers of the right form that libphonenumber does not know, too."


class ConsentSchema(Schema):
    """That somebody agreed to marketing.  `load` gives a Consent."""

    wording = MessageText(
        required=True,
        validate=validate.Length(1, 2000),
        metadata={"description": "What exactly they agreed to.", "example": "Yes, text me offers."},
    )
    source = MessageText(
        required=True,
        validate=validate.Length(1, 200),
        metadata={"description": "Where they did.", "example": "https://example.com/signup"},
    )
    at = UtcDateTime(metadata={"description": "When they did; now when left out."})

    @post_load
    def make_consent(self, data: dict[str, Any], **_: Any) -> GivenConsent:
        """The consent."""
        return GivenConsent(**data)


class DetailsSchema(Schema):
    """What is known of a person beside the number."""

    first_name = PersonName(allow_none=True)
    last_name = PersonName(allow_none=True)
    language = LanguageTag(allow_none=True)
    time_zone = TimeZoneName(allow_none=True)
    attributes = AttributeTable()
    tags = TagList(metadata={"description": "Tags that are not there yet are made."})
    active = StrictBoolean(metadata={"description": "Whether audiences include them."})
    subscribed_at = UtcDateTime(
        metadata={"description": "Since when they are; ISO 8601 with offset."}
    )
    consent = fields.Nested(
        ConsentSchema,
        metadata={"description": "Goes into the ledger of consent; lifts no suppression."},
    )

    @post_load
    def sort_details(self, data: dict[str, Any], **_: Any) -> Any:
        """The same, columns apart from what is changed by name."""
        columns = (*DETAILS, "active", "subscribed_at")
        tags = data.get("tags")
        return {
            "details": {name: data[name] for name in columns if name in data},
            "attributes": data.get("attributes"),
            "tags": None if tags is None else tuple(tags),
            "consent": data.get("consent"),
        }


class EntrySchema(DetailsSchema):
    """A person.  `load` gives an Entry."""

    phone = PhoneNumber(required=True, metadata={"example": "+46701234567"})

    @post_load
    def sort_details(self, data: dict[str, Any], **_: Any) -> Any:
        """The entry."""
        given: dict[str, Any] = super().sort_details(data)
        return SubscriberEntry(phone=data["phone"], **given)


class SubscriberSchema(EntrySchema):
    """A person to make a subscriber of.  `load` gives an Entry."""

    allow_unlisted = StrictBoolean(metadata={"description": _ALLOW_UNLISTED})

    @post_load
    def sort_details(self, data: dict[str, Any], **_: Any) -> Any:
        """The entry, its number one that is in use."""
        if not data.get("allow_unlisted") and not inspect_number(data["phone"]).valid:
            raise ValidationError(UNLISTED, "phone")
        return super().sort_details(data)


class _EntryList(fields.List[Any]):
    """People, looked at one by one later: some may be left out."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ValidationError("Not a list of subscribers.")
        return value


class BulkSchema(Schema):
    """Many people at once."""

    subscribers = _EntryList(
        fields.Nested(EntrySchema),
        required=True,
        validate=validate.Length(1, MAX_BULK),
    )
    on_conflict = fields.Enum(
        OnConflict,
        by_value=True,
        metadata={
            "description": "What becomes of who is there already. merge, when left out: what is "
            "given wins, the rest stays, tags are added; replace: names, language, time zone and "
            "attributes are as given, tags too where given; skip: they stay as they are."
        },
    )
    skip_invalid = StrictBoolean(
        metadata={"description": "Leave out what is refused, instead of doing nothing at all."}
    )
    allow_unlisted = StrictBoolean(metadata={"description": _ALLOW_UNLISTED})


class LookupSchema(Schema):
    """Whom to look for."""

    phone = PhoneNumber(required=True)


class SubscriberQuerySchema(Schema):
    """Which subscribers to list."""

    cursor = Cursor()
    limit = fields.Integer(validate=validate.Range(1, 500), load_default=100)
    tag = TagName(metadata={"description": "Who bears it, confirmed or not yet."})
    text = MessageText(
        validate=validate.Length(1, 100),
        metadata={"description": "Stands in the first or last name, in whatever case."},
    )
    active = fields.Boolean(truthy={"true"}, falsy={"false"})
    attribute = AttributeFilters()
