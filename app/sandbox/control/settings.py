"""Settings of the sandbox, with validation."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, get_args, get_type_hints

_TYPE_NAMES: dict[type, str] = {int: "a whole number", float: "a number", str: "a text"}
_TEN_YEARS_S = 3650 * 24 * 3600.0
_RANGES = {
    "callback_copies": (1, 100),
    "callback_lost_probability": (0, 1),
    "messages_per_second": (0.001, 1e9),
}
_FAILURES = ("Failed", "Expired", "Rejected", "Aborted", "Unknown", "Deleted", "Dispatched")


class BadSetting(ValueError):
    """A setting's name is unknown or its value is invalid; nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings at one time.  A batch keeps the settings it was accepted under."""

    # The account
    plan_id: str = "sandbox"
    token: str = "sandbox"  # noqa: S105 (opens nothing but the sandbox)
    messages_per_second: float | None = None
    callback_url: str | None = None
    inbound_url: str | None = None
    hmac_secret: str | None = None
    callback_basic: str | None = None

    # Outcomes
    dispatch_after_s: float = 0.05
    deliver_after_s: float = 0.1
    outcome_probabilities: dict[str, float] = field(default_factory=dict)
    seed: int = 0

    # Lists
    list_delay_s: float = 0.0

    # Callbacks
    callback_copies: int = 1
    callback_lost_probability: float = 0.0
    callback_delay_s: float = 0.0
    retry_base_s: float = 5.0

    def change(self, changes: Mapping[str, object]) -> "Settings":
        """Return a copy with these settings.  Raises BadSetting with the first invalid one."""
        for name, value in changes.items():
            _check(name, value)
        return replace(self, **dict(changes))  # type: ignore[arg-type]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


_TYPES = get_type_hints(Settings)
_NAMES = {field.name for field in fields(Settings)}


def _check(name: str, value: Any) -> None:
    if name not in _NAMES:
        raise BadSetting(f"{name}: no such setting")
    types = get_args(_TYPES[name]) or (_TYPES[name],)
    if name == "outcome_probabilities":
        _check_probabilities(name, value)
    elif value is None:
        _require(type(None) in types, name, "not null")
    elif types[0] is float:
        _require(_is_number(value), name, _TYPE_NAMES[float])
        _check_range(name, value)
    else:
        _require(type(value) is types[0] and value != "", name, _TYPE_NAMES[types[0]])
        if types[0] is int and name != "seed":
            _check_range(name, value)


def _check_range(name: str, value: float) -> None:
    # At most ten years: sums of times and operating systems' waits have limits.
    minimum, maximum = _RANGES.get(name, (0, _TEN_YEARS_S))
    _require(minimum <= value <= maximum, name, f"from {minimum} to {maximum:g}")


def _check_probabilities(name: str, value: Any) -> None:
    valid = isinstance(value, dict) and all(
        status in _FAILURES and _is_number(probability) and 0 <= probability <= 1
        for status, probability in value.items()
    )
    _require(
        valid and sum(value.values()) <= 1,
        name,
        f"an object of {', '.join(_FAILURES)} to 0..1, together at most 1",
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _require(valid: bool, name: str, expected: str) -> None:
    if not valid:
        raise BadSetting(f"{name}: must be {expected}")
