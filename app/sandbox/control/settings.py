"""Settings of the sandbox, with validation."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from app.sandbox.control.rules import Number, Seconds, Text, load_order

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
        return replace(self, **load_order(_Changes(), changes))

    def show(self) -> dict[str, Any]:
        """Return the settings as JSON, without the values of secrets."""
        secrets = {name: _HIDDEN for name in _SECRETS if getattr(self, name) is not None}
        return asdict(self) | secrets


def _check_sum(probabilities: Mapping[str, float]) -> None:
    if sum(probabilities.values()) > 1:
        raise ValidationError("Must be 1 together, at most.")


class _Changes(Schema):
    plan_id = Text()
    token = Text()
    messages_per_second = Number(0.001, 1e9, allow_none=True)
    callback_url = Text(allow_none=True)
    inbound_url = Text(allow_none=True)
    hmac_secret = Text(allow_none=True)
    callback_basic = Text(allow_none=True)
    dispatch_after_s = Seconds()
    deliver_after_s = Seconds()
    outcome_probabilities = fields.Dict(
        fields.String(validate=validate.OneOf(_FAILURES)), Number(0, 1), validate=_check_sum
    )
    seed = fields.Integer(strict=True)
    list_delay_s = Seconds()
    callback_copies = fields.Integer(strict=True, validate=validate.Range(1, 100))
    callback_lost_probability = Number(0, 1)
    callback_delay_s = Seconds()
    retry_base_s = Seconds()
