"""Files over HTTP: content types of uploads, and CSV responses that are streamed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import BoundedSemaphore, Lock
from typing import Any

from flask import Response, current_app, g, request
from marshmallow import Schema, fields, post_load, validate

from app.csv_cells import DELIMITERS, format_lines
from app.db.audit import write_audit
from app.errors import UnsupportedBody
from app.http.body import require_charset, require_uncompressed
from app.http.fields import describe, query_boolean
from app.rate_limit import Overloaded

CSV = "text/csv"
# What systems call a CSV file: a browser on Windows takes the name from the registry.
CSV_TYPES = (
    CSV, "application/csv", "text/x-csv", "application/vnd.ms-excel", "text/plain",
    "text/tab-separated-values", "text/comma-separated-values", "application/octet-stream",
)  # fmt: skip
# A file in UTF-16 begins with a mark; ASCII is read alike in each encoding of a file.
_TOLD_BY_FILE = ("utf-16", "utf-16-le", "utf-16-be", "ascii")
# The OpenAPI media types of request bodies that are files.
BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
CSV_FILE = {**BINARY, "example": "phone\n+46701234567\n"}


def require_file(*content_types: str, encoding: str) -> str:
    """Return the content type of the body, text/csv for its other names.

    Raises UnsupportedBody if it is not one of these, or declares another charset than `encoding`.
    """
    require_uncompressed(request)
    given = CSV if request.mimetype in CSV_TYPES else request.mimetype
    if given not in content_types:
        raise UnsupportedBody(f"Send the file as Content-Type: {' or '.join(content_types)}")
    require_charset(request, encoding, *_TOLD_BY_FILE)
    return given


def audit_export(subject: str) -> None:
    """Note in the audit log who exports what, before the first line leaves."""
    ctx = current_app.extensions["clarion"]
    actor = g.get("actor") or g.client.name
    with ctx.db.write() as tx:
        write_audit(tx, ctx.now(), actor, "export", subject)


# Each file takes a thread until its client has all of it, so that some stay free for others.
_MAX_FILES = 8
_FILES = BoundedSemaphore(_MAX_FILES)
# Making lines keeps a core busy: more at once would only delay small requests.
_TURN = Lock()
_RETRY_AFTER_S = 5


class CsvQuerySchema(Schema):
    """Query parameters of every CSV file; loading gathers them in `csv_format`."""

    delimiter = fields.String(
        validate=validate.OneOf([*DELIMITERS]),
        load_default=",",
        metadata=describe("The sign between cells. Spreadsheets of most of Europe need ;"),
    )
    spreadsheet = query_boolean(
        load_default=False,
        metadata=describe(
            'Write for Excel and the like: a byte order mark, and ="+46..." for a number, which '
            "would lose its plus. An import reads such a file as any other."
        ),
    )

    @post_load
    def gather_format(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Return the parameters with those of the format apart."""
        names = ("delimiter", "spreadsheet")
        return data | {"csv_format": {name: data.pop(name) for name in names}}


# The schema and the content type of a route that answers a CSV file.
CSV_RESPONSE: dict[str, Any] = {"schema": {"type": "string"}, "content_type": CSV}


def make_csv_response(
    export: Callable[[], Iterable[str]], file_name: str, csv_format: Mapping[str, Any]
) -> Response:
    """Return a response that streams blocks of lines as a CSV file to save.

    `export` returns the blocks.  It is called once there is room for the file, so that a request
    that is one too many reads nothing.  Raises what it raises, and Overloaded if there is no room.
    """
    lines = _make_in_turn(export, csv_format)
    next(lines)
    audit_export(file_name)
    response = Response(lines, mimetype=CSV)
    response.headers.set("Content-Disposition", "attachment", filename=file_name)
    return response


def _make_in_turn(
    export: Callable[[], Iterable[str]], csv_format: Mapping[str, Any]
) -> Iterator[str]:
    """Yield "" once the file has begun, then its blocks."""
    if not _FILES.acquire(blocking=False):
        raise Overloaded(
            f"{_MAX_FILES} files are being sent; nothing was done. Repeat this request in "
            f"{_RETRY_AFTER_S} seconds.",
            retry_after_s=_RETRY_AFTER_S,
        )
    try:
        with _TURN:
            blocks = format_lines(export(), **csv_format)
        yield ""
        while True:
            with _TURN:
                block = next(blocks, None)
            if block is None:
                return
            yield block
    finally:
        _FILES.release()
