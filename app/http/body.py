"""The one reader of request bodies: every route and the callbacks of Sinch read through it.

gunicorn passes on a body that ends before its Content-Length, and werkzeug cuts one without a
Content-Length at its limit; neither raises an error.  Half a number is another number, so such a
body is refused before anything of it is stored.
"""

import codecs
import re
from collections.abc import Iterator
from typing import IO

from flask import Request
from werkzeug.exceptions import ClientDisconnected, HTTPException, RequestEntityTooLarge

from app.errors import MAX_BYTES_KEY, BadInput, UnsupportedBody

BLOCK_BYTES = 256 * 1024
_CHARSET = re.compile(r"charset[*0-9]*\s*=[\s\"']*([^\s,;]+)", re.IGNORECASE)
# As in web pages, ISO 8859-1 means windows-1252.
_WIDER_CODECS = {"iso8859-1": "cp1252"}
_TOO_SHORT = "The body ended before its Content-Length: nothing was done; send it again, whole"


def read_blocks(req: Request, max_bytes: int) -> Iterator[bytes]:
    """Yield the body in blocks; what they hold may be used only after the last one.

    Raises RequestEntityTooLarge above `max_bytes`.  Raises BadInput if the body is unreadable or
    ends before its Content-Length.
    """
    req.environ[MAX_BYTES_KEY] = max_bytes
    if (req.content_length or 0) > max_bytes:
        raise RequestEntityTooLarge
    # One byte more, so that a larger body without a Content-Length is detected.
    req.max_content_length = max_bytes + 1
    received = 0
    while block := _read_block(req):
        received += len(block)
        if received > max_bytes:
            raise RequestEntityTooLarge
        yield block
    if received < (req.content_length or 0):
        raise BadInput(_TOO_SHORT)


def require_charset(req: Request, encoding: str, *others: str) -> None:
    """Raise UnsupportedBody if the Content-Type declares another charset than the body is read in.

    `others` are encodings that are recognised by the body itself.  A charset that is declared twice
    or in a way that is not read counts as another one: a text would reach phones garbled.
    """
    known = {_find_codec(name) for name in (encoding, *others)}
    found = _CHARSET.findall(req.headers.get("Content-Type", ""))
    for declared in (name.rstrip("\"'") for name in found):
        if _find_codec(declared) not in known:
            raise UnsupportedBody(
                f"The Content-Type declares the charset '{declared[:64]}', and this body is read "
                f"in {encoding}: send it so, and declare that or nothing"
            )


def _find_codec(name: str) -> str | None:
    try:
        codec = codecs.lookup(name).name
    except (LookupError, ValueError):
        return None
    return _WIDER_CODECS.get(codec, codec)


def read_stream(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the file of a form in blocks."""
    while block := stream.read(BLOCK_BYTES):
        yield block


def read_body(req: Request, max_bytes: int) -> bytes:
    """Return the whole body.  Raises as `read_blocks` does."""
    return b"".join(read_blocks(req, max_bytes))


def _read_block(req: Request) -> bytes:
    try:
        return req.stream.read(BLOCK_BYTES)
    except ClientDisconnected as e:
        raise BadInput(_TOO_SHORT) from e
    except HTTPException:
        raise
    except Exception as e:  # the WSGI server's own, for malformed chunks
        raise BadInput("The body could not be read") from e
