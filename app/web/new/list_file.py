"""A CSV file as the audience: read, with its columns as fields of the form, and in words."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Any

from flask import request

from app.http.body import read_stream
from app.phone.e164 import is_country
from app.phone.reader import NO_COUNTRY
from app.sms.current import current_context
from app.sms.drafts.people_file import (
    PeopleFile,
    choose_columns,
    find_column,
    list_faults,
    name_placeholder,
    read_people_file,
)
from app.sms.drafts.request import find_names, find_open_names, sort_for_body
from app.subscribers.imports.preview import PreviewRow
from app.subscribers.imports.rows import RejectedCell
from app.subscribers.lists.columns import FIRST_NAME, LAST_NAME, PHONE
from app.subscribers.lists.phone_list import SortedPhones
from app.subscribers.lists.reader import DEFAULT_ENCODING, ENCODINGS, EmptyFile
from app.web.subscribers.columns import FIELD_ERRORS, LABELS, make_row

_FIRST_ROWS, _FAULTS_SHOWN, _MAX_HEADER = 5, 20, 40


def read_upload() -> PeopleFile | None:
    """Return the file that the form brings, if any.  Raises UnusableFile."""
    sent = request.files.get("file")
    if sent is None or not sent.filename:
        return None
    encoding = request.form.get("encoding", "")
    file = read_people_file(
        read_stream(sent.stream),
        sent.filename.replace("\0", ""),
        encoding=encoding if encoding in ENCODINGS else DEFAULT_ENCODING,
        country=_read_country(),
    )
    if not file.rows:
        raise EmptyFile("it has no row below its titles")
    return file


def read_columns(file: PeopleFile) -> PeopleFile:
    """Return a file with the columns and the country that the form chooses for it."""
    known = enumerate(file.columns)
    columns = [request.form.get(f"column-{at}", column) for at, column in known]
    columns = [column if column == PHONE else name_placeholder(column) for column in columns]
    country = _read_country() if "country" in request.form else file.country
    return choose_columns(file, columns, country=country)


def skip_faults(file: PeopleFile, body: Mapping[str, Any]) -> PeopleFile:
    """Return a file without the rows that the draft's text cannot be sent to."""
    faults = list_faults(file, find_open_names(current_context(), body))
    return replace(file, skipped=sorted({fault.line for fault in faults}))


def find_file_errors(file: PeopleFile, body: Mapping[str, Any]) -> dict[str, str]:
    """Return what keeps a file from being the audience of the draft's text, by field."""
    country = request.form.get("country", "").strip()
    if country and not is_country(country.upper()):
        return {"country": FIELD_ERRORS["country"]}
    columns = [column for column in file.columns if column]
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice:
        return {"columns": f"Two columns are “{_say_column(twice)}”: leave one out."}
    if PHONE not in columns:
        return {"columns": "Choose the column of the phone numbers."}
    for name in find_open_names(current_context(), body):
        if find_column(file, name) is None:
            return {"columns": f"The text has ${{{name}}}: choose the column that fills it."}
    if wrong := len(_group_faults(file, body)):
        return {"rows": f"{_say_rows(wrong, file)} cannot be sent to."}
    if not sort_for_body(current_context(), file, body).phones:
        return {"file": "There is no row left to send to."}
    return {}


def describe_file(file: PeopleFile, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file in words: its columns with their choices, and rows with their faults."""
    ctx, faults = current_context(), _group_faults(file, body)
    names = find_names(ctx, body)
    shown = dict(list(faults.items())[:_FAULTS_SHOWN])
    first = {row.line for row in file.rows[:_FIRST_ROWS]}
    width = len(file.headers)
    return {
        "name": file.name,
        "country": file.country or "",
        "total": len(file.rows),
        "columns": [
            {
                "at": at,
                "header": header,
                "options": _list_options(header, names),
                "chosen": file.columns[at],
            }
            for at, header in enumerate(file.headers)
        ],
        "rows": [
            make_row(PreviewRow(row.line, row.cells, shown.get(row.line, ())), width)
            for row in file.rows
            if row.line in first or row.line in shown
        ],
        "wrong": len(faults),
        "lacks_country": any(
            cell.reason.endswith(NO_COUNTRY) for cells in faults.values() for cell in cells
        ),
        "wrong_of": _say_rows(len(faults), file),
        "wrong_more": len(faults) - len(shown),
        "skipped": len(file.skipped),
    }


def subtract_rows(file: PeopleFile, listed: SortedPhones) -> list[dict[str, Any]]:
    """Return why rows of a file are no recipients, with their numbers."""
    left_out = [
        {"sentence": f"By the column “{header[:_MAX_HEADER]}” they want no text", "figure": rows}
        for (header, _), rows in listed.left_out.items()
    ]
    counted = len(listed.phones) + listed.duplicates + listed.left_out.total()
    lines = [
        {"sentence": "They cannot be sent to", "figure": len(file.rows) - counted},
        {"sentence": "Their number comes again", "figure": listed.duplicates},
        *left_out,
    ]
    return [line for line in lines if line["figure"]]


def _read_country() -> str | None:
    """Return the country of the form, in which national numbers are; None without one."""
    default = current_context().subscriber_rules.default_country or ""
    country = request.form.get("country", default).strip().upper()
    return country if is_country(country) else None


def _group_faults(file: PeopleFile, body: Mapping[str, Any]) -> dict[int, list[RejectedCell]]:
    """Return what is wrong with rows by their lines, but for those that are left out on purpose."""
    faults = list_faults(file, find_open_names(current_context(), body))
    skipped = frozenset(file.skipped)
    grouped = ((line, list(cells)) for line, cells in groupby(faults, attrgetter("line")))
    return {line: cells for line, cells in grouped if line not in skipped}


def _list_options(header: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return what a column may be: a number, a placeholder of the text, or one by its own name."""
    own = filter(None, [name_placeholder(header)])
    fields = dict.fromkeys((PHONE, *names, FIRST_NAME, LAST_NAME, *own))
    return [("", "Leave out"), *((name, _say_column(name)) for name in fields)]


def _say_column(name: str) -> str:
    return LABELS.get(name, f"${{{name}}}")


def _say_rows(number: int, file: PeopleFile) -> str:
    return f"{number:,} of {len(file.rows):,} rows"
