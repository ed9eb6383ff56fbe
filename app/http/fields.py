"""Marshmallow fields shared by the schemas of all routes."""

import re
from datetime import UTC, datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields

from app.clock import LARGEST_OFFSET_HOURS
from app.phone.characters import remove_invisible
from app.phone.e164 import normalise_number

E164_RULE = "a '+', then 2 to 15 digits, of which the first is 1 to 9"
NUMBER_PATTERN = r"^\+[1-9][0-9]{1,14}$"
_MAX_CURSOR_DIGITS = 18  # fits BIGINT
# Narrower than datetime.fromisoformat, which reads 1712051212345Z as a day of the year 1712.
_TIME = re.compile(
    r"(?P<local>\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?|\d{8}[Tt]\d{6})"
    r" ?(?P<offset>[Zz]|[+-]\d\d(?::?[0-5]\d)?)?",
    re.ASCII,
)
# In a query string a plus means a blank.
_LOST_PLUS = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d[\d:.]* \d\d:?\d\d", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ZONED = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?)[^\[\]]{0,7}?[ \[]*[A-Za-z_]+/[A-Za-z_/]+\]?",
    re.ASCII,
)
_UNIX = re.compile(r"\d{9,13}(?:\.\d{1,9})?", re.ASCII)
_LATEST_SECONDS = 10**11
_EXAMPLE_TIME = "Write it like 2026-12-05T10:00:00+01:00."
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def describe(text: str, **metadata: Any) -> dict[str, Any]:
    """Return the metadata that describes a field in the API document."""
    return {"description": text} | metadata


def required(description: str, **metadata: Any) -> dict[str, Any]:
    """Return the options of a described field that is always there."""
    return {"required": True, "metadata": describe(description, **metadata)}


def nullable(description: str, **metadata: Any) -> dict[str, Any]:
    """Return the options of a described field that is always there, and may be null."""
    return required(description, **metadata) | {"allow_none": True}


def query_boolean(**options: Any) -> fields.Boolean:
    """Make the field of a query parameter that is true or false."""
    return fields.Boolean(truthy={"true"}, falsy={"false"}, **options)


class MessageText(fields.String):
    """A text that Sinch and the database accept; surrounding whitespace is removed.

    A text of invisible characters beyond ASCII alone is empty.
    """

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, *args, **kwargs)).strip()
        reject_untransportable(text)
        return text if text.isascii() or remove_invisible(text).strip() else ""


class PhoneNumber(fields.String):
    """A phone number in E.164; surrounding whitespace is removed."""

    def __init__(self, **kwargs: Any) -> None:
        described = {"pattern": NUMBER_PATTERN} | kwargs.pop("metadata", {})
        super().__init__(metadata=described, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        number = normalise_number(super()._deserialize(value, *args, **kwargs))
        if number is None:
            raise ValidationError(
                f"Not a phone number in E.164 ({E164_RULE}): nothing is ever sent to such an entry."
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

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> datetime:
        parts = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
        if parts is None:
            raise ValidationError(_explain_time(value))
        offset = parts["offset"]
        if offset is None:
            raise ValidationError(f"Has no offset from UTC. {_write_offset(parts['local'])}")
        # datetime reads an offset of up to 24 hours, which no place has.
        if offset not in "Zz" and int(offset[1:3]) > LARGEST_OFFSET_HOURS:
            raise ValidationError(f"No place is {offset} from UTC. {_EXAMPLE_TIME}")
        try:
            return datetime.fromisoformat(f"{parts['local']}{offset}".upper()).astimezone(UTC)
        except OverflowError as e:
            raise ValidationError("Not a time in the years 1 to 9999.") from e
        except ValueError as e:
            raise ValidationError(f"There is no such day or time. {_EXAMPLE_TIME}") from e


def _explain_time(value: Any) -> str:
    """Return why a value is no time, and how to write it."""
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and _DATE.fullmatch(text):
        return f"Has no time and no offset from UTC. {_write_offset(f'{text}T10:00:00')}"
    if isinstance(text, str) and (zoned := _ZONED.fullmatch(text)):
        return f"The name of a zone is not read: give its offset. {_write_offset(zoned['time'])}"
    if isinstance(text, str) and _LOST_PLUS.fullmatch(text):
        return "The + of the offset was read as a blank: write %2B for it in a URL."
    seconds = _read_unix_time(text)
    if seconds is None:
        return f"Not a time that can be read. {_EXAMPLE_TIME}"
    at = datetime.fromtimestamp(seconds, UTC)
    return f"A Unix time is not read. Write {at:%Y-%m-%dT%H:%M:%SZ} for it."


def _write_offset(time: str) -> str:
    time = time.replace(" ", "T")
    return f"Write {time}+01:00 for a zone one hour ahead of UTC, or {time}Z for UTC."


def _read_unix_time(value: Any) -> float | None:
    """Return the seconds of a Unix time in seconds or milliseconds; None for anything else."""
    if isinstance(value, bool) or not _UNIX.fullmatch(str(value)):
        return None
    seconds = float(value)
    return seconds / 1000 if seconds > _LATEST_SECONDS else seconds


class Cursor(fields.String):
    """The cursor of a page: the id of its last row, which a client passes back unread."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        cursor = super()._deserialize(value, *args, **kwargs)
        if not cursor.isascii() or not cursor.isdigit() or len(cursor) > _MAX_CURSOR_DIGITS:
            raise ValidationError("Not a cursor of this list.")
        return int(cursor)


def next_cursor() -> fields.String:
    """Make the field of a page that holds the cursor of the next page."""
    return fields.String(**nullable("The cursor of the next page; null on the last page."))


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
