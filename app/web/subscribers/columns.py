"""The form in which the columns of a file get their meaning, and the first rows by it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from marshmallow import ValidationError
from sqlalchemy import Row

from app.http.reasons import capitalize
from app.phone.reader import NO_COUNTRY
from app.subscribers.attributes import ATTRIBUTE
from app.subscribers.context import SubscriberContext
from app.subscribers.imports.models import ImportOptions, Mode, ValueType
from app.subscribers.imports.preview import FilePreview, PreviewRow, preview_file
from app.subscribers.imports.rows import WHOLE_ROW
from app.subscribers.imports.schemas import ImportSchema
from app.subscribers.imports.upload import read_first_chunk
from app.subscribers.lists.columns import FIELDS, name_attribute, strip_headers
from app.subscribers.lists.reader import read_heading
from app.web.subscribers.wording import FIELD_MISTAKES, VALUE_TYPES, list_wrong_fields, split_tags

_ROWS_SHOWN = 5
_MAX_CELL = 80
_DELIMITERS = {"\t": "tabs"}
LABELS = {
    "phone": "Phone number",
    "first_name": "First name",
    "last_name": "Last name",
    "name": "Whole name",
    "language": "Language",
    "time_zone": "Time zone",
    "tags": "Tags",
    "active": "Active (yes or no)",
    "consent_wording": "Agreed to: the words",
    "consent_source": "Agreed where",
    "consent_at": "Agreed when",
}
_TYPE_MARK = "|"
FIELD_ERRORS = FIELD_MISTAKES | {
    "country": "Choose a country.",
    "at": "Write the day on which they agreed, not before 1990 and not in the future.",
}


@dataclass(slots=True)
class ColumnForm:
    """The form as it was sent, the options that it gives, and what is wrong, by field.

    `choices` are by position of the column; None before the first choice.
    """

    options: ImportOptions
    choices: dict[int, str] | None = None
    given: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


def read_defaults(row: Row[Any]) -> ColumnForm:
    """Return the form of a file whose columns were not chosen yet."""
    options = ImportOptions.from_json(row.options)
    given = {"country": options.country or "", "mode": options.mode.value}
    return ColumnForm(options, given=given)


def read_form(ctx: SubscriberContext, row: Row[Any], form: Mapping[str, str]) -> ColumnForm:
    """Return the options that a form gives, validated as those of the API are."""
    kept = ImportOptions.from_json(row.options)
    given = {name: value for name, value in form.items() if not name.startswith("column-")}
    headers = strip_headers(read_heading(read_first_chunk(ctx, row.public_id)))
    choices = {at: form[f"column-{at}"] for at in range(len(headers)) if f"column-{at}" in form}
    errors: dict[str, str] = {}
    raw = _make_options(headers, choices, given, errors)
    options = kept
    try:
        options = replace(
            ImportSchema().load(raw),
            encoding=kept.encoding,
            # These titles are the file's own, of any length and number.
            ignore=tuple(headers[at] for at, value in choices.items() if not value),
        )
    except ValidationError as e:
        errors |= _name_errors(e)
    if options.consent and options.consent.at and options.consent.at > ctx.now():
        errors["at"] = FIELD_ERRORS["at"]
        options = replace(options, consent=None)
    return ColumnForm(options, choices, given, errors)


def _make_options(
    headers: tuple[str, ...],
    choices: Mapping[int, str],
    given: Mapping[str, str],
    errors: dict[str, str],
) -> dict[str, Any]:
    """Return the body that a client of the API would send, without the columns to leave out."""
    columns, types = {}, {}
    chosen = [(headers[at], value.partition(_TYPE_MARK)) for at, value in choices.items() if value]
    counts = Counter(name for _, (name, _, _) in chosen)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        errors["columns"] = f"Two columns are “{_say_field(twice[0])}”: leave one out."
    for header, (name, _, value_type) in chosen:
        columns[name] = header
        if name.startswith(ATTRIBUTE) and value_type:
            types[name.removeprefix(ATTRIBUTE)] = value_type
    raw: dict[str, Any] = {
        "columns": columns,
        "types": types,
        "mode": given.get("mode", Mode.SKIP_BAD.value),
        "without_plus": "without_plus" in given,
        "tags": split_tags(given.get("tags", "")),
    }
    if country := given.get("country", "").strip():
        raw["country"] = country.upper()
    if given.get("agreed") == "all":
        raw["consent"] = _read_consent(given)
    return raw


def _read_consent(given: Mapping[str, str]) -> dict[str, str]:
    day = given.get("at", "").strip()
    return {
        "wording": given.get("wording", ""),
        "source": given.get("source", ""),
        "at": f"{day}T00:00:00Z" if day else "",
    }


def _name_errors(error: ValidationError) -> dict[str, str]:
    """Return a sentence for each field of the form that is wrong."""
    return {
        name if name in FIELD_ERRORS else "columns": FIELD_ERRORS.get(
            name, "A column's title is too long, or its choice is unknown: leave it out."
        )
        for name in list_wrong_fields(error)
    }


def say_unusable(sentence: str) -> str:
    """Return why the columns cannot be used; the title of a field is not repeated."""
    reason = sentence.removeprefix("The file cannot be read: ").partition("; name one")[0]
    return f"{capitalize(reason)}."


def make_table(ctx: SubscriberContext, row: Row[Any], form: ColumnForm) -> dict[str, Any]:
    """Return columns with their choices, and the first rows with what is wrong with them."""
    preview = preview_file(ctx, row.public_id, form.options, rows=_ROWS_SHOWN)
    if preview.error and "columns" not in form.errors:
        form.errors["columns"] = say_unusable(preview.error)
    return {
        "columns": [_make_column(at, preview, form) for at in range(len(preview.headers))],
        "rows": [make_row(shown, len(preview.headers)) for shown in preview.rows],
        "lacks_country": any(
            cell.reason == NO_COUNTRY for shown in preview.rows for cell in shown.rejected
        ),
        "lines": row.lines - preview.first_line + 1,
        "delimiter": _DELIMITERS.get(preview.delimiter, f"“{preview.delimiter}”"),
    }


def _make_column(at: int, preview: FilePreview, form: ColumnForm) -> dict[str, Any]:
    header = preview.headers[at]
    attribute = name_attribute(header)
    options = [("", "Leave out"), *((name, LABELS[name]) for name in FIELDS)]
    if attribute != ATTRIBUTE:
        options += [
            (f"{attribute}{_TYPE_MARK}{value_type.value}", f"{_say_field(attribute)} ({word})")
            for value_type, word in VALUE_TYPES.items()
        ]
    return {
        "at": at,
        "header": header,
        "options": options if header else [],
        "chosen": _choose(at, preview, form),
    }


def _choose(at: int, preview: FilePreview, form: ColumnForm) -> str:
    if form.choices is not None:
        return form.choices.get(at, "")
    name = preview.fields[at] if preview.fields else name_attribute(preview.headers[at])
    if name and name.startswith(ATTRIBUTE):
        return f"{name}{_TYPE_MARK}{ValueType.TEXT.value}"
    return name or ""


def _say_field(name: str) -> str:
    return LABELS.get(name) or name.removeprefix(ATTRIBUTE)


def make_row(shown: PreviewRow, width: int) -> dict[str, Any]:
    """Return a row of a file with its bad cells marked and what is wrong with them."""
    bad = {cell.position for cell in shown.rejected}
    cells = [*shown.cells, *[""] * width][:width]
    return {
        "line": shown.line,
        "cells": [
            {"text": cell[:_MAX_CELL], "is_bad": at in bad or WHOLE_ROW in bad}
            for at, cell in enumerate(cells)
        ],
        "errors": [
            f"{cell.header}: {cell.reason}" if cell.header else cell.reason
            for cell in shown.rejected
        ],
    }
