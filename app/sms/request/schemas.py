"""Schemas of broadcast requests, and their fields."""

import re
from collections.abc import Sequence
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from app.errors import BadInput
from app.http.body import JsonBounds
from app.http.fields import (
    E164_RULE,
    NUMBER_PATTERN,
    MessageText,
    StrictBoolean,
    UtcDateTime,
    describe,
    is_unicode,
    required,
)
from app.phone.e164 import is_sender, normalise_number, remove_duplicates, sort_entries
from app.sinch.schemas import ReportMode
from app.sms.content.placeholders import (
    DEFAULT,
    MAX_PLACEHOLDERS,
    MAX_TEXT_CHARACTERS,
    MAX_VALUE_CHARACTERS,
    PARAMETER_NAME,
)
from app.sms.models.states import Category
from app.sms.request.hints import list_hints
from app.sms.request.model import (
    MAX_AHEAD_DAYS,
    MAX_RECIPIENTS,
    BroadcastRequest,
    CanaryRules,
    TemplateName,
)
from app.subscribers.audiences.schemas import AudienceSchema
from app.subscribers.fields import LanguageTag

MAX_PARTS = 255
MAX_TOKEN_CHARACTERS = 2_000
MAX_INVALID_SHOWN = 100
MAX_ENTRY_SHOWN = 64

EXAMPLE_RECIPIENTS = ["+15551234567", "+46701234567"]
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
    return text if len(text) <= MAX_ENTRY_SHOWN else text[: MAX_ENTRY_SHOWN - 1] + "…"


def check_sender(value: str) -> None:
    """Raise ValidationError unless the value is a number, a short code or a sender name."""
    if not is_sender(value):
        raise ValidationError(
            "Not a number like +12015550100, a short code of 3 to 8 digits, "
            "or a name of at most 11 letters and digits."
        )


class TemplateNameSchema(Schema):
    """A template and its version.  Loads a TemplateName."""

    name = fields.String(required=True, validate=validate.Length(1, 64))
    version = fields.Integer(
        strict=True,
        validate=validate.Range(1, 1_000_000),
        metadata=describe("Default: the newest. The broadcast keeps this version."),
    )

    @post_load
    def make_name(self, data: dict[str, Any], **_: Any) -> TemplateName:
        """Return the TemplateName."""
        return TemplateName(**data)


class CanarySchema(Schema):
    """A first part of a broadcast, by whose outcome the rest is sent or not."""

    recipients = fields.Integer(
        **required("The text goes to this many recipients first."),
        strict=True,
        validate=validate.Range(1, 100_000),
    )
    wait_minutes = fields.Integer(
        strict=True,
        validate=validate.Range(1, 1440),
        metadata=describe("The rest waits this long at most for their reports.  Default: 30."),
    )
    max_failed_percent = fields.Float(
        validate=validate.Range(0, 100),
        metadata=describe("If more of them are not reached, the rest is paused.  Default: 5."),
    )
    max_opt_out_percent = fields.Float(
        validate=validate.Range(0, 100),
        metadata=describe("If more of them opt out, the rest is paused.  Default: 2."),
    )

    @post_load
    def make_rules(self, data: dict[str, Any], **_: Any) -> CanaryRules:
        """Return the CanaryRules."""
        return CanaryRules(**data)


class BroadcastRequestSchema(Schema):
    """A broadcast request without recipients.  Loads a BroadcastRequest.

    Loading raises BadInput with `invalid_numbers` if recipients are not phone numbers, and
    ValidationError for any other error.
    """

    # A million recipients with a value each; filters of an audience.
    json_bounds = JsonBounds(max_bytes=2**40, max_containers=5_000, max_items=2_100_000)
    message = MessageText(
        validate=validate.Length(1, MAX_TEXT_CHARACTERS),
        metadata={
            "description": "The text, 1 to 2000 characters. `${name}` is filled in from "
            "parameters. Give either message or template.",
            "example": "Pickup moved to 08:30",
            "pattern": r"\S",
        },
    )
    template = fields.Nested(
        TemplateNameSchema,
        metadata=describe("A stored text, sent to each recipient in their language if it has it."),
    )
    language = LanguageTag(
        metadata=describe(
            "The language of the message; with a template, the language for recipients whose own "
            "it does not have."
        )
    )
    sender = fields.String(
        validate=check_sender,
        metadata={
            "description": "A number, a short code or a name of at most 11 characters. Default: "
            "SINCH_NUMBER.",
            "maxLength": 16,
            "example": "Acme",
        },
    )
    send_at = UtcDateTime(
        metadata=describe(
            f"Start at this time, at most {MAX_AHEAD_DAYS} days ahead. ISO 8601 with offset. "
            "Default: now."
        )
    )
    expire_at = UtcDateTime(
        metadata=describe(
            "Stop trying at this time, at most 3 days after the start. ISO 8601 with offset."
        )
    )
    parameters = ParameterTable(
        metadata={
            "description": "For each `${name}`: the value by recipient, and `default` for the "
            "others.",
            "example": {"name": {"+15551234567": "Ann", "default": "friend"}},
        },
    )
    delivery_report = fields.Enum(
        ReportMode, by_value=True, metadata=describe("Sinch's delivery report mode.")
    )
    reference = MessageText(
        validate=validate.Length(1, 64),
        metadata=describe("Your own reference; it is returned with the broadcast."),
    )
    flash = StrictBoolean(
        metadata=describe("Send as flash SMS (class 0): shown at once, not stored.")
    )
    max_parts = fields.Integer(
        strict=True,
        validate=validate.Range(1, MAX_PARTS),
        metadata=describe(
            "Reject the request if the text takes more parts than this. Default: no limit; the "
            "answer warns of more than 5 parts."
        ),
    )
    canary = fields.Nested(
        CanarySchema,
        metadata=describe("Send to a first part, and look at its outcome before the rest is sent."),
    )
    skip_invalid = StrictBoolean(
        metadata=describe("Skip invalid numbers and list them, instead of rejecting the request.")
    )
    category = fields.Enum(
        Category,
        by_value=True,
        metadata=describe("The purpose of the text. Default: transactional."),
    )
    priority = fields.Integer(
        strict=True,
        validate=validate.Range(1, 9),
        metadata=describe(
            "1 to 9; higher is sent first. Default: 7 for a transactional broadcast of up to "
            "1,000 recipients, 5 for a larger one, 3 for marketing."
        ),
    )
    allow_duplicate = StrictBoolean(
        metadata=describe("Send even if the same text was just sent to mostly the same recipients.")
    )

    quote = fields.String(
        validate=validate.Length(1, MAX_TOKEN_CHARACTERS),
        metadata=describe(
            "The token of a quote. Rejected with 409 if text, recipients or cost have changed "
            "since by more than quote_tolerance."
        ),
    )
    quote_tolerance = fields.Integer(
        strict=True,
        validate=validate.Range(0, 100),
        metadata=describe(
            "Per cent by which recipients and cost may differ from the quote. Default: 0."
        ),
    )

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def check_text(self, _: Any, given: Any, **__: Any) -> None:
        """Raise ValidationError unless exactly one of message and template is given."""
        if "message" in given and "template" in given:
            raise ValidationError("Give either template or message.", "template")
        if "message" not in given and "template" not in given:
            raise ValidationError("Missing: give the text here, or a template.", "message")

    @post_load
    def make_request(self, data: dict[str, Any], **_: Any) -> BroadcastRequest:
        """Return the BroadcastRequest."""
        skip_invalid = data.pop("skip_invalid", False)
        given = data.pop("recipients", [])
        entries = sort_entries(given)
        if entries.invalid and not (skip_invalid and entries.numbers):
            raise _reject_numbers(given, entries.invalid)
        recipients = remove_duplicates(entries.numbers)
        parameters = _normalise_parameters(data.pop("parameters", {}), recipients, entries.invalid)
        return BroadcastRequest(
            recipients=recipients,
            text=data.pop("message", ""),
            fields=data.pop("fields_", {}),
            parameters=parameters,
            duplicates_removed=len(entries.numbers) - len(recipients),
            invalid=entries.invalid,
            **data,
        )


class BroadcastSchema(BroadcastRequestSchema):
    """A broadcast request to a list of numbers or to an audience."""

    recipients = RecipientList(
        metadata={
            "description": "Phone numbers in E.164: `+`, first digit 1-9, 2 to 15 digits. Give "
            "either recipients or audience.",
            "example": EXAMPLE_RECIPIENTS,
        },
    )
    audience = fields.Nested(
        AudienceSchema,
        metadata=describe("Subscribers by tags and fields, looked up when the broadcast starts."),
    )
    fields_ = PlaceholderFields(data_key="fields")

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def check_recipients(self, _: Any, given: Any, **__: Any) -> None:
        """Raise ValidationError unless exactly one of recipients and audience is given."""
        if "recipients" in given and "audience" in given:
            raise ValidationError("Give either audience or recipients.", "audience")
        if "recipients" not in given and "audience" not in given:
            raise ValidationError("Missing: give phone numbers here, or an audience.", "recipients")
        if "recipients" in given and "fields" in given:
            raise ValidationError("Only for an audience; give parameters instead.", "fields")


class TagBroadcastSchema(BroadcastRequestSchema):
    """A broadcast request to the subscribers with a tag."""

    fields_ = PlaceholderFields(data_key="fields")


def _normalise_parameters(
    parameters: dict[str, dict[str, str]], recipients: list[str], invalid: list[object]
) -> dict[str, dict[str, str]]:
    """Convert the keys to E.164.  Raises ValidationError for a key that is no recipient."""
    if not parameters:
        return {}
    known = {*recipients, DEFAULT}
    skipped = {entry for entry in invalid if isinstance(entry, str)}
    return {
        name: _normalise_values(name, values, known=known, skipped=skipped)
        for name, values in parameters.items()
    }


def _normalise_values(
    name: str, values: dict[str, str], *, known: set[str], skipped: set[str]
) -> dict[str, str]:
    if values.keys() <= known:
        return values  # nearly always, at a tenth of the cost
    normalised: dict[str, str] = {}
    for key, value in values.items():
        number = DEFAULT if key == DEFAULT else normalise_number(key)
        if number in normalised:
            reason = "has two values"
        elif number in known:
            normalised[number] = value
            continue
        elif key in skipped:
            continue
        else:
            reason = "is neither a recipient nor 'default'"
        raise ValidationError({name: [f"{key[:MAX_ENTRY_SHOWN]} {reason}."]}, "parameters")
    return normalised


def show_invalid(invalid: Sequence[object]) -> dict[str, Any]:
    """Return the first 100 invalid entries, cut to 64 characters, and their count."""
    shown = [
        entry[:MAX_ENTRY_SHOWN] if isinstance(entry, str) else _show_scalar(entry)
        for entry in invalid[:MAX_INVALID_SHOWN]
    ]
    return {"invalid_numbers": shown, "invalid_count": len(invalid)}


def _show_scalar(entry: object) -> object:
    """Return a small scalar unchanged, and of anything else the beginning as text."""
    plain = entry is None or isinstance(entry, (bool, float))
    small = isinstance(entry, int) and abs(entry) < 10**18
    return entry if plain or small else str(entry)[:MAX_ENTRY_SHOWN]


def _reject_numbers(given: list[object], invalid: list[object]) -> BadInput:
    facts = show_invalid(invalid)
    many = "1 entry is" if len(invalid) == 1 else f"{len(invalid)} entries are"
    return BadInput(
        f"recipients: {many} not a phone number in E.164 ({E164_RULE})",
        fields={"recipients": ["Holds entries that are not phone numbers in E.164."]},
        **facts,
        invalid_hints=list_hints(given, invalid),
    )
