"""Log of the requests on Sinch's URLs, with the fault that each one met."""

import json
import threading
from collections import deque
from dataclasses import dataclass

_LOG_LENGTH = 200_000


@dataclass(slots=True)
class LoggedRequest:
    """A request; `status` is None until an answer is written."""

    method: str
    path: str
    operation: str
    at: str
    client_reference: str | None = None
    recipients: int | None = None
    fault: int | None = None
    status: int | None = None


class RequestLog:
    """The latest requests, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: deque[LoggedRequest] = deque(maxlen=_LOG_LENGTH)

    def add(self, request: LoggedRequest, body: bytes) -> None:
        if request.operation == "POST /batches":
            request.client_reference, request.recipients = _peek(body)
        with self._lock:
            self._requests.append(request)

    def list_requests(self) -> list[LoggedRequest]:
        with self._lock:
            return list(self._requests)

    def clear(self) -> None:
        with self._lock:
            self._requests.clear()


def _peek(body: bytes) -> tuple[str | None, int | None]:
    """Return client_reference and number of recipients of a send request, where readable."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(request, dict):
        return None, None
    reference, to = request.get("client_reference"), request.get("to")
    return reference if isinstance(reference, str) else None, (
        len(to) if isinstance(to, list) else None
    )
