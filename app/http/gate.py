"""Gate for expensive requests: a few run at a time, the others are asked to come back.

Each thread of the process can have a request.  Without the gate, all of them at once may build
large JSON bodies or fill personal texts, and exhaust the memory or delay small requests.
"""

import time
from http import HTTPStatus
from threading import Lock

from flask import Flask, current_app, g, has_request_context

from app.errors import ClarionError

# Units that requests may hold together: 20 MB of JSON, or this many expensive computations.  A
# larger request runs alone: a million recipients are 16 MB.
CAPACITY = 4
BYTES_PER_UNIT = 5_000_000
# A smaller body costs nothing.
FREE_BYTES = 1_000_000
RETRY_AFTER_S = 2
# A client that was refused goes first, if it comes back within this time.
_TURN_KEPT_S = 2.0 * RETRY_AFTER_S


class Overloaded(ClarionError):
    """Too many expensive requests run: nothing was done, the request may be repeated."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class CapacityGate:
    """Units of capacity that running requests hold, and the clients that were refused, in order."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity, self._used = capacity, 0
        self._refused: dict[str, tuple[int, float]] = {}
        self._lock = Lock()

    def take(self, units: int, *, client: str, held: int = 0) -> bool:
        """Take units, beside those that the request holds.  Returns False if there is no room."""
        now = time.monotonic()
        with self._lock:
            first = self._find_first(now, client)
            others = self._used - held
            if others and self._used + units + first > self._capacity:
                self._refused[client] = (units, now + _TURN_KEPT_S)
                return False
            self._refused.pop(client, None)
            self._used += units
            return True

    def give_back(self, units: int) -> None:
        """Return the units of a request that has ended."""
        with self._lock:
            self._used -= units

    def _find_first(self, now: float, client: str) -> int:
        """Return the units wanted by the client whose turn it is; 0 if it is this client's."""
        self._refused = {name: turn for name, turn in self._refused.items() if turn[1] > now}
        name, (units, _) = next(iter(self._refused.items()), (client, (0, 0.0)))
        return 0 if name == client else min(units, self._capacity)


def guard_capacity(app: Flask) -> None:
    """Give the app its gate; what a request reserves is returned when it ends."""
    gate = app.extensions["gate"] = CapacityGate()

    def give_back(_: BaseException | None) -> None:
        if units := g.pop("reserved_units", 0):
            gate.give_back(units)

    app.teardown_request(give_back)


def reserve_capacity(units: int = 1) -> None:
    """Reserve capacity for the rest of the current request; call it before the cost arises.

    A request keeps the largest number of units that it reserved: further calls only add what is
    missing.  Outside of a request this does nothing.  Raises Overloaded (503).
    """
    if not has_request_context():
        return
    gate: CapacityGate = current_app.extensions["gate"]
    held = g.get("reserved_units", 0)
    missing = min(units, CAPACITY) - held
    client = g.client.name if g.get("client") else ""
    if missing <= 0:
        return
    if not gate.take(missing, client=client, held=held):
        raise Overloaded(
            "Too many large or expensive requests are running; nothing was done. Repeat this "
            f"request in {RETRY_AFTER_S} seconds, or make it smaller.",
            retry_after_s=RETRY_AFTER_S,
        )
    g.reserved_units = held + missing


def reserve_for_body(length: int) -> None:
    """Reserve the capacity that a JSON body of this many bytes needs.  Raises Overloaded (503)."""
    if length > FREE_BYTES:
        reserve_capacity(-(-length // BYTES_PER_UNIT))
