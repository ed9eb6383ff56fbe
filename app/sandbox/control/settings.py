"""Settings of the sandbox, with validation."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from app.sandbox.control.rules import (
    SECONDS,
    TEXT,
    Rule,
    check_fields,
    integer,
    is_number,
    number,
    optional,
)

_SECRETS, _HIDDEN = ("hmac_secret", "callback_basic"), "set, but not shown"
_FAILURES = ("Failed", "Expired", "Rejected", "Aborted", "Unknown", "Deleted", "Dispatched")


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
        """Return a copy with these settings.  Raises ApiError with the first invalid one."""
        check_fields(changes, _RULES)
        return replace(self, **dict(changes))  # type: ignore[arg-type]

    def show(self) -> dict[str, Any]:
        """Return the settings as JSON, without the values of secrets."""
        secrets = {name: _HIDDEN for name in _SECRETS if getattr(self, name) is not None}
        return asdict(self) | secrets


def _are_probabilities(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() <= set(_FAILURES)
        and all(is_number(probability) and probability >= 0 for probability in value.values())
        and sum(value.values()) <= 1
    )


_RULES: dict[str, Rule] = {
    "plan_id": TEXT,
    "token": TEXT,
    "messages_per_second": optional(number(0.001, 1e9)),
    "callback_url": optional(TEXT),
    "inbound_url": optional(TEXT),
    "hmac_secret": optional(TEXT),
    "callback_basic": optional(TEXT),
    "dispatch_after_s": SECONDS,
    "deliver_after_s": SECONDS,
    "outcome_probabilities": (
        _are_probabilities,
        f"an object of {', '.join(_FAILURES)} to 0..1, together at most 1",
    ),
    "seed": (lambda value: type(value) is int, "a whole number"),
    "list_delay_s": SECONDS,
    "callback_copies": integer(1, 100),
    "callback_lost_probability": number(0, 1),
    "callback_delay_s": SECONDS,
    "retry_base_s": SECONDS,
}
