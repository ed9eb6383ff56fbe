"""Files over HTTP: content types of uploads, and CSV responses that are streamed."""

from collections.abc import Iterable
from typing import Any

from flask import Response, request

from app.errors import UnsupportedBody

CSV = "text/csv"
# What systems call a CSV file: a browser on Windows takes the name from the registry.
CSV_TYPES = (
    CSV, "application/csv", "text/x-csv", "application/vnd.ms-excel", "text/plain",
    "text/tab-separated-values", "text/comma-separated-values", "application/octet-stream",
)  # fmt: skip
# The OpenAPI media types of request bodies that are files.
BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
CSV_FILE = {**BINARY, "example": "phone\n+46701234567\n"}


def require_file(*content_types: str) -> str:
    """Return the content type of the body, text/csv for its other names.

    Raises UnsupportedBody if it is not one of these.
    """
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise UnsupportedBody("Send the file uncompressed, without Content-Encoding")
    given = CSV if request.mimetype in CSV_TYPES else request.mimetype
    if given not in content_types:
        raise UnsupportedBody(f"Send the file as Content-Type: {' or '.join(content_types)}")
    return given


def make_csv_response(lines: Iterable[str], file_name: str) -> Response:
    """Return a response that streams the lines as a CSV file to save."""
    response = Response(lines, mimetype=CSV)
    response.headers.set("Content-Disposition", "attachment", filename=file_name)
    return response
