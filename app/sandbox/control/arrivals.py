"""What arrived on Sinch's URLs, whatever became of it."""

import json
import threading
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

_LOG_LENGTH = 200_000


@dataclass(slots=True)
class Arrival:
    """One request; ``status`` stays null until an answer was written."""

    method: str
    path: str
    operation: str
    at: str
    client_reference: str | None = None
    recipients: int | None = None
    fault: int | None = None
    status: int | None = None


class Arrivals:
    """The latest requests, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: deque[Arrival] = deque(maxlen=_LOG_LENGTH)

    def note(self, arrival: Arrival, body: bytes) -> None:
        if arrival.operation == "POST /batches":
            arrival.client_reference, arrival.recipients = _peek(body)
        with self._lock:
            self._noted.append(arrival)

    def all(self) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(arrival) for arrival in self._noted]

    def clear(self) -> None:
        with self._lock:
            self._noted.clear()


def _peek(body: bytes) -> tuple[str | None, int | None]:
    """Reference and number of recipients of a send request, as far as it can be read."""
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(sent, dict):
        return None, None
    reference, to = sent.get("client_reference"), sent.get("to")
    return reference if isinstance(reference, str) else None, (
        len(to) if isinstance(to, list) else None
    )
