"""Files over HTTP: request bodies that are read in chunks, and CSV responses that are streamed."""

from collections.abc import Iterable, Iterator

from flask import Response, request
from werkzeug.exceptions import HTTPException

from app.errors import BadInput, UnsupportedBody

CSV = "text/csv"
# The OpenAPI media type of a request body that is a file.
BINARY = {"schema": {"type": "string", "format": "binary"}}
_CHUNK_BYTES = 256 * 1024


def require_file(*content_types: str) -> str:
    """Return the content type of the body.  Raises UnsupportedBody if it is not one of these."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise UnsupportedBody("Send the file uncompressed, without Content-Encoding")
    if request.mimetype not in content_types:
        raise UnsupportedBody(f"Send the file as Content-Type: {' or '.join(content_types)}")
    return request.mimetype


def read_chunks() -> Iterator[bytes]:
    """Yield the body of the current request in chunks.  Raises BadInput if it is unreadable."""
    while True:
        try:
            chunk = request.stream.read(_CHUNK_BYTES)
        except HTTPException:
            raise
        except Exception as e:  # the WSGI server's own, for malformed chunks
            raise BadInput("The body could not be read") from e
        if not chunk:
            return
        yield chunk


def make_csv_response(lines: Iterable[str], file_name: str) -> Response:
    """Return a response that streams the lines as a CSV file to save."""
    response = Response(lines, mimetype=CSV)
    response.headers.set("Content-Disposition", "attachment", filename=file_name)
    return response
