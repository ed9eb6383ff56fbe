"""Schemas of imports: options, query parameters and responses."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate
from sqlalchemy import Row

from app.errors import ErrorSchema
from app.http.fields import (
    Cursor,
    MessageText,
    StrictBoolean,
    UtcDateTime,
    next_cursor,
    reject_untransportable,
)
from app.subscribers.attributes import ATTRIBUTE, ATTRIBUTE_NAME
from app.subscribers.fields import CountryCode, TagList
from app.subscribers.imports.models import (
    ImportOptions,
    ImportStatus,
    Mode,
    Purpose,
    ValueType,
)
from app.subscribers.lists.columns import FIELDS
from app.subscribers.profiles.schemas import ConsentSchema

_MAX_HEADER = 200
_MAX_COLUMNS = 200
_ENCODINGS = ("utf-8", "windows-1252")
# What counts as done in a pass that only checks is not done yet.
_WROTE_NOTHING = (ImportStatus.CHECKING, ImportStatus.REFUSED)
_OUTCOMES = ("created", "updated", "unchanged", "merged")


class ColumnTable(fields.Dict):
    """Headers by field, for columns that are not recognized by themselves."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(keys=fields.String(), values=fields.String(), **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, str]:
        if not isinstance(value, Mapping):
            raise ValidationError("Not an object of fields.")
        if len(value) > _MAX_COLUMNS:
            raise ValidationError(f"More than {_MAX_COLUMNS} columns.")
        found = {str(field)[:64]: _find_error(field, header) for field, header in value.items()}
        errors = {field: [error] for field, error in found.items() if error}
        if errors:
            raise ValidationError(errors)
        return dict(value)


def _find_error(field: str, header: Any) -> str | None:
    attribute = field.startswith(ATTRIBUTE) and ATTRIBUTE_NAME.fullmatch(
        field.removeprefix(ATTRIBUTE)
    )
    if field not in FIELDS and not attribute:
        return f"Not a field: one of {', '.join(FIELDS)}, or {ATTRIBUTE}NAME."
    if not isinstance(header, str) or not 1 <= len(header.strip()) <= _MAX_HEADER:
        return f"Not a header of 1 to {_MAX_HEADER} characters."
    try:
        reject_untransportable(header)
    except ValidationError as e:
        return str(e.messages[0])
    return None


class ConsentForAllSchema(ConsentSchema):
    """The consent of all people of a file; a row may override it."""

    at = UtcDateTime(
        required=True,
        metadata={"example": "2026-03-01T08:30:00Z", "description": "ISO 8601 with offset."},
    )


class ImportSchema(Schema):
    """Options of an import; the body is optional."""

    body_required = False
    mode = fields.Enum(
        Mode,
        by_value=True,
        metadata={"description": "With invalid rows, import the valid ones (default), or nothing."},
    )
    purpose = fields.Enum(
        Purpose,
        by_value=True,
        metadata={
            "description": "The purpose that the people are texted for. Default: transactional. "
            "Marketing requires a consent in each row."
        },
    )
    columns = ColumnTable(
        metadata={
            "description": "Headers of columns that are not recognized by themselves, by field: "
            f"{', '.join(FIELDS)}, or attributes.NAME.",
            "example": {"phone": "Mobil", "attributes.city": "Ort"},
        }
    )
    ignore = fields.List(
        MessageText(validate=validate.Length(1, _MAX_HEADER)),
        validate=validate.Length(max=_MAX_COLUMNS),
        metadata={"description": "Headers of columns to ignore.", "example": ["Notes"]},
    )
    tags = TagList(metadata={"description": "Tags for all people in the file."})
    country = CountryCode(
        metadata={
            "description": "Country of the national numbers in the file. Default: DEFAULT_COUNTRY."
        }
    )
    without_plus = StrictBoolean(
        metadata={"description": "Read numbers without + or 00 as international."}
    )
    check_numbers = StrictBoolean(
        metadata={
            "description": "Reject numbers that are not in use, by libphonenumber. Default: true."
        }
    )
    encoding = fields.String(
        validate=validate.OneOf(_ENCODINGS),
        metadata={"description": "Encoding of a file without a byte order mark. Default: utf-8."},
    )
    consent = fields.Nested(ConsentForAllSchema)
    types = fields.Dict(
        keys=fields.String(validate=validate.Regexp(ATTRIBUTE_NAME.pattern + r"\Z")),
        values=fields.Enum(ValueType, by_value=True),
        validate=validate.Length(max=_MAX_COLUMNS),
        metadata={
            "description": "Types of attributes, by name. Default: text.",
            "example": {"visits": "number"},
            "additionalProperties": {
                "type": "string",
                "enum": [value_type.value for value_type in ValueType],
            },
        },
    )

    @post_load
    def make_options(self, data: dict[str, Any], **_: Any) -> ImportOptions:
        """Return the ImportOptions."""
        lists = {name: tuple(data[name]) for name in ("ignore", "tags") if name in data}
        options: dict[str, Any] = data | lists
        return ImportOptions(**options)


class ImportQuerySchema(Schema):
    """Query parameters of the list of imports."""

    cursor = Cursor()
    limit = fields.Integer(validate=validate.Range(1, 200), load_default=50)


class ImportViewSchema(Schema):
    """An import; rows = created + updated + unchanged + merged + refused, of the rows written."""

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
        metadata={"description": "The field of each column, by header; null if it is ignored."},
    )
    bytes = fields.Integer(required=True)
    lines = fields.Integer(required=True, metadata={"description": "Lines in the file."})
    lines_done = fields.Integer(
        required=True, metadata={"description": "Lines read in the current pass through the file."}
    )
    seconds_left = fields.Integer(
        required=True, allow_none=True, metadata={"description": "Estimate for the current pass."}
    )
    rows = fields.Integer(required=True)
    created = fields.Integer(required=True)
    updated = fields.Integer(required=True)
    unchanged = fields.Integer(required=True)
    merged = fields.Integer(
        required=True,
        metadata={"description": "Rows with the number of an earlier row."},
    )
    refused = fields.Integer(required=True)
    error = fields.String(required=True, allow_none=True)
    url = fields.String(required=True)


class ImportPageSchema(Schema):
    """A page of imports, newest first."""

    imports = fields.List(fields.Nested(ImportViewSchema), required=True)
    cursor = next_cursor()


class ImportConflictSchema(ErrorSchema):
    """409: the import's status does not allow the action."""

    status = fields.Enum(ImportStatus, by_value=True)


def show_import(row: Row[Any], now: datetime) -> dict[str, Any]:
    """Return an import as JSON."""
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
    """Return the seconds that the current pass still takes, or None if unknown."""
    if row.completed_at or row.phase_at is None or not row.rows:
        return None
    taken_s = (now - row.phase_at).total_seconds()
    left_s: float = taken_s * (row.lines - row.lines_done) / row.lines_done
    return round(left_s)
