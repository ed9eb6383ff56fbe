"""What a client may ask for and what it is answered, as JSON."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from app.errors import BadInput
from app.http.fields import MessageText, StrictBoolean, UtcDateTime
from app.phone.e164 import normalise_number, remove_duplicates, sort_entries
from app.sinch.schemas import ReportMode
from app.sms.content.placeholders import (
    DEFAULT,
    MAX_TEXT_CHARACTERS,
    PlaceholderError,
    check_placeholders,
    measure_messages,
    select_used,
)
from app.sms.models.states import Category
from app.sms.request.fields import ParameterTable, PlaceholderFields, RecipientList, check_sender
from app.sms.request.model import BroadcastRequest, TemplateName
from app.subscribers.audiences.schemas import AudienceSchema
from app.subscribers.fields import LanguageTag
from app.text.segments import Encoding, TextSize

# Sinch keeps a batch at most 3 days: https://developers.sinch.com/docs/sms/api-reference/
MAX_LIFE = timedelta(days=3)
# Beyond it there is no time left for an end.
_LATEST = datetime.max.replace(tzinfo=UTC) - 2 * MAX_LIFE
MAX_PARTS = 255
MAX_TOKEN_CHARACTERS = 2_000
MAX_INVALID_SHOWN = 100
MAX_ENTRY_SHOWN = 64

EXAMPLE_RECIPIENTS = ["+15551234567", "+46701234567"]


class TemplateNameSchema(Schema):
    """A stored text.  `load` gives a TemplateName."""

    name = fields.String(required=True, validate=validate.Length(1, 64))
    version = fields.Integer(
        strict=True,
        validate=validate.Range(1, 1_000_000),
        metadata={"description": "The newest when left out; a broadcast keeps the one it began."},
    )

    @post_load
    def make_name(self, data: dict[str, Any], **_: Any) -> TemplateName:
        """The name given."""
        return TemplateName(**data)


class BroadcastRequestSchema(Schema):
    """One text, whoever it goes to.  `load` gives an Order.

    Raises BadInput with `invalid_numbers` when entries are not phone numbers, and marshmallow's
    ValidationError for every other fault.
    """

    message = MessageText(
        validate=validate.Length(1, MAX_TEXT_CHARACTERS),
        metadata={
            "description": "The text, 1 to 2000 characters; `${name}` is filled from parameters. "
            "This or template.",
            "example": "Pickup moved to 08:30",
            "pattern": r"\S",
        },
    )
    template = fields.Nested(
        TemplateNameSchema,
        metadata={"description": "A stored text, in each recipient's language where it has it."},
    )
    language = LanguageTag(
        metadata={
            "description": "Of the message; of a template, for whom it has no text in theirs."
        }
    )
    sender = fields.String(
        validate=check_sender,
        metadata={
            "description": "A number, a short code or a name of at most 11; "
            "SINCH_NUMBER when left out.",
            "maxLength": 16,
            "example": "Acme",
        },
    )
    send_at = UtcDateTime(
        metadata={"description": "Send then instead of now; ISO 8601 with offset, in the future."}
    )
    expire_at = UtcDateTime(
        metadata={
            "description": "Give up then; after the start and at most 3 days after it. "
            "ISO 8601 with offset."
        }
    )
    parameters = ParameterTable(
        metadata={
            "description": "For each `${name}`: values by recipient, and `default` for the rest.",
            "example": {"name": {"+15551234567": "Ann", "default": "friend"}},
        },
    )
    delivery_report = fields.Enum(
        ReportMode, by_value=True, metadata={"description": "Sinch's delivery report mode."}
    )
    reference = MessageText(
        validate=validate.Length(1, 64),
        metadata={"description": "Your own reference, given back in the answer."},
    )
    flash = StrictBoolean(metadata={"description": "Show at once and do not store (class 0)."})
    max_parts = fields.Integer(
        strict=True,
        validate=validate.Range(1, MAX_PARTS),
        metadata={"description": "Refuse when the text takes more parts than this."},
    )
    skip_invalid = StrictBoolean(
        metadata={"description": "Leave invalid numbers out and list them, instead of refusing."}
    )
    category = fields.Enum(
        Category,
        by_value=True,
        metadata={"description": "What it is for; transactional when left out."},
    )
    priority = fields.Integer(
        strict=True,
        validate=validate.Range(1, 9),
        metadata={
            "description": "1 to 9, higher first. When left out: 7 for a transactional broadcast "
            "of up to 1,000 recipients, 5 for a larger one, 3 for marketing."
        },
    )
    allow_duplicate = StrictBoolean(
        metadata={
            "description": "Send although the same text has just gone to mostly the same people."
        }
    )

    quote = fields.String(
        validate=validate.Length(1, MAX_TOKEN_CHARACTERS),
        metadata={
            "description": "The token of a quote: refused with 409 when audience, text or cost "
            "moved since, beyond quote_tolerance."
        },
    )
    quote_tolerance = fields.Integer(
        strict=True,
        validate=validate.Range(0, 100),
        metadata={
            "description": "By how many per cent recipients and cost may differ from the quote; "
            "0 when left out."
        },
    )

    @validates_schema
    def check_text(self, data: dict[str, Any], **_: Any) -> None:
        """Raise ValidationError unless it says what to send, and once."""
        if "message" in data and "template" in data:
            raise ValidationError("Give either this or message.", "template")
        if "message" not in data and "template" not in data:
            raise ValidationError("Missing data for required field.", "message")

    @post_load
    def make_order(self, data: dict[str, Any], **_: Any) -> BroadcastRequest:
        """The order given."""
        if "recipients" not in data:
            return _make_audience_order(data)
        if "fields_" in data:
            raise ValidationError("Only for an audience: give parameters.", "fields")
        entries = sort_entries(data["recipients"])
        if entries.invalid and not (data.get("skip_invalid") and entries.numbers):
            raise _refuse_numbers(entries.invalid)
        recipients = remove_duplicates(entries.numbers)
        given = _normalise_parameters(data.get("parameters", {}), recipients, entries.invalid)
        common = {name: data[name] for name in _PLAIN_FIELDS if name in data} | {
            "recipients": recipients,
            "duplicates_removed": len(entries.numbers) - len(recipients),
            "invalid": entries.invalid,
        }
        if "template" in data:
            return BroadcastRequest(text="", size=_UNMEASURED, parameters=given, **common)
        try:
            check_placeholders(data["message"], given, recipients)
            parameters = select_used(data["message"], given)
            size = measure_messages(data["message"], parameters, recipients)
        except PlaceholderError as e:
            raise ValidationError(f"{e}.", "message") from e
        if size.parts > data.get("max_parts", MAX_PARTS):
            raise ValidationError(f"The text takes {size.parts} parts.", "max_parts")
        return BroadcastRequest(text=data["message"], size=size, parameters=parameters, **common)


class BroadcastSchema(BroadcastRequestSchema):
    """One text to a list of numbers, or to people by what is known of them."""

    recipients = RecipientList(
        metadata={
            "description": "Phone numbers in E.164: `+`, first digit 1-9, 2 to 15 digits. This or "
            "audience.",
            "example": EXAMPLE_RECIPIENTS,
        },
    )
    audience = fields.Nested(
        AudienceSchema,
        metadata={"description": "Subscribers by tags and fields, looked up when the send starts."},
    )
    fields_ = PlaceholderFields(data_key="fields")

    @validates_schema
    def check_recipients(self, data: dict[str, Any], **_: Any) -> None:
        """Raise ValidationError unless it says whom it goes to, and once."""
        if "recipients" in data and "audience" in data:
            raise ValidationError("Give either this or recipients.", "audience")
        if "recipients" not in data and "audience" not in data:
            raise ValidationError("Missing data for required field.", "recipients")


class TagBroadcastSchema(BroadcastRequestSchema):
    """One text to all who bear a tag."""

    fields_ = PlaceholderFields(data_key="fields")


def _make_audience_order(data: dict[str, Any]) -> BroadcastRequest:
    """The order for people who are looked up later; its size is taken once they are known."""
    given = _normalise_parameters(data.get("parameters", {}), [], [])
    return BroadcastRequest(
        recipients=(),
        audience=data.get("audience"),
        fields=data.get("fields_", {}),
        text=data.get("message", ""),
        size=_UNMEASURED,
        parameters=given,
        **{name: data[name] for name in _PLAIN_FIELDS if name in data},
    )


_UNMEASURED = TextSize(Encoding.GSM_7, 1)


def check_times(request: BroadcastRequest, now: datetime) -> None:
    """Raise BadInput for a start in the past, or an end outside of the 3 days after the start.

    Apart from the schema: a request that is repeated, to get its answer, may name a time that has
    passed since.
    """
    send_at, expire_at = request.send_at, request.expire_at
    if send_at is not None and send_at <= now:
        raise _refuse_time("send_at", "Not in the future")
    start = send_at or now
    if start > _LATEST:
        raise _refuse_time("send_at", "Too far in the future")
    if expire_at is not None and expire_at <= start:
        raise _refuse_time("expire_at", "Not after the start")
    if expire_at is not None and expire_at - start > MAX_LIFE:
        raise _refuse_time("expire_at", "More than 3 days after the start")


def _refuse_time(field: str, reason: str) -> BadInput:
    return BadInput(f"{field}: {reason}", fields={field: [f"{reason}."]})


_PLAIN_FIELDS = (
    "template",
    "language",
    "quote",
    "quote_tolerance",
    "sender",
    "send_at",
    "expire_at",
    "delivery_report",
    "reference",
    "flash",
    "max_parts",
    "category",
    "priority",
    "allow_duplicate",
)


def _normalise_parameters(
    parameters: dict[str, dict[str, str]], recipients: list[str], invalid: list[object]
) -> dict[str, dict[str, str]]:
    """Parameters with their keys in E.164.  Raises ValidationError for a key that is nobody."""
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
    """The facts on invalid entries: the first 100, cut to 64 characters, and how many."""
    shown = [
        entry[:MAX_ENTRY_SHOWN] if isinstance(entry, str) else _show_oddity(entry)
        for entry in invalid[:MAX_INVALID_SHOWN]
    ]
    return {"invalid_numbers": shown, "invalid_count": len(invalid)}


def _show_oddity(entry: object) -> object:
    """A scalar as it came; of anything larger, its beginning."""
    plain = entry is None or isinstance(entry, (bool, float))
    small = isinstance(entry, int) and abs(entry) < 10**18
    return entry if plain or small else str(entry)[:MAX_ENTRY_SHOWN]


def _refuse_numbers(invalid: list[object]) -> BadInput:
    facts = show_invalid(invalid)
    many = "1 entry is" if len(invalid) == 1 else f"{len(invalid)} entries are"
    return BadInput(
        f"recipients: {many} not a phone number in E.164 (a '+' and 2 to 15 digits)",
        fields={"recipients": ["Holds entries that are not phone numbers in E.164."]},
        **facts,
    )
