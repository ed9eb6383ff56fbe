"""Ledger of accepted batches: written to disk before the answer leaves."""

import json
import os
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from app.sandbox.clock import format_time
from app.sandbox.engine.batch import Batch


class Ledger:
    """An optional file of JSON lines; each line is on disk when `write` returns."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="utf-8") if path else None

    def write(self, event: str, batch: Batch, at: float) -> None:
        """Add a line: the batch was `accepted` or `cancelled`."""
        if self._file is None:
            return
        entry = {
            "event": event,
            "at": format_time(at),
            **show_batch(batch),
            "to": [f"+{number}" for number in batch.request.recipients],
        }
        with self._lock:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def show_batch(batch: Batch) -> dict[str, Any]:
    return {
        "id": batch.id,
        "client_reference": batch.client_reference,
        "recipients": len(batch.request.recipients),
        "accepted_at": format_time(batch.created_at),
        "canceled": batch.cancelled_at is not None,
    }


def list_copies(batches: Iterable[Batch]) -> list[str]:
    """Return each accepted copy's number as `+E.164`, in the order of acceptance."""
    return [f"+{number}" for batch in batches for number in batch.request.recipients]


def list_batch_ids(number: str, batches: Iterable[Batch]) -> list[str]:
    """Return the ids of the batches that hold a number, given as digits."""
    return [batch.id for batch in batches if number in batch.request.recipients]


def summarize(batches: Iterable[Batch]) -> dict[str, Any]:
    batches = list(batches)
    copies = Counter(list_copies(batches))
    return {
        "batches": len(batches),
        "canceled": sum(batch.cancelled_at is not None for batch in batches),
        "messages": copies.total(),
        "recipients": len(copies),
        "accepted_more_than_once": {number: n for number, n in copies.items() if n > 1},
    }
