"""What was accepted, for the test to judge by: on disk before the answer leaves."""

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
    """An optional file of JSON lines; each is on the disk when ``write`` returns."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="utf-8") if path else None

    def write(self, event: str, batch: Batch, at: float) -> None:
        """Add what happened to a batch: it was ``accepted``, ``changed`` or ``cancelled``."""
        if self._file is None:
            return
        line = json.dumps(
            {
                "event": event,
                "at": format_time(at),
                **describe(batch),
                "to": [_shown(entry) for entry in batch.order.to],
            }
        )
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _shown(entry: str) -> str:
    """A number in E.164; a group's id as it is."""
    return f"+{entry}" if entry.isdigit() else entry


def describe(batch: Batch) -> dict[str, Any]:
    return {
        "id": batch.id,
        "client_reference": batch.reference,
        "recipients": len(batch.order.to),
        "accepted_at": format_time(batch.created_at),
        "canceled": batch.cancelled_at is not None,
    }


def copies_in_order(batches: Iterable[Batch]) -> list[str]:
    """One entry for every copy accepted, in the order of acceptance."""
    return [_shown(entry) for batch in batches for entry in batch.order.to]


def copies_of(number: str, batches: Iterable[Batch]) -> dict[str, Any]:
    holding = [(batch.id, batch.order.to.count(number)) for batch in batches]
    ids = [batch_id for batch_id, copies in holding if copies]
    return {"recipient": f"+{number}", "copies": sum(n for _, n in holding), "batches": ids}


def batches_by_recipient(batches: Iterable[Batch]) -> dict[str, list[str]]:
    """Every number with the batch of each of its copies."""
    found: dict[str, list[str]] = {}
    for batch in batches:
        for number in batch.order.to:
            found.setdefault(_shown(number), []).append(batch.id)
    return found


def summarise(batches: Iterable[Batch]) -> dict[str, Any]:
    batches = list(batches)
    copies = Counter(number for batch in batches for number in batch.order.to)
    return {
        "batches": len(batches),
        "canceled": sum(batch.cancelled_at is not None for batch in batches),
        "messages": copies.total(),
        "recipients": len(copies),
        "accepted_more_than_once": {_shown(number): n for number, n in copies.items() if n > 1},
    }
