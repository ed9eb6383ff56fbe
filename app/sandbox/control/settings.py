"""Every switch of the sandbox: what Sinch leaves open, and what a test wants different."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args, get_type_hints

_KINDS: dict[type, str] = {
    bool: "true or false", int: "a whole number", float: "a number", str: "a text",
}  # fmt: skip


_TEN_YEARS_S = 3650 * 24 * 3600
_LEAST = {"callback_copies": 1, "default_max_parts": 1, "callback_timeout_s": 0.001}
_MOST = {"callback_copies": 100, "callback_timeout_s": 3600, "callback_lost_probability": 1}


class BadSetting(ValueError):
    """The name is unknown or the value does not fit; nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One state of all switches.  A batch keeps the state it was accepted under."""

    # The account
    plan_id: str = "sandbox"
    token: str = "sandbox"  # noqa: S105 (opens nothing but the sandbox)
    messages_per_second: float | None = None
    callback_url: str | None = None
    inbound_url: str | None = None
    own_number: str = "12015550199"
    hmac_secret: str | None = None
    callback_basic: str | None = None
    hmac_algorithm: Literal["HmacSHA256", "HmacSHA384", "HmacSHA512"] = "HmacSHA256"
    default_originators: dict[str, str] = field(default_factory=dict)
    default_max_parts: int | None = None
    auto_encoding: bool = False
    report_operator: str | None = None

    # What becomes of a message
    dispatch_after_s: float = 0.05
    deliver_after_s: float = 0.1
    late_after_s: float = 3600.0
    skip_dispatched: bool = False
    code_zero_with_failed: bool = False
    outcome_probabilities: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    reply_after_s: float = 0.05
    reply_bears_reference: bool = False

    # Sending
    duplicates_in_to: Literal["collapse", "send_twice"] = "collapse"
    expire_at_beyond_max: Literal["refuse", "clamp"] = "refuse"
    max_body: int = 2000
    max_client_reference: int = 2048
    max_parameter_name: int = 16
    max_parameter_value: int = 160
    max_send_at_ahead_s: float | None = None
    lost_answer_probability: float = 0.0

    # Reading back
    list_delay_s: float = 0.0
    list_order: Literal["newest_first", "oldest_first"] = "newest_first"
    not_loaded_s: float = 0.0
    retention_days: float = 14.0
    plus_in_numbers: bool = False
    codes_as_strings: bool = False
    dry_run_encodings: Literal["text_unicode", "gsm_unicode"] = "text_unicode"
    cancel_conflict: Literal["never", "too_late", "already_cancelled", "both"] = "both"
    retry_after_s: float | None = None
    retry_after_form: Literal["seconds", "date"] = "seconds"

    # Callbacks
    callback_timeout_s: float = 10.0
    callback_copies: int = 1
    callback_repeat_probability: float = 0.0
    callback_lost_probability: float = 0.0
    callback_delay_s: float = 0.0
    callbacks_out_of_order: bool = False
    callback_on_3xx: Literal["drop", "retry"] = "drop"
    callback_on_no_answer: Literal["drop", "retry"] = "retry"
    retry_base_s: float = 5.0
    retry_ladder: Literal["delays", "offsets"] = "delays"
    retry_signature: Literal["fresh", "repeated"] = "fresh"

    def changed(self, changes: Mapping[str, object]) -> "Settings":
        """The same with some switches moved.  BadSetting names the first that cannot be."""
        for name, value in changes.items():
            _check(name, value)
        return replace(self, **dict(changes))  # type: ignore[arg-type]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


_HINTS = get_type_hints(Settings)
_NAMES = {f.name for f in fields(Settings)}


def _check(name: str, value: object) -> None:
    if name not in _NAMES:
        raise BadSetting(f"{name}: no such setting")
    hint = _HINTS[name]
    if name == "outcome_probabilities":
        _check_probabilities(name, value)
    elif name == "default_originators":
        _check_texts(name, value)
    elif choices := _choices(hint):
        _require(value in choices, name, f"one of {', '.join(choices)}")
    elif value is None:
        _require(type(None) in get_args(hint), name, "not null")
    else:
        _check_plain(name, value, (get_args(hint) or (hint,))[0])


def _choices(hint: Any) -> tuple[str, ...]:
    return tuple(a for a in get_args(hint) if isinstance(a, str))


def _check_plain(name: str, value: Any, kind: type) -> None:
    if kind is float:
        _require(_is_number(value), name, _KINDS[kind])
    else:
        _require(type(value) is kind and value != "", name, _KINDS[kind])
    if kind in (int, float) and name != "seed":
        _check_range(name, value)


def _check_range(name: str, value: float) -> None:
    least = 1 if name.startswith("max_") else _LEAST.get(name, 0)
    _require(value >= least, name, f"at least {least}")
    # Room for sums of times, and for what operating systems take as a wait.
    most = _MOST.get(name, _TEN_YEARS_S)
    _require(value <= most, name, f"at most {most}")
    if name.endswith("_probability"):
        _require(value <= 1, name, "at most 1")
    if name == "messages_per_second":
        _require(value > 0, name, "above 0")


def _check_probabilities(name: str, value: Any) -> None:
    statuses = {"Failed", "Expired", "Rejected", "Aborted", "Unknown", "Deleted", "Dispatched"}
    fits = isinstance(value, dict) and all(
        k in statuses and _is_number(v) and 0 <= v <= 1 for k, v in value.items()
    )
    _require(
        fits and sum(value.values()) <= 1,
        name,
        f"an object of {', '.join(sorted(statuses))} to 0..1, together at most 1",
    )


def _check_texts(name: str, value: object) -> None:
    fits = isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
    _require(fits, name, "an object of number prefix to sender")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _require(fits: bool, name: str, expected: str) -> None:
    if not fits:
        raise BadSetting(f"{name}: must be {expected}")
