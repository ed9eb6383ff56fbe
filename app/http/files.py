"""Files over HTTP: a body as it comes, and an answer of any size."""

from collections.abc import Iterable, Iterator

from flask import Response, request
from werkzeug.exceptions import HTTPException

from app.errors import BadInput

CSV = "text/csv"
_PORTION_BYTES = 256 * 1024


def read_portions() -> Iterator[bytes]:
    """The body of this request as it comes, never held whole.  Raises BadInput."""
    while True:
        try:
            portion = request.stream.read(_PORTION_BYTES)
        except HTTPException:
            raise
        except Exception as e:  # the WSGI server's own, for chunks that are none
            raise BadInput("The body could not be read") from e
        if not portion:
            return
        yield portion


def answer_csv(lines: Iterable[str], name: str) -> Response:
    """A file for a spreadsheet, a piece at a time."""
    response = Response(lines, mimetype=CSV)
    response.headers.set("Content-Disposition", "attachment", filename=name)
    return response
