"""States of a batch, statuses of a broadcast, outcomes and reasons.

    PENDING ──claim──> SENDING ─┬─> ACCEPTED          2xx
      ^ │                       ├─> PENDING           not sent: no byte left, or 429
      │ ├─> SUPPRESSED          ├─> REJECTED, SPLIT   this payload is rejected
      │ ├─> EXPIRED             ├─> HELD              the account or the sender is refused
      │ └─> CANCELLED           └─> UNKNOWN           it left, and no usable answer came
      └── HELD
    UNKNOWN ─┬─> ACCEPTED, DUPLICATE     Sinch's list or a report shows the batch
             └─> NEEDS_ATTENTION ──> ACCEPTED, DUPLICATE, PENDING, CLOSED_UNSENT

A batch that was proven unsent may go back to PENDING.  An UNKNOWN batch does so only by an
operator's decision.  Final states never change, but that a report proves a batch ACCEPTED.  After
an operator's resend, CLOSED_UNSENT replaces final states that mean unsent.
docs/failure-model.md gives each move and its reason.
"""

from enum import StrEnum


class BatchState(StrEnum):
    """States of one call to Sinch."""

    PENDING = "pending"  # not sent; waits to be claimed
    SENDING = "sending"  # claimed: from here on Sinch may have it
    ACCEPTED = "accepted"  # Sinch has it
    REJECTED = "rejected"  # Sinch rejected this payload; not sent
    SPLIT = "split"  # rejected as a whole; its halves replace it
    HELD = "held"  # Sinch refuses our account or this sender; not sent, and tried again
    UNKNOWN = "unknown"  # it may have been sent: Sinch is asked, it is not sent again
    NEEDS_ATTENTION = "needs_attention"  # still unknown: an operator decides
    DUPLICATE = "duplicate"  # Sinch has it more than once
    SUPPRESSED = "suppressed"  # its recipients are excluded; not sent
    EXPIRED = "expired"  # too late to send; not sent
    CANCELLED = "cancelled"  # cancelled before it was claimed; not sent
    CLOSED_UNSENT = "closed_unsent"  # abandoned; it may have been sent


# A broadcast is not complete while a batch is in one of these.
OPEN = (BatchState.PENDING, BatchState.SENDING, BatchState.HELD, BatchState.UNKNOWN)
# Proven that Sinch has not received the batch.
UNSENT = (BatchState.PENDING, BatchState.HELD)

# Accepted by Sinch: its messages end as Sinch reports.
AT_SINCH = (BatchState.ACCEPTED, BatchState.DUPLICATE)

# Audit action of an operator's resend: the batch may be at Sinch although its state says unsent.
RESEND = "resend"


class BroadcastStatus(StrEnum):
    """Statuses of a broadcast."""

    SCHEDULED = "scheduled"  # waits for its send_at
    MISSED_START = "missed_start"  # its send_at was missed by too much: resume or cancel it
    QUEUED = "queued"  # no batch was handed to Sinch yet
    SENDING = "sending"  # at least one batch was handed to Sinch
    PAUSED = "paused"  # no batch is claimed until it is resumed
    HALTED = "halted"  # Sinch has a batch twice: no batch is claimed until it is resumed
    COMPLETE = "complete"  # every batch has a final state
    COMPLETE_NEEDS_ATTENTION = "complete_needs_attention"  # an operator has to decide
    REFUSED = "refused"  # Sinch rejected every batch; not sent
    EXPIRED = "expired"  # too late to send any batch
    CANCELLED = "cancelled"  # batches not claimed before are not sent


# Batches of these are claimed.
ACTIVE = (BroadcastStatus.QUEUED, BroadcastStatus.SENDING)
# No batch is left to send.
FINAL = (
    BroadcastStatus.COMPLETE,
    BroadcastStatus.COMPLETE_NEEDS_ATTENTION,
    BroadcastStatus.REFUSED,
    BroadcastStatus.EXPIRED,
    BroadcastStatus.CANCELLED,
)


class Outcome(StrEnum):
    """Outcomes of one POST to Sinch, stored with the attempt."""

    ACCEPTED = "accepted"  # 2xx
    NOT_SENT = "not_sent"  # proven: no byte left, or 429
    REJECTED = "rejected"  # this payload is rejected
    HELD = "held"  # the account or the sender is refused
    UNKNOWN = "unknown"  # it left, and no usable answer came


# After these, the same batch may be posted again.
PROVEN_UNSENT = (Outcome.NOT_SENT, Outcome.HELD)


class Attention(StrEnum):
    """Why a batch needs an operator's decision."""

    ABSENT = "absent"  # Sinch's list does not show it
    UNREADABLE = "unreadable"  # Sinch's list could not be read
    MISMATCH = "mismatch"  # the list shows other recipients than were sent


class CancelRequestState(StrEnum):
    """States of our request that Sinch cancel a batch it has accepted."""

    WANTED = "wanted"  # not requested yet
    CANCELLED = "cancelled"  # Sinch cancelled the messages it had not sent yet
    TOO_LATE = "too_late"  # Sinch had sent every message
    UNCLEAR = "unclear"  # no clean answer before the batch expired


class ExclusionReason(StrEnum):
    """Why a recipient is excluded or deferred; the first that applies, in this order."""

    ERASED = "erased"  # the person's data was erased
    NUMBER_NOT_ALLOWED = "number_not_allowed"  # a premium, shared-cost or satellite number
    COUNTRY_NOT_ALLOWED = "country_not_allowed"  # ALLOWED_COUNTRIES leaves it out
    OPTED_OUT = "opted_out"  # suppressed: by a STOP, the carrier, an operator, a list
    NO_CONSENT = "no_consent"  # no consent to marketing, or withdrawn
    INACTIVE = "inactive"  # the subscriber is inactive
    NO_VALUE = "no_value"  # a placeholder has neither a value nor a default
    FREQUENCY_CAP = "frequency_cap"  # reached the daily limit of marketing texts
    NO_WINDOW = "no_window"  # no time is outside quiet hours in all zones the number may be in
    QUIET_HOURS = "quiet_hours"  # quiet hours now; sent when they end
    CANARY = "canary"  # a first part is sent; sent when its outcome is good
    CAP_REACHED = "cap_reached"  # a cap is reached; sent when its period ends, or it is raised

    @property
    def defers(self) -> bool:
        """True if the recipient waits for a time and is not excluded for good."""
        return self in _DEFERRING


_DEFERRING = (ExclusionReason.QUIET_HOURS, ExclusionReason.CANARY, ExclusionReason.CAP_REACHED)


class Category(StrEnum):
    """Purpose of a broadcast."""

    TRANSACTIONAL = "transactional"
    MARKETING = "marketing"
