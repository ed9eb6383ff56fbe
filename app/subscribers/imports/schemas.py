"""What is said of a file to import, and what is answered about an import."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate
from sqlalchemy import Row

from app.errors import ErrorSchema
from app.http.fields import Cursor, MessageText, StrictBoolean, UtcDateTime, reject_untransportable
from app.phone.e164 import is_country
from app.subscribers.attributes import ATTRIBUTE, ATTRIBUTE_NAME
from app.subscribers.fields import TagList
from app.subscribers.imports.models import (
    ImportConsent,
    ImportOptions,
    ImportStatus,
    Mode,
    Purpose,
    ValueType,
)
from app.subscribers.lists.cells import MAX_SOURCE_CHARACTERS, MAX_WORDING_CHARACTERS
from app.subscribers.lists.columns import FIELDS

_MAX_TITLE = 200
_MAX_COLUMNS = 200
_ENCODINGS = ("utf-8", "windows-1252")
# What counts as done in a pass that only checks is not done yet.
_WROTE_NOTHING = (ImportStatus.CHECKING, ImportStatus.REFUSED)
_OUTCOMES = ("created", "updated", "unchanged", "merged")


class ColumnTable(fields.Dict):
    """`{field: title}`, for fields whose column is not found by itself."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(keys=fields.String(), values=fields.String(), **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, str]:
        if not isinstance(value, Mapping):
            raise ValidationError("Not an object of fields.")
        if len(value) > _MAX_COLUMNS:
            raise ValidationError(f"More than {_MAX_COLUMNS} columns.")
        faults = {str(field)[:64]: _find_fault(field, header) for field, header in value.items()}
        faulty = {field: [fault] for field, fault in faults.items() if fault}
        if faulty:
            raise ValidationError(faulty)
        return dict(value)


def _find_fault(field: str, header: Any) -> str | None:
    attribute = field.startswith(ATTRIBUTE) and ATTRIBUTE_NAME.fullmatch(
        field.removeprefix(ATTRIBUTE)
    )
    if field not in FIELDS and not attribute:
        return f"Not a field: one of {', '.join(FIELDS)}, or {ATTRIBUTE}NAME."
    if not isinstance(header, str) or not 1 <= len(header.strip()) <= _MAX_TITLE:
        return f"Not a title of 1 to {_MAX_TITLE} characters."
    try:
        reject_untransportable(header)
    except ValidationError as e:
        return str(e.messages[0])
    return None


class ConsentForAllSchema(Schema):
    """The consent that all people of a file gave, where no column has their own."""

    wording = MessageText(
        required=True,
        validate=validate.Length(1, MAX_WORDING_CHARACTERS),
        metadata={"example": "Yes, text me offers.", "pattern": r"\S"},
    )
    source = MessageText(
        required=True,
        validate=validate.Length(1, MAX_SOURCE_CHARACTERS),
        metadata={"example": "https://shop.example/signup", "pattern": r"\S"},
    )
    at = UtcDateTime(
        required=True,
        metadata={"example": "2026-03-01T08:30:00Z", "description": "ISO 8601 with offset."},
    )

    @post_load
    def make_consent(self, data: dict[str, Any], **_: Any) -> ImportConsent:
        """The consent given."""
        return ImportConsent(data["at"], data["source"], data["wording"])


class ImportSchema(Schema):
    """How a file is to be imported; all of it may be left out, the body too."""

    body_required = False
    mode = fields.Enum(
        Mode,
        by_value=True,
        metadata={"description": "With bad rows, take the others (when left out), or nothing."},
    )
    purpose = fields.Enum(
        Purpose,
        by_value=True,
        metadata={
            "description": "What its people are written to for; transactional when left out. For "
            "marketing each row needs a consent."
        },
    )
    columns = ColumnTable(
        metadata={
            "description": "The titles of fields whose column is not found by itself: "
            f"{', '.join(FIELDS)}, or attributes.NAME.",
            "example": {"phone": "Mobil", "attributes.city": "Ort"},
        }
    )
    ignore = fields.List(
        MessageText(validate=validate.Length(1, _MAX_TITLE)),
        validate=validate.Length(max=_MAX_COLUMNS),
        metadata={"description": "Titles of columns to leave out.", "example": ["Notes"]},
    )
    tags = TagList(metadata={"description": "Tags for everybody in the file."})
    country = fields.String(
        metadata={
            "description": "Whose national numbers the file has; DEFAULT_COUNTRY when left out.",
            "example": "SE",
            "pattern": "^[A-Z]{2}$",
        }
    )
    without_plus = StrictBoolean(
        metadata={"description": "Take numbers without + or 00 as international ones."}
    )
    check_numbers = StrictBoolean(
        metadata={
            "description": "Refuse numbers that are like none in use, by libphonenumber; true when "
            "left out."
        }
    )
    encoding = fields.String(
        validate=validate.OneOf(_ENCODINGS),
        metadata={"description": "What a file without a byte order mark is in; utf-8."},
    )
    consent = fields.Nested(ConsentForAllSchema)
    types = fields.Dict(
        keys=fields.String(validate=validate.Regexp(ATTRIBUTE_NAME.pattern + r"\Z")),
        values=fields.Enum(ValueType, by_value=True),
        validate=validate.Length(max=_MAX_COLUMNS),
        metadata={
            "description": "What the values of attributes are; text when left out.",
            "example": {"visits": "number"},
            "additionalProperties": {"type": "string", "enum": [each.value for each in ValueType]},
        },
    )

    @post_load
    def make_options(self, data: dict[str, Any], **_: Any) -> ImportOptions:
        """The options given."""
        country = data.get("country")
        if country is not None and not is_country(country):
            raise ValidationError("Not a country such as SE.", "country")
        listed = {name: tuple(data[name]) for name in ("ignore", "tags") if name in data}
        made: dict[str, Any] = data | listed
        return ImportOptions(**made)


class ImportQuerySchema(Schema):
    """Which imports to list."""

    cursor = Cursor()
    limit = fields.Integer(validate=validate.Range(1, 200), load_default=50)


class ImportViewSchema(Schema):
    """An import as it stands: rows = created + updated + unchanged + merged + refused, of what has
    been written."""

    import_id = fields.String(required=True)
    status = fields.Enum(ImportStatus, by_value=True, required=True)
    mode = fields.Enum(Mode, by_value=True, required=True)
    purpose = fields.Enum(Purpose, by_value=True, required=True)
    client = fields.String(required=True)
    created_at = fields.AwareDateTime(required=True)
    completed_at = fields.AwareDateTime(required=True, allow_none=True)
    columns = fields.Dict(
        keys=fields.String(),
        values=fields.String(allow_none=True),
        required=True,
        metadata={"description": "What each column is taken for; null for nothing."},
    )
    bytes = fields.Integer(required=True)
    lines = fields.Integer(required=True, metadata={"description": "Of the file."})
    lines_done = fields.Integer(
        required=True, metadata={"description": "Of the present pass through the file."}
    )
    seconds_left = fields.Integer(
        required=True, allow_none=True, metadata={"description": "Of the present pass, about."}
    )
    rows = fields.Integer(required=True)
    created = fields.Integer(required=True)
    updated = fields.Integer(required=True)
    unchanged = fields.Integer(required=True)
    merged = fields.Integer(
        required=True,
        metadata={"description": "Rows of a number that an earlier row had created or changed."},
    )
    refused = fields.Integer(required=True)
    error = fields.String(required=True, allow_none=True)
    url = fields.String(required=True)


class ImportPageSchema(Schema):
    """Imports, the newest first."""

    imports = fields.List(fields.Nested(ImportViewSchema), required=True)
    cursor = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Continues behind them; null at the end."},
    )


class ImportConflictSchema(ErrorSchema):
    """The error when an import does not stand where this may be done."""

    status = fields.Enum(ImportStatus, by_value=True)


def show_import(row: Row[Any], now: datetime) -> dict[str, Any]:
    """An import as it is answered."""
    column_mapping = row.column_mapping or {"headers": [], "fields": []}
    written = row.status not in _WROTE_NOTHING
    return {
        "import_id": row.public_id,
        "status": row.status,
        "mode": Mode(row.options["mode"]),
        "purpose": Purpose(row.options["purpose"]),
        "client": row.client,
        "created_at": row.created_at,
        "completed_at": row.completed_at,
        "columns": dict(zip(column_mapping["headers"], column_mapping["fields"], strict=True)),
        "bytes": row.bytes,
        "lines": row.lines,
        "lines_done": row.lines_done,
        "seconds_left": estimate_seconds(row, now),
        "rows": row.rows,
        **{name: getattr(row, name) if written else 0 for name in _OUTCOMES},
        "refused": row.refused,
        "error": row.error,
        "url": f"/api/subscribers/imports/{row.public_id}",
    }


def estimate_seconds(row: Row[Any], now: datetime) -> int | None:
    """What the present pass still takes at its pace so far; None while nobody can tell."""
    if row.completed_at or row.phase_at is None or not row.rows:
        return None
    taken_s = (now - row.phase_at).total_seconds()
    left_s: float = taken_s * (row.lines - row.lines_done) / row.lines_done
    return round(left_s)
