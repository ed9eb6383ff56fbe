"""Operations of Sinch's API, named by method and path after the plan."""

import re

_PREFIX = re.compile(r"/xms/v1/[^/]+")
ANY = "*"

# An operation with a fixed word comes before a pattern that would match it.
OPERATIONS = (
    "POST /batches/dry_run",
    "POST /batches",
    "GET /batches",
    "GET /batches/{id}",
    "DELETE /batches/{id}",
    "GET /batches/{id}/delivery_report",
    "GET /inbounds",
)
_PATTERNS = [(re.compile(re.sub(r"\{\w+\}", "[^/]+", name)), name) for name in OPERATIONS]


def find_operation(method: str, path: str) -> str | None:
    """Return the operation of a request; None when the path is not one of Sinch's.

    >>> find_operation("GET", "/xms/v1/sandbox/batches/01JX/delivery_report")
    'GET /batches/{id}/delivery_report'
    """
    prefix = _PREFIX.match(path)
    if prefix is None:
        return None
    request = f"{method} {path[prefix.end() :]}"
    return next((name for pattern, name in _PATTERNS if pattern.fullmatch(request)), request)
