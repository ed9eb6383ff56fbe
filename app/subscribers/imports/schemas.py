"""Schemas of imports: options, query parameters and responses."""

from datetime import datetime
from typing import Any

from marshmallow import Schema, fields, post_load, validate
from sqlalchemy import Row

from app.errors import ErrorSchema
from app.http.fields import (
    Cursor,
    MessageText,
    StrictBoolean,
    describe,
    next_cursor,
    nullable,
    required,
)
from app.subscribers.attributes import ATTRIBUTE_NAME
from app.subscribers.fields import CountryCode, TagList, TimeOfPerson
from app.subscribers.imports.models import ImportOptions, ImportStatus, Mode, Purpose, ValueType
from app.subscribers.lists.columns import FIELDS
from app.subscribers.lists.reader import ENCODINGS
from app.subscribers.profiles.schemas import ConsentSchema

_MAX_HEADER = 200
_MAX_COLUMNS = 200
_FIELD = rf"(?:{'|'.join(FIELDS)}|attributes\.{ATTRIBUTE_NAME.pattern})\Z"
_FIELD_NAMES = f"{', '.join(FIELDS)}, or attributes.NAME"
_NOT_A_FIELD = f"Not a field: one of {_FIELD_NAMES}."
# What counts as done in a pass that only checks is not done yet.
_WROTE_NOTHING = (ImportStatus.CHECKING, ImportStatus.REFUSED)
_NOT_WRITTEN = dict.fromkeys(("created", "updated", "unchanged", "merged"), 0)


class ConsentForAllSchema(ConsentSchema):
    """The consent of all people of a file; a row may override it."""

    at = TimeOfPerson(**required("ISO 8601 with offset.", example="2026-03-01T08:30:00Z"))


class ImportSchema(Schema):
    """Options of an import; the body is optional."""

    body_required = False
    mode = fields.Enum(
        Mode,
        by_value=True,
        metadata=describe("With invalid rows, import the valid ones (default), or nothing."),
    )
    purpose = fields.Enum(
        Purpose,
        by_value=True,
        metadata=describe(
            "The purpose that the people are texted for. Default: transactional. "
            "Marketing requires a consent in each row."
        ),
    )
    columns = fields.Dict(
        keys=fields.String(validate=validate.Regexp(_FIELD, error=_NOT_A_FIELD)),
        values=MessageText(validate=validate.Length(1, _MAX_HEADER)),
        validate=validate.Length(max=_MAX_COLUMNS),
        metadata=describe(
            f"Headers of columns that are not recognized by themselves, by field: {_FIELD_NAMES}.",
            example={"phone": "Mobil", "attributes.city": "Ort"},
        ),
    )
    ignore = fields.List(
        MessageText(validate=validate.Length(1, _MAX_HEADER)),
        validate=validate.Length(max=_MAX_COLUMNS),
        metadata=describe("Headers of columns to ignore.", example=["Notes"]),
    )
    tags = TagList(metadata=describe("Tags for all people in the file."))
    country = CountryCode(
        metadata=describe("Country of the national numbers in the file. Default: DEFAULT_COUNTRY.")
    )
    without_plus = StrictBoolean(
        metadata=describe("Read numbers without + or 00 as international.")
    )
    check_numbers = StrictBoolean(
        metadata=describe("Reject numbers that are not in use, by libphonenumber. Default: true.")
    )
    encoding = fields.String(
        validate=validate.OneOf(list(ENCODINGS)),
        metadata=describe("Encoding of a file without a byte order mark. Default: utf-8."),
    )
    consent = fields.Nested(ConsentForAllSchema)
    types = fields.Dict(
        keys=fields.String(validate=validate.Regexp(ATTRIBUTE_NAME.pattern + r"\Z")),
        values=fields.Enum(ValueType, by_value=True),
        validate=validate.Length(max=_MAX_COLUMNS),
        metadata=describe(
            "Types of attributes, by name. Default: text.",
            example={"visits": "number"},
            additionalProperties={
                "type": "string",
                "enum": [value_type.value for value_type in ValueType],
            },
        ),
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
        **required("The field of each column, by header; null if it is ignored."),
        keys=fields.String(),
        values=fields.String(allow_none=True),
    )
    bytes = fields.Integer(required=True)
    lines = fields.Integer(**required("Lines in the file."))
    lines_done = fields.Integer(**required("Lines read in the current pass through the file."))
    seconds_left = fields.Integer(**nullable("Estimate for the current pass."))
    rows = fields.Integer(required=True)
    created = fields.Integer(required=True)
    updated = fields.Integer(required=True)
    unchanged = fields.Integer(required=True)
    merged = fields.Integer(**required("Rows with the number of an earlier row."))
    refused = fields.Integer(required=True)
    landlines = fields.Integer(
        **required(
            "Imported rows whose number is a landline, which gets no texts in most "
            "countries; `warnings.csv` has them."
        )
    )
    warnings = fields.List(
        fields.String(), **required("What to look at, in words, although the rows were taken.")
    )
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
    shown = {
        "import_id": row.public_id,
        "mode": Mode(row.options["mode"]),
        "purpose": Purpose(row.options["purpose"]),
        "columns": dict(zip(column_mapping["headers"], column_mapping["fields"], strict=True)),
        "seconds_left": _estimate_seconds(row, now),
        "warnings": list_warnings(row),
        "url": f"/api/subscribers/imports/{row.public_id}",
    }
    return row._asdict() | shown | (_NOT_WRITTEN if _wrote_nothing(row) else {})


def _wrote_nothing(row: Row[Any]) -> bool:
    """Return True if what counts as done was only checked.

    All or nothing is cancelled only while it is checked.
    """
    is_whole = row.options["mode"] == Mode.ALL_OR_NOTHING
    return row.status in _WROTE_NOTHING or (is_whole and row.status is ImportStatus.CANCELLED)


def list_warnings(row: Row[Any], *, where: str = "look at warnings.csv") -> list[str]:
    """Return what to look at and where, in words, although the rows were taken."""
    if not row.landlines:
        return []
    rows = f"{row.landlines} rows have landlines, which get"
    if row.landlines == 1:
        rows = "1 row has a landline, which gets"
    return [f"{rows} no texts in most countries: {where}."]


def _estimate_seconds(row: Row[Any], now: datetime) -> int | None:
    """Return the seconds that the current pass still takes, or None if unknown."""
    if row.completed_at or row.phase_at is None or not row.rows:
        return None
    taken_s = (now - row.phase_at).total_seconds()
    left_s: float = taken_s * (row.lines - row.lines_done) / row.lines_done
    return round(left_s)
