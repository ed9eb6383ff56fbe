"""Answers that go wrong to order."""

import itertools
import random
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from app.sandbox.control.settings import Settings
from app.sandbox.operations import ANY, OPERATIONS

WAYS = ("answer", "cut", "reset", "hang", "half_body", "drip")
MOMENTS = ("before", "after")
SHAPES = (
    "sinch", "framework", "nested", "description", "problem", "html", "empty", "no_id",
    "not_json", "huge",
)  # fmt: skip
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+: [^\x00\r\n]*")


class BadFault(ValueError):
    """The definition does not fit; the text begins with the field at fault."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """One order.  ``when`` after means the request is really carried out first; ``skip``
    requests it would hit are spared before."""

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

    @property
    def spent(self) -> bool:
        return self.times is not None and self.hits >= self.times

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def read_fault(raw: Mapping[str, Any]) -> Fault:
    """The fault a definition describes.  BadFault names the field that does not fit."""
    for name, value in raw.items():
        _check(name, value)
    fault = Fault(**{**raw, "headers": _texts(raw.get("headers", {}))})
    # A body can only be cut short when there is one: the real one, unless a fake was ordered.
    fault.when = fault.when or ("after" if _needs_real_body(fault) else "before")
    return fault


class Faults:
    """The pending orders, tried in the order they came."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._pending: list[Fault] = []
        self.reseed()

    def order(self, fault: Fault) -> Fault:
        with self._lock:
            fault.id = next(self._ids)
            self._pending.append(fault)
        return fault

    def all(self) -> list[Fault]:
        """Every order since the last clearing, spent ones too, with how often each has hit."""
        return list(self._pending)

    def clear(self) -> None:
        with self._lock:
            self._pending.clear()

    def reseed(self) -> None:
        self._random = random.Random(self._settings().seed)  # noqa: S311 (repeatable, not secret)

    def strike(self, operation: str) -> Fault | None:
        """The fault this request meets, counted as a hit; None when it is spared."""
        with self._lock:
            for fault in self._pending:
                if self._hits(fault, operation):
                    fault.hits += 1
                    return fault
            return self._lost_answer(operation)

    def _hits(self, fault: Fault, operation: str) -> bool:
        if fault.spent or fault.on not in (ANY, operation):
            return False
        if fault.skip:
            fault.skip -= 1
            return False
        return fault.probability >= 1 or self._random.random() < fault.probability

    def _lost_answer(self, operation: str) -> Fault | None:
        probability = self._settings().lost_answer_probability
        if operation != "POST /batches" or not probability:
            return None
        lost = self._random.random() < probability
        return Fault(on=operation, when="after", do="cut") if lost else None


def _needs_real_body(fault: Fault) -> bool:
    return fault.do in ("half_body", "drip") and fault.status is None and fault.shape is None


def _texts(headers: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in headers.items()}


def _check(name: str, value: object) -> None:
    if name not in _RULES:
        raise BadFault(f"{name}: no such field")
    fits, expected = _RULES[name]
    if not fits(value):
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
    "do": (lambda v: v in WAYS, f"one of {', '.join(WAYS)}"),
    "when": (lambda v: v in MOMENTS, f"one of {', '.join(MOMENTS)}"),
    "shape": (lambda v: v in SHAPES, f"one of {', '.join(SHAPES)}"),
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
