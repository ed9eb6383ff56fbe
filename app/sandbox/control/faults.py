"""Faults: answers that a test orders to go wrong."""

import itertools
import random
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from app.sandbox.control.settings import Settings
from app.sandbox.operations import ANY, OPERATIONS

_ACTIONS = ("answer", "cut", "reset", "hang", "half_body", "drip")
_SHAPES = (
    "sinch", "framework", "nested", "problem", "html", "empty", "no_id", "not_json", "huge",
)  # fmt: skip
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+: [^\x00\r\n]*")


class BadFault(ValueError):
    """The definition is invalid; the text begins with the name of the field."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """One ordered fault.

    With `when` "after" the request is carried out before the fault.  `skip` matching requests
    are spared first.
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
    skip: int = 0
    times: int | None = 1
    probability: float = 1.0
    id: int = 0
    hits: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def read_fault(raw: Mapping[str, Any]) -> Fault:
    """Read a definition.  Raises BadFault with the name of the invalid field."""
    for name, value in raw.items():
        _check(name, value)
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

    def match(self, operation: str) -> Fault | None:
        """Return the fault that this request meets and count the hit; None without a fault."""
        with self._lock:
            for fault in self._faults:
                if self._hits(fault, operation):
                    fault.hits += 1
                    return fault
        return None

    def _hits(self, fault: Fault, operation: str) -> bool:
        used_up = fault.times is not None and fault.hits >= fault.times
        if used_up or fault.on not in (ANY, operation):
            return False
        if fault.skip:
            fault.skip -= 1
            return False
        return fault.probability >= 1 or self._random.random() < fault.probability


def _needs_real_body(fault: Fault) -> bool:
    return fault.do in ("half_body", "drip") and fault.status is None and fault.shape is None


def _check(name: str, value: object) -> None:
    if name not in _RULES:
        raise BadFault(f"{name}: no such field")
    is_valid, expected = _RULES[name]
    if not is_valid(value):
        raise BadFault(f"{name}: must be {expected}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_delay(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 3600


def _is_headers(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(v, str | int) and _HEADER.fullmatch(f"{name}: {v}") for name, v in value.items()
    )


_Rule = tuple[Callable[[Any], bool], str]
_RULES: dict[str, _Rule] = {
    "on": (lambda v: v == ANY or v in OPERATIONS, f"{ANY} or one of {', '.join(OPERATIONS)}"),
    "do": (lambda v: v in _ACTIONS, f"one of {', '.join(_ACTIONS)}"),
    "when": (lambda v: v in ("before", "after"), "before or after"),
    "shape": (lambda v: v in _SHAPES, f"one of {', '.join(_SHAPES)}"),
    "status": (lambda v: type(v) is int and 200 <= v <= 599, "a number from 200 to 599"),
    "code": (lambda v: isinstance(v, str), "a text"),
    "text": (lambda v: isinstance(v, str), "a text"),
    "headers": (_is_headers, "an object of header name to value"),
    "delay_s": (_is_delay, "seconds, at most 3600"),
    "byte_delay_s": (_is_delay, "seconds, at most 3600"),
    "skip": (lambda v: type(v) is int and v >= 0, "at least 0"),
    "times": (lambda v: v is None or (type(v) is int and v >= 1), "at least 1, or null"),
    "probability": (lambda v: _is_number(v) and 0 <= v <= 1, "a number from 0 to 1"),
}
