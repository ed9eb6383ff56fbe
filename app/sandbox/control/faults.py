"""Faults: answers that a test orders to go wrong."""

import itertools
import random
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.sandbox.control.rules import (
    TEXT,
    Rule,
    check_fields,
    choice,
    integer,
    number,
    optional,
)
from app.sandbox.control.settings import Settings
from app.sandbox.operations import ANY, OPERATIONS

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+: [^\x00\r\n]*")


@dataclass(slots=True, kw_only=True)
class Fault:
    """One ordered fault.

    With `when` "after" the request is carried out before the fault.  Only requests whose body
    contains `body_has` match; `skip` matching requests are spared first.
    """

    on: str = ANY
    do: str = "answer"
    when: str = ""
    status: int | None = None
    shape: str | None = None
    code: str | None = None
    text: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    byte_delay_s: float = 0.02
    body_has: str = ""
    skip: int = 0
    times: int | None = 1
    probability: float = 1.0
    id: int = 0
    hits: int = 0


def read_fault(raw: Mapping[str, Any]) -> Fault:
    """Read a definition.  Raises ApiError with the name of the invalid field."""
    check_fields(raw, _RULES)
    headers = {name: str(value) for name, value in raw.get("headers", {}).items()}
    fault = Fault(**{**raw, "headers": headers})
    # Only a body that exists can be cut short: the real one, unless the fault defines its own.
    fault.when = fault.when or ("after" if _needs_real_body(fault) else "before")
    return fault


class Faults:
    """The ordered faults, tried in the order of their arrival."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._faults: list[Fault] = []
        self.reseed()

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            fault.id = next(self._ids)
            self._faults.append(fault)
        return fault

    def list_faults(self) -> list[Fault]:
        """Return all faults since the last clearing, used up ones too, with their hits."""
        return list(self._faults)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def reseed(self) -> None:
        """Restart the random sequence from the seed in the settings."""
        self._random = random.Random(self._settings().seed)  # noqa: S311 (repeatable, not secret)

    def match(self, operation: str, body: bytes = b"") -> Fault | None:
        """Return the fault that this request meets and count the hit; None without a fault."""
        with self._lock:
            for fault in self._faults:
                if self._hits(fault, operation, body):
                    fault.hits += 1
                    return fault
        return None

    def _hits(self, fault: Fault, operation: str, body: bytes) -> bool:
        used_up = fault.times is not None and fault.hits >= fault.times
        if used_up or fault.on not in (ANY, operation) or fault.body_has.encode() not in body:
            return False
        if fault.skip:
            fault.skip -= 1
            return False
        return fault.probability >= 1 or self._random.random() < fault.probability


def _needs_real_body(fault: Fault) -> bool:
    return fault.do in ("half_body", "drip") and fault.status is None and fault.shape is None


def _are_headers(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(v, str | int) and _HEADER.fullmatch(f"{name}: {v}") for name, v in value.items()
    )


_DELAY_S = number(0, 3600)
_RULES: dict[str, Rule] = {
    "on": choice(ANY, *OPERATIONS),
    "do": choice("answer", "cut", "reset", "hang", "half_body", "drip"),
    "when": choice("before", "after"),
    "shape": choice(
        "sinch", "framework", "nested", "problem", "html", "empty", "no_id", "not_json", "huge"
    ),
    "status": integer(200, 599),
    "code": TEXT,
    "text": TEXT,
    "headers": (_are_headers, "an object of header name to value"),
    "delay_s": _DELAY_S,
    "byte_delay_s": _DELAY_S,
    "body_has": TEXT,
    "skip": integer(0, 1_000_000),
    "times": optional(integer(1, 1_000_000)),
    "probability": number(0, 1),
}
