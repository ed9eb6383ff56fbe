"""What becomes of a message.  Pure: number, text and settings in, fate out."""

import hashlib
from typing import NamedTuple

from app.sandbox.control.settings import Settings

FINAL = frozenset({
    "Aborted", "Cancelled", "Rejected", "Deleted", "Delivered", "Failed", "Expired", "Unknown",
})  # fmt: skip
STATUSES = FINAL | {"Queued", "Dispatched"}


class Fate(NamedTuple):
    """A message's end, as decided when its batch is accepted."""

    status: str
    code: int
    late: bool = False

    @property
    def reaches_a_carrier(self) -> bool:
        return self.status != "Aborted"


class Change(NamedTuple):
    """From this moment on the message has this status."""

    at: float
    status: str
    code: int


DELIVERED = Fate("Delivered", 0)
NO_PARAMETER = Fate("Aborted", 405)
NO_ORIGINATOR = Fate("Aborted", 410)
TOO_MANY_PARTS = Fate("Aborted", 411)

_MAGIC = {
    "00": DELIVERED,
    "01": Fate("Failed", 150),
    "02": Fate("Expired", 153),
    "03": Fate("Rejected", 15),
    "04": Fate("Delivered", 0, late=True),
    "05": Fate("Failed", 257),
    "06": Fate("Aborted", 402),
    "07": Fate("Dispatched", 401),
    "08": Fate("Unknown", 0),
    "09": Fate("Deleted", 0),
    "10": Fate("Aborted", 404),
    "11": Fate("Aborted", 413),
    "12": Fate("Aborted", 412),
    "13": Fate("Rejected", 62),
    "14": Fate("Failed", 203),
}
# They are delivered, and answer.
_REPLIES = {"20": "STOP", "21": "START", "22": "Thank you ✓"}
_USUAL_CODES = {
    "Failed": 150, "Expired": 153, "Rejected": 15, "Aborted": 402, "Unknown": 0, "Deleted": 0,
    "Dispatched": 401,
}  # fmt: skip


def fate_of(number: str, settings: Settings) -> Fate:
    """How a message to these digits ends, as far as the number decides.

    >>> fate_of("12015550106", Settings()), fate_of("46700000001", Settings()).status
    (Fate(status='Aborted', code=402, late=False), 'Delivered')
    """
    fate = _MAGIC.get(number[9:]) if _is_magic(number) else _drawn(number, settings)
    if fate is None:
        return DELIVERED
    if fate.status == "Failed" and settings.code_zero_with_failed:
        return fate._replace(code=0)
    return fate


def reply_from(number: str) -> str | None:
    """What the person with these digits answers to a text; None who answers nothing.

    >>> reply_from("12015550120"), reply_from("12015550100")
    ('STOP', None)
    """
    return _REPLIES.get(number[9:]) if _is_magic(number) else None


def _is_magic(number: str) -> bool:
    return len(number) == 11 and number[0] == "1" and number[4:9] == "55501"


def _drawn(number: str, settings: Settings) -> Fate | None:
    """The lot drawn for an ordinary number: the same every time for the same seed."""
    if not settings.outcome_probabilities:
        return None
    digest = hashlib.blake2b(f"{settings.seed}:{number}".encode(), digest_size=8).digest()
    left = int.from_bytes(digest) / 2**64
    for status, probability in settings.outcome_probabilities.items():
        if left < probability:
            return Fate(status, _USUAL_CODES[status])
        left -= probability
    return None


def course_of(
    fate: Fate,
    *,
    dispatch_at: float,
    expire_at: float,
    cancelled_at: float | None,
    settings: Settings,
) -> list[Change]:
    """What happens to a queued message, in order: at most a dispatch and an end."""
    if cancelled_at is not None and cancelled_at < dispatch_at and cancelled_at < expire_at:
        return [Change(cancelled_at, "Cancelled", 407)]
    if dispatch_at > expire_at:
        return [Change(expire_at, "Aborted", 406)]
    if not fate.reaches_a_carrier:
        return [Change(dispatch_at, fate.status, fate.code)]
    end = _end_of(fate, dispatch_at=dispatch_at, expire_at=expire_at, settings=settings)
    if settings.skip_dispatched and end is not None:
        return [end]
    dispatched = Change(dispatch_at, "Dispatched", 401)
    return [dispatched] if end is None else [dispatched, end]


def _end_of(
    fate: Fate, *, dispatch_at: float, expire_at: float, settings: Settings
) -> Change | None:
    if fate.status not in FINAL:
        return None
    at = dispatch_at + (settings.late_after_s if fate.late else settings.deliver_after_s)
    return Change(expire_at, "Expired", 153) if at > expire_at else Change(at, *fate[:2])
