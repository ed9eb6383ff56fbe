"""What becomes of every message at the simulated Sinch, and how it tells: perhaps, twice, late."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from app.sinch.schemas import BatchReport, StatusCount, format_time
from tests.simulation.world import World

_ENDS = (("Delivered", 0),) * 4 + (("Failed", 153), ("Aborted", 402), ("Expired", 153))
_DELAYS_S = (0.0, 1.0, 30.0, 400.0)
_AFTER_S = (0.0, 0.0, 5.0, 300.0, 2_000.0)


@dataclass(slots=True)
class End:
    """How one message of one batch ends, when, and the order that it is of."""

    status: str
    code: int
    at: float
    of: str


@dataclass
class Reports:
    """The ends of all messages; `tell` takes what is called back, None where nothing is."""

    world: World
    tell: Callable[[bytes], None] | None = None
    ends: dict[tuple[str, str], End] = field(default_factory=dict)

    def follow(self, batch_id: str, reference: str, recipients: tuple[str, ...], name: str) -> None:
        """A batch was taken: its messages end some time, and that may be told."""
        random = self.world.random
        for each in recipients:
            status, code = random.choice(_ENDS)
            end = End(status, code, self.world.time + random.choice(_DELAYS_S), name)
            self.ends[batch_id, each] = end
            if self.tell is None or self.world.faults.strike(random, "callback_lost"):
                continue
            times = 2 if self.world.faults.strike(random, "callback_doubled") else 1
            for _ in range(times):
                wait_s = end.at - self.world.time + random.choice(_AFTER_S)
                self.world.seconds_from_now(wait_s, self._make_call(batch_id, reference, each))
            if random.random() < 0.2:
                self.world.seconds_from_now(0.0, self._make_call(batch_id, reference, each))

    def stop(self, batch_id: str) -> None:
        """A batch was cancelled: what has not ended never will otherwise."""
        for (batch, _), end in self.ends.items():
            if batch == batch_id and end.at > self.world.time:
                end.status, end.code, end.at = "Cancelled", 407, self.world.time

    def of_copy(self, name: str, number: str) -> set[str]:
        """The ends of all copies that a number was sent of an order."""
        return {
            end.status.lower()
            for (_, who), end in self.ends.items()
            if who == number and end.of == name
        }

    def list_batch(self, batch_id: str, reference: str) -> BatchReport:
        """The full report of a batch at this moment."""
        told = [
            StatusCount(*self._look(end), count=1, recipients=(who,))
            for (batch, who), end in self.ends.items()
            if batch == batch_id
        ]
        return BatchReport(batch_id, len(told), tuple(told), client_reference=reference)

    def _look(self, end: End) -> tuple[str, int]:
        return (end.status, end.code) if end.at <= self.world.time else ("Dispatched", 401)

    def _make_call(self, batch_id: str, reference: str, number: str) -> Callable[[], None]:
        def call() -> None:
            status, code = self._look(self.ends[batch_id, number])
            fields = {
                "type": "recipient_delivery_report_sms",
                "batch_id": batch_id,
                "recipient": number.lstrip("+"),
                "status": status,
                "code": code,
                "at": format_time(self.world.tell_time(self.world.time)),
                "client_reference": reference,
            }
            if self.tell:
                self.tell(json.dumps(fields).encode())

        return call
