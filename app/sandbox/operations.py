"""The operations faults and request lists are told apart by: method and path after the plan."""

import re

_PREFIX = re.compile(r"/xms/v1/[^/]+")
ANY = "*"

# Those with a fixed word come before those a pattern would swallow.
OPERATIONS = (
    "POST /batches/dry_run",
    "POST /batches",
    "GET /batches",
    "GET /batches/{id}",
    "POST /batches/{id}",
    "PUT /batches/{id}",
    "DELETE /batches/{id}",
    "POST /batches/{id}/delivery_feedback",
    "GET /batches/{id}/delivery_report",
    "GET /batches/{id}/delivery_report/{number}",
    "GET /delivery_reports",
    "GET /inbounds",
    "GET /inbounds/{id}",
    "POST /groups",
    "GET /groups",
    "GET /groups/{id}",
    "POST /groups/{id}",
    "PUT /groups/{id}",
    "DELETE /groups/{id}",
    "GET /groups/{id}/members",
)
_PATTERNS = [(re.compile(re.sub(r"\{\w+\}", "[^/]+", name)), name) for name in OPERATIONS]


def operation_of(method: str, path: str) -> str | None:
    """The operation a request is; None when the path is not one of Sinch's.

    >>> operation_of("GET", "/xms/v1/sandbox/batches/01JX/delivery_report")
    'GET /batches/{id}/delivery_report'
    """
    prefix = _PREFIX.match(path)
    if prefix is None:
        return None
    request = f"{method} {path[prefix.end() :]}"
    return next((name for pattern, name in _PATTERNS if pattern.fullmatch(request)), request)
