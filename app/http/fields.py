"""Marshmallow fields shared by the schemas of all routes."""

import re
from datetime import UTC, datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields

from app.phone.e164 import normalise_number

NUMBER_PATTERN = r"^\+[1-9][0-9]{1,14}$"
_MAX_CURSOR_DIGITS = 18  # fits BIGINT
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def describe(text: str) -> dict[str, str]:
    """Return the metadata that describes a field in the API document."""
    return {"description": text}


class MessageText(fields.String):
    """A text that Sinch and the database accept; surrounding whitespace is removed."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, *args, **kwargs)).strip()
        reject_untransportable(text)
        return text


class PhoneNumber(fields.String):
    """A phone number in E.164; surrounding whitespace is removed."""

    def __init__(self, **kwargs: Any) -> None:
        described = {"pattern": NUMBER_PATTERN} | kwargs.pop("metadata", {})
        super().__init__(metadata=described, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        number = normalise_number(super()._deserialize(value, *args, **kwargs))
        if number is None:
            raise ValidationError(
                "Not a phone number in E.164 (a '+' and 2 to 15 digits): nothing is ever sent to "
                "such an entry."
            )
        return number


class StrictBoolean(fields.Boolean):
    """A JSON boolean; strings and numbers are rejected."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("Not true or false.")
        return value


class UtcDateTime(fields.AwareDateTime):
    """An ISO 8601 time with offset, converted to aware UTC."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        parsed = super()._deserialize(value, *args, **kwargs)
        try:
            return parsed.astimezone(UTC)
        except OverflowError as e:
            raise ValidationError("Not a time in the years 1 to 9999.") from e


class Cursor(fields.String):
    """The cursor of a page: the id of its last row, which a client passes back unread."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        cursor = super()._deserialize(value, *args, **kwargs)
        if not cursor.isascii() or not cursor.isdigit() or len(cursor) > _MAX_CURSOR_DIGITS:
            raise ValidationError("Not a cursor of this list.")
        return int(cursor)


def next_cursor() -> fields.String:
    """Make the field of a page that holds the cursor of the next page."""
    return fields.String(
        required=True,
        allow_none=True,
        metadata=describe("The cursor of the next page; null on the last page."),
    )


def is_unicode(text: str) -> bool:
    """Return False if the text holds a lone surrogate, which UTF-8 cannot encode."""
    return _LONE_SURROGATE.search(text) is None


def reject_untransportable(text: str) -> None:
    """Raise ValidationError if the text holds NUL or a lone surrogate."""
    if "\0" in text:
        raise ValidationError("Holds a NUL character.")
    if not is_unicode(text):
        raise ValidationError("Holds half a character (a lone surrogate).")


class NumberSchema(Schema):
    """A phone number in a request body; it never appears in a URL."""

    phone = PhoneNumber(required=True)
