"""Fields of a request: what each takes, and what it refuses in which words."""

from datetime import UTC, datetime
from typing import Any

from marshmallow import ValidationError, fields, validate

from app.phone import is_sender
from app.sms.planning import MAX_RECIPIENTS, PARAMETER_NAME

MAX_VALUE_CHARACTERS = 160


class RecipientList(fields.List[Any]):
    """A list of 1 to 10,000 entries, looked at all at once later instead of one by one."""

    def __init__(self, **kwargs: Any) -> None:
        number = fields.String(metadata={"pattern": r"^\+[1-9][0-9]{1,14}$"})
        super().__init__(number, validate=validate.Length(1, MAX_RECIPIENTS), **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ValidationError("Not a list of phone numbers.")
        return value


class MessageText(fields.String):
    """A text that Sinch and a database can take, the blanks around it removed."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, *args, **kwargs)).strip()
        refuse_untransportable(text)
        return text


class StrictBoolean(fields.Boolean):
    """true or false, nothing that merely looks like it."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("Not true or false.")
        return value


class Moment(fields.AwareDateTime):
    """An ISO 8601 time with its offset, as aware UTC."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        moment = super()._deserialize(value, *args, **kwargs)
        try:
            return moment.astimezone(UTC)
        except OverflowError as e:
            raise ValidationError("Not a time in the years 1 to 9999.") from e


def refuse_untransportable(text: str) -> None:
    """Raise ValidationError for what cannot travel: NUL and halves of characters."""
    if "\0" in text:
        raise ValidationError("Holds a NUL character.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as e:
        raise ValidationError("Holds half a character (a lone surrogate).") from e


def check_sender(value: str) -> None:
    """Raise ValidationError for what cannot stand as the sender."""
    if not is_sender(value):
        raise ValidationError(
            "Not a number like +12015550100, a short code of 3 to 8 digits, "
            "or a name of at most 11 letters and digits."
        )


def check_value(value: str) -> None:
    """Raise ValidationError for what cannot fill a placeholder."""
    refuse_untransportable(value)
    if len(value) > MAX_VALUE_CHARACTERS:
        raise ValidationError(f"Longer than {MAX_VALUE_CHARACTERS} characters.")


def check_parameter_name(name: str) -> None:
    """Raise ValidationError for what cannot stand between `${` and `}`."""
    if not PARAMETER_NAME.fullmatch(name):
        raise ValidationError("Not 1 to 16 letters, digits, '.', '-' or '_'.")
