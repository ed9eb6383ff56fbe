"""Statuses of a message, and the meaning of Sinch's statuses and codes.

The status decides, the code explains.  Of several reports on a message the one that ranks highest
stays, in any order and however often they come.
"""

from dataclasses import dataclass
from enum import StrEnum


class MessageStatus(StrEnum):
    """Statuses of one recipient's copy; each recipient has exactly one."""

    PENDING = "pending"  # not handed to Sinch yet
    SUBMITTED = "submitted"  # Sinch has it; no final status yet
    DELIVERED = "delivered"  # it reached the phone, as far as the carrier says
    FAILED = "failed"  # the carrier could not deliver it
    REJECTED = "rejected"  # rejected by Sinch or by the carrier
    EXPIRED = "expired"  # it expired before it reached the phone
    ABORTED = "aborted"  # stopped at Sinch before it reached a carrier
    CANCELLED = "cancelled"  # cancelled at Sinch on our request
    DELETED = "deleted"  # deleted by the carrier: a wrong number, or one that opted out
    UNKNOWN = "unknown"  # sent, but no final status came in time
    SUPPRESSED = "suppressed"  # not sent: the recipient is excluded
    INVALID = "invalid"  # not sent: not a phone number
    DUPLICATE = "duplicate"  # not sent: listed more than once in the request
    HELD = "held"  # not sent yet: Sinch refuses our account or the sender
    UNCONFIRMED = "unconfirmed"  # it may have been sent; Sinch or an operator will tell
    ABANDONED = "abandoned"  # an operator decided not to send it again; it may have been sent


_M = MessageStatus

# Sinch's statuses in lower case.
_FROM_SINCH: dict[str, MessageStatus] = {
    "queued": _M.SUBMITTED,
    "dispatched": _M.SUBMITTED,
    "delivered": _M.DELIVERED,
    "failed": _M.FAILED,
    "rejected": _M.REJECTED,
    "expired": _M.EXPIRED,
    "aborted": _M.ABORTED,
    "cancelled": _M.CANCELLED,
    "canceled": _M.CANCELLED,
    "deleted": _M.DELETED,
    "unknown": _M.UNKNOWN,
}

# A reported status may only go up.  UNKNOWN means no report came; DELIVERED is proof.
_RANKS: dict[MessageStatus, int] = {
    _M.SUBMITTED: 1,
    _M.UNKNOWN: 2,
    _M.CANCELLED: 3,
    _M.ABORTED: 4,
    _M.EXPIRED: 5,
    _M.REJECTED: 6,
    _M.DELETED: 7,
    _M.FAILED: 8,
    _M.DELIVERED: 9,
}

REPORTED = frozenset(_RANKS)
ENDED = REPORTED - {_M.SUBMITTED}
# Proven not to have reached the phone.
NOT_REACHED = frozenset((_M.FAILED, _M.REJECTED, _M.EXPIRED, _M.ABORTED, _M.CANCELLED, _M.DELETED))


def translate_status(status: str) -> MessageStatus:
    """Translate a status of Sinch's.  An unlisted one counts as SUBMITTED, which is not final.

    >>> translate_status("Delivered"), translate_status("Teleported")
    (<MessageStatus.DELIVERED: 'delivered'>, <MessageStatus.SUBMITTED: 'submitted'>)
    """
    return _FROM_SINCH.get(status.lower(), _M.SUBMITTED)


def rank_status(status: MessageStatus) -> int:
    """Return the rank of a reported status; the higher rank wins."""
    return _RANKS[status]


@dataclass(frozen=True, slots=True)
class Reason:
    """Explanation of a status; `retry` is True if sending again may help."""

    sentence: str
    retry: bool


_TEMPORARY = "a temporary error; it may be sent again"
_PERMANENT = "sending it again will not help"

_BY_CODE: dict[int, Reason] = {
    400: Reason("Waiting at Sinch.", retry=False),
    401: Reason("Handed to a carrier.", retry=False),
    402: Reason("No carrier is known for this number.", retry=False),
    403: Reason("Sinch had an internal error.", retry=True),
    404: Reason("Sinch could not deliver it for the moment.", retry=True),
    405: Reason("The text has a placeholder without a value for this recipient.", retry=False),
    406: Reason("It expired while it waited at Sinch.", retry=True),
    407: Reason("Cancelled before it was handed on.", retry=True),
    408: Reason("Sinch refused it.", retry=False),
    410: Reason("No sender fits this recipient's country.", retry=False),
    411: Reason("The text is longer than the parts allowed.", retry=False),
    412: Reason("This region is not open for the account.", retry=False),
    413: Reason("The account is blocked, for example without credit.", retry=True),
    15: Reason("Blocked by a filter.", retry=False),
    60: Reason("The sender is blocked.", retry=False),
    61: Reason("The recipient's number is blocked.", retry=False),
    62: Reason("The content is blocked.", retry=False),
    64: Reason("A quota is used up, or the sender is not verified.", retry=True),
    150: Reason("The carrier does not know this number.", retry=False),
    151: Reason("This number is barred.", retry=False),
    152: Reason("This number cannot receive texts.", retry=False),
    153: Reason("The phone was off or out of reach.", retry=True),
    158: Reason("The phone's memory is full.", retry=True),
    159: Reason("The phone could not be reached.", retry=True),
    201: Reason("The phone was off or out of reach.", retry=True),
    202: Reason("The phone was off or out of reach.", retry=True),
    203: Reason("The phone was busy.", retry=True),
    205: Reason("The carrier does not accept this subscriber.", retry=False),
    206: Reason("The carrier does not accept this phone.", retry=False),
    257: Reason("The recipient opted out with the carrier.", retry=False),
    300: Reason("The number is wrong.", retry=False),
    310: Reason("The sender is wrong.", retry=False),
}
# Ranges of Sinch's list of carrier codes, for codes not listed above.
_BY_RANGE: tuple[tuple[range, Reason], ...] = (
    (range(4, 5), Reason(f"The route failed: {_TEMPORARY}.", retry=True)),
    (range(14, 15), Reason(f"The route failed: {_TEMPORARY}.", retry=True)),
    (range(15, 17), Reason("Blocked by a filter.", retry=False)),
    (range(19, 20), Reason("Blocked by a filter.", retry=False)),
    (range(1, 18), Reason(f"There is no route: {_PERMANENT}.", retry=False)),
    (range(60, 68), Reason("Blocked by a filter.", retry=False)),
    (range(40, 57), Reason("The carrier had an internal error.", retry=True)),
    (range(70, 115), Reason("The message centre had an error.", retry=True)),
    (range(200, 218), Reason("The carrier's switching centre refused it.", retry=False)),
    (range(250, 258), Reason("This number is barred.", retry=False)),
    (range(300, 400), Reason("Another carrier refused it.", retry=False)),
)
_BY_STATUS: dict[MessageStatus, Reason] = {
    _M.PENDING: Reason("Not handed to Sinch yet.", retry=False),
    _M.SUBMITTED: Reason("Sinch has it; no final status is reported yet.", retry=False),
    _M.DELIVERED: Reason("Delivered.", retry=False),
    _M.FAILED: Reason("The carrier could not deliver it.", retry=True),
    _M.REJECTED: Reason("Refused.", retry=False),
    _M.EXPIRED: Reason("It expired before it reached the phone.", retry=True),
    _M.ABORTED: Reason("Stopped at Sinch.", retry=False),
    _M.CANCELLED: Reason("Cancelled before it was handed on.", retry=True),
    _M.DELETED: Reason(
        "Deleted by the carrier: the number is wrong or has opted out.", retry=False
    ),
    _M.UNKNOWN: Reason("Sent, but no final status was reported; it may have arrived.", retry=False),
    _M.SUPPRESSED: Reason("The recipient is excluded.", retry=False),
    _M.INVALID: Reason("Not a phone number.", retry=False),
    _M.DUPLICATE: Reason("Listed more than once; sent once.", retry=False),
    _M.HELD: Reason(
        "Sinch refuses our account or this sender; it is sent once that is corrected.", retry=False
    ),
    _M.UNCONFIRMED: Reason("It may have been sent; Sinch is asked about it.", retry=False),
    _M.ABANDONED: Reason("It may have been sent; an operator closed it.", retry=False),
}
# With these statuses the code explains nothing.
_PLAIN = (_M.DELIVERED, _M.UNKNOWN)


def explain(status: MessageStatus, code: int | None) -> Reason:
    """Explain the status of a message, given Sinch's code.

    >>> explain(MessageStatus.FAILED, 153)
    Reason(sentence='The phone was off or out of reach.', retry=True)
    >>> explain(MessageStatus.FAILED, 98765).sentence
    'The carrier could not deliver it.'
    """
    if not code or status in _PLAIN or status not in REPORTED:
        return _BY_STATUS[status]
    if code in _BY_CODE:
        return _BY_CODE[code]
    for codes, reason in _BY_RANGE:
        if code in codes:
            return reason
    return _BY_STATUS[status]
