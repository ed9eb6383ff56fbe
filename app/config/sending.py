"""Times and limits of sending: retries, look-ups, reports, expiry."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from app.config.numbers import read_number_rules
from app.config.values import ConfigError, read_int, read_number, read_seconds, read_waits
from app.phone.allowed import NumberRules

# The last look-up takes one more second: 25 in all, where routers time out at 30.
_MAX_REQUEST_S = 24.0
_MIN_BUDGET_S = 2.0
_DAY_S = 86_400.0
_MAX_KEPT_DAYS = 3_650
# Sinch lists texts from phones for 14 days: one that was deleted earlier would be stored anew.
_MIN_INBOUND_DAYS = 15
# As many people as need no approval, however many they are.
NO_APPROVAL = 10**12
_WAITS_WITH_CALLBACKS_S = (600.0, 1800.0, 3600.0, 3 * 3600.0, 6 * 3600.0)
# Fields in seconds that no setting of their name changes.
_NO_SETTING = (
    "budget_s",
    "called_back_waits_s",
    "pace_ahead_s",
    "messages_kept_s",
    "inbounds_kept_s",
    "events_kept_s",
    "idempotency_kept_s",
    "drafts_kept_s",
    "commit_retry_s",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingRules:
    """Times in seconds unless named otherwise; docs/failure-model.md gives the defaults."""

    # Within a request
    budget_s: float = 20.0
    lookup_waits_s: tuple[float, ...] = (0.3, 0.7, 1.0, 1.5)
    # Claims
    lease_s: float = 120.0
    first_byte_within_s: float = 10.0
    sweep_every_s: float = 15.0
    # Batches of unknown outcome
    reconcile_after_s: tuple[float, ...] = (5, 15, 30, 60, 120, 300, 600, 900)
    reconcile_later_every_s: float = 3600.0
    absent_after_s: float = 900.0
    absent_lists: int = 5
    absent_recent_s: float = 300.0
    unreadable_after_s: float = 1800.0
    # Delivery reports
    report_waits_s: tuple[float, ...] = (10, 20, 30, 60, 120, 300, 600, 1800, 3600)
    called_back_waits_s: tuple[float, ...] = report_waits_s
    report_margin_s: float = 6 * 3600.0
    list_inbounds_every_s: float = 300.0
    # Pauses of all sending
    retry_wait_max_s: float = 60.0
    probe_every_s: float = 30.0
    messages_per_second: float | None = None
    pace_ahead_s: float = 2.0
    # Lifetime of broadcasts
    expire_after_s: float = 86_400.0
    max_start_delay_s: float = 3600.0
    repeat_window_s: float = 86_400.0
    repeat_share: float = 0.5
    # A draft of more people needs a second person's approval; by default none does.
    approval_above: int = NO_APPROVAL
    # Retention
    messages_kept_s: float = 30 * _DAY_S
    inbounds_kept_s: float = 30 * _DAY_S
    events_kept_s: float = 2 * _DAY_S
    idempotency_kept_s: float = 30 * _DAY_S
    drafts_kept_s: float = 90 * _DAY_S
    # Retries of a commit
    commit_retry_s: float = 20.0
    numbers: NumberRules = field(default_factory=NumberRules)

    @property
    def messages_kept_days(self) -> int:
        """The days that texts and numbers of broadcasts are kept after all was reported."""
        return round(self.messages_kept_s / _DAY_S)

    @property
    def inbounds_kept_days(self) -> int:
        """The days that texts from phones are kept."""
        return round(self.inbounds_kept_s / _DAY_S)

    @property
    def longest_report_wait_s(self) -> float:
        return max(*self.report_waits_s, *self.called_back_waits_s)


def read_sending_rules(environ: Mapping[str, str]) -> SendingRules:
    """Read the rules, with defaults for unset settings."""
    default = SendingRules()
    named: dict[str, Any] = {}
    for name, value in asdict(default).items():
        if name.endswith("_s") and name not in _NO_SETTING:
            read: Callable[..., Any] = read_waits if isinstance(value, tuple) else read_seconds
            named[name] = read(environ, name.upper(), value)
    rules = SendingRules(
        **named,
        messages_kept_s=_read_days(environ, "MESSAGES_KEPT_DAYS", default.messages_kept_s),
        inbounds_kept_s=_read_days(
            environ, "INBOUNDS_KEPT_DAYS", default.inbounds_kept_s, lowest=_MIN_INBOUND_DAYS
        ),
        events_kept_s=_read_days(environ, "CALLBACKS_KEPT_DAYS", default.events_kept_s),
        idempotency_kept_s=_read_days(environ, "IDEMPOTENCY_KEPT_DAYS", default.idempotency_kept_s),
        drafts_kept_s=_read_days(environ, "DRAFTS_KEPT_DAYS", default.drafts_kept_s),
        budget_s=read_seconds(environ, "SEND_BUDGET_S", default.budget_s),
        called_back_waits_s=read_waits(
            environ, "REPORT_WAITS_S", _choose_called_back_waits(environ, default)
        ),
        messages_per_second=read_number(
            environ, "SINCH_MESSAGES_PER_SECOND", lowest=0.1, highest=100_000
        ),
        approval_above=read_int(environ, "APPROVAL_ABOVE", default.approval_above, lowest=0),
        numbers=read_number_rules(environ),
        repeat_share=read_int(environ, "REPEAT_PERCENT", 50, lowest=1, highest=100) / 100,
    )
    _reject_unsafe(rules)
    return rules


def _read_days(
    environ: Mapping[str, str], name: str, default_s: float, *, lowest: int = 1
) -> float:
    """Read days.  Returns seconds."""
    default = round(default_s / _DAY_S)
    return read_int(environ, name, default, lowest=lowest, highest=_MAX_KEPT_DAYS) * _DAY_S


def _choose_called_back_waits(
    environ: Mapping[str, str], default: SendingRules
) -> tuple[float, ...]:
    """With callbacks, poll only for lost reports, and therefore later."""
    called_back = environ.get("PUBLIC_URL", "").strip()
    return _WAITS_WITH_CALLBACKS_S if called_back else default.called_back_waits_s


def _reject_unsafe(rules: SendingRules) -> None:
    if rules.budget_s < _MIN_BUDGET_S:
        raise ConfigError(f"SEND_BUDGET_S must be at least {_MIN_BUDGET_S:g} seconds")
    if rules.budget_s + sum(rules.lookup_waits_s) > _MAX_REQUEST_S:
        raise ConfigError(
            f"SEND_BUDGET_S and LOOKUP_WAITS_S must be {_MAX_REQUEST_S:g} seconds together at "
            "most, or a router times out before we answer"
        )
    if list(rules.reconcile_after_s) != sorted(rules.reconcile_after_s):
        raise ConfigError("RECONCILE_AFTER_S must be in ascending order")
    if rules.expire_after_s > 3 * 86_400:
        raise ConfigError("EXPIRE_AFTER_S must be 3 days at most, as long as Sinch keeps a batch")
