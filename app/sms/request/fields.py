"""Marshmallow fields of a broadcast request: recipients, parameters, placeholder fields."""

import re
from typing import Any

from marshmallow import ValidationError, fields, validate

from app.http.fields import NUMBER_PATTERN, is_unicode
from app.phone.e164 import is_sender
from app.sms.content.placeholders import MAX_PLACEHOLDERS, MAX_VALUE_CHARACTERS, PARAMETER_NAME
from app.sms.request.model import MAX_RECIPIENTS

MAX_SHOWN = 64
FIELD_NAME = re.compile(r"^(first_name|last_name|language|attributes\.[A-Za-z0-9_.-]{1,32})$")


class RecipientList(fields.List[Any]):
    """A list of 1 to 1,000,000 entries, which the schema validates all at once."""

    def __init__(self, **kwargs: Any) -> None:
        number = fields.String(metadata={"pattern": NUMBER_PATTERN})
        super().__init__(number, validate=validate.Length(1, MAX_RECIPIENTS), **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ValidationError("Not a list of phone numbers: put them in [ ].")
        return value


class ParameterTable(fields.Dict):
    """`{name: {recipient or "default": value}}`; the error has the first error of each name.

    Nested fields would take 10 microseconds a value.
    """

    def __init__(self, **kwargs: Any) -> None:
        value = fields.String(validate=validate.Length(max=MAX_VALUE_CHARACTERS))
        values = fields.Dict(keys=fields.String(), values=value)
        name = fields.String(metadata={"pattern": "^[A-Za-z0-9._-]{1,16}$"})
        super().__init__(keys=name, values=values, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, dict[str, str]]:
        if not isinstance(value, dict):
            raise ValidationError("Not an object of names.")
        if len(value) > MAX_PLACEHOLDERS:
            raise ValidationError(f"More than {MAX_PLACEHOLDERS} names.")
        errors = {name: _find_error(name, values) for name, values in value.items()}
        shown = {_shorten(name): [error] for name, error in errors.items() if error}
        if shown:
            raise ValidationError(shown)
        return value


class PlaceholderFields(fields.Dict):
    """`{placeholder: field of a subscriber}`."""

    def __init__(self, **kwargs: Any) -> None:
        described = {
            "description": "The subscriber field that fills a placeholder: first_name, last_name, "
            "language, or attributes.<name>. Default: the field of the same name.",
            "example": {"name": "first_name"},
        }
        name = fields.String(metadata={"pattern": "^[A-Za-z0-9._-]{1,16}$"})
        value = fields.String(metadata={"pattern": FIELD_NAME.pattern})
        super().__init__(keys=name, values=value, metadata=described, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            raise ValidationError("Not an object of placeholders.")
        if len(value) > MAX_PLACEHOLDERS:
            raise ValidationError(f"More than {MAX_PLACEHOLDERS} placeholders.")
        errors = {
            _shorten(name): ["Not first_name, last_name, language or attributes.<name>."]
            for name, field in value.items()
            if not PARAMETER_NAME.fullmatch(name)
            or not isinstance(field, str)
            or not FIELD_NAME.fullmatch(field)
        }
        if errors:
            raise ValidationError(errors)
        return value


def _find_error(name: str, values: Any) -> str | None:
    if not PARAMETER_NAME.fullmatch(name):
        return "Not 1 to 16 letters, digits, '.', '-' or '_'."
    if not isinstance(values, dict):
        return "Not an object of values by recipient."
    if len(values) > MAX_RECIPIENTS + 1:
        return "More values than recipients."
    for recipient, value in values.items():
        if not isinstance(value, str):
            return f"The value of {_shorten(recipient)} is not text."
        if len(value) > MAX_VALUE_CHARACTERS:
            return (
                f"The value of {_shorten(recipient)} is longer than "
                f"{MAX_VALUE_CHARACTERS} characters."
            )
        if "\0" in value or not is_unicode(value):
            return f"The value of {_shorten(recipient)} contains a NUL or half a character."
    return None


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def check_sender(value: str) -> None:
    """Raise ValidationError unless the value is a number, a short code or a sender name."""
    if not is_sender(value):
        raise ValidationError(
            "Not a number like +12015550100, a short code of 3 to 8 digits, "
            "or a name of at most 11 letters and digits."
        )
