"""Outcome and status timeline of a message, as pure functions of number, text and settings."""

import hashlib
from typing import NamedTuple

from app.sandbox.control.settings import Settings

FINAL = frozenset({
    "Aborted", "Cancelled", "Rejected", "Deleted", "Delivered", "Failed", "Expired", "Unknown",
})  # fmt: skip
_LATE_AFTER_S = 3600.0


class Outcome(NamedTuple):
    """The last status of a message, as decided when its batch is accepted."""

    status: str
    code: int
    late: bool = False


class StatusChange(NamedTuple):
    """The status that a message has from the time `at` on, in Unix seconds."""

    at: float
    status: str
    code: int


DELIVERED = Outcome("Delivered", 0)
NO_PARAMETER = Outcome("Aborted", 405)
TOO_MANY_PARTS = Outcome("Aborted", 411)

_MAGIC = {
    "00": DELIVERED,
    "01": Outcome("Failed", 150),
    "02": Outcome("Expired", 153),
    "03": Outcome("Rejected", 15),
    "04": Outcome("Delivered", 0, late=True),
    "05": Outcome("Failed", 257),
    "06": Outcome("Aborted", 402),
    "07": Outcome("Dispatched", 401),
    "08": Outcome("Unknown", 0),
    "09": Outcome("Deleted", 0),
    "10": Outcome("Aborted", 404),
    "11": Outcome("Aborted", 413),
    "12": Outcome("Aborted", 412),
    "13": Outcome("Rejected", 62),
    "14": Outcome("Failed", 203),
}
_AUTO_REPLIES = {"20": "STOP", "21": "START", "22": "Thank you ✓"}
_USUAL_CODES = {
    "Failed": 150, "Expired": 153, "Rejected": 15, "Aborted": 402, "Unknown": 0, "Deleted": 0,
    "Dispatched": 401,
}  # fmt: skip


def choose_outcome(number: str, settings: Settings) -> Outcome:
    """Return the outcome that the number's digits and the settings decide.

    >>> choose_outcome("12015550106", Settings())
    Outcome(status='Aborted', code=402, late=False)
    >>> choose_outcome("46700000001", Settings()).status
    'Delivered'
    """
    if _is_magic(number):
        return _MAGIC.get(number[9:], DELIVERED)
    return _draw_outcome(number, settings)


def find_auto_reply(number: str) -> str | None:
    """Return the text that this magic number answers with; None for a number that does not answer.

    >>> find_auto_reply("12015550120"), find_auto_reply("12015550100")
    ('STOP', None)
    """
    return _AUTO_REPLIES.get(number[9:]) if _is_magic(number) else None


def _is_magic(number: str) -> bool:
    return len(number) == 11 and number[0] == "1" and number[4:9] == "55501"


def _draw_outcome(number: str, settings: Settings) -> Outcome:
    """Draw from `outcome_probabilities`: a seed and a number always give one outcome."""
    digest = hashlib.blake2b(f"{settings.seed}:{number}".encode(), digest_size=8).digest()
    remaining = int.from_bytes(digest) / 2**64
    for status, probability in settings.outcome_probabilities.items():
        if remaining < probability:
            return Outcome(status, _USUAL_CODES[status])
        remaining -= probability
    return DELIVERED


def build_timeline(
    outcome: Outcome,
    *,
    dispatch_at: float,
    expire_at: float,
    cancelled_at: float | None,
    deliver_after_s: float,
) -> list[StatusChange]:
    """Return the changes after Queued, in order: at most a dispatch and a final status."""
    if cancelled_at is not None and cancelled_at < dispatch_at and cancelled_at < expire_at:
        return [StatusChange(cancelled_at, "Cancelled", 407)]
    if dispatch_at > expire_at:
        return [StatusChange(expire_at, "Aborted", 406)]
    if outcome.status == "Aborted":
        return [StatusChange(dispatch_at, outcome.status, outcome.code)]
    dispatched = StatusChange(dispatch_at, "Dispatched", 401)
    if outcome.status not in FINAL:
        return [dispatched]
    final_at = dispatch_at + (_LATE_AFTER_S if outcome.late else deliver_after_s)
    if final_at > expire_at:
        return [dispatched, StatusChange(expire_at, "Expired", 153)]
    return [dispatched, StatusChange(final_at, outcome.status, outcome.code)]
