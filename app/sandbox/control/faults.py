"""Faults: answers that a test orders to go wrong."""

import itertools
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from marshmallow import Schema, fields, validate

from app.sandbox.control.rules import Number, Text, load_order
from app.sandbox.control.settings import Settings
from app.sandbox.operations import ANY, OPERATIONS

_SHAPES = "sinch", "framework", "nested", "problem", "html", "empty", "no_id", "not_json", "huge"


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
    fault = Fault(**load_order(_Definition(), raw))
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


class _Definition(Schema):
    on = fields.String(validate=validate.OneOf((ANY, *OPERATIONS)))
    do = fields.String(
        validate=validate.OneOf(("answer", "cut", "reset", "hang", "half_body", "drip"))
    )
    when = fields.String(validate=validate.OneOf(("before", "after")))
    status = fields.Integer(strict=True, validate=validate.Range(200, 599))
    shape = fields.String(validate=validate.OneOf(_SHAPES))
    code = Text()
    text = Text()
    headers = fields.Dict(
        fields.String(validate=validate.Regexp(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")),
        fields.String(validate=validate.Regexp(r"[^\x00\r\n]*\Z")),
    )
    delay_s = Number(0, 3600)
    byte_delay_s = Number(0, 3600)
    body_has = Text()
    skip = fields.Integer(strict=True, validate=validate.Range(0, 1_000_000))
    times = fields.Integer(strict=True, allow_none=True, validate=validate.Range(1, 1_000_000))
    probability = Number(0, 1)
