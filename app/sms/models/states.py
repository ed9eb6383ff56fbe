"""The words for where a broadcast and a batch stand, and the moves that are allowed.

The table of moves is the failure model's: what is proven not sent may go back to PENDING, what is
not known never does by itself, and what has ended stays as it ended.
"""

from enum import StrEnum


class BatchState(StrEnum):
    """Where one call to Sinch stands."""

    PENDING = "pending"  # not sent; waits to be claimed
    SENDING = "sending"  # claimed: from here on it may be at Sinch
    ACCEPTED = "accepted"  # Sinch has it
    REJECTED = "rejected"  # Sinch refuses this payload; nobody gets it
    SPLIT = "split"  # refused as a whole; its halves go on in its place
    HELD = "held"  # Sinch refuses whatever we send; not sent, waits for the circuit to close
    UNKNOWN = "unknown"  # it may have been sent: Sinch is asked, it is not sent again
    NEEDS_ATTENTION = "needs_attention"  # still unknown: an operator decides
    DUPLICATE = "duplicate"  # Sinch has it more than once
    SUPPRESSED = "suppressed"  # its recipients are not written to; nobody gets it
    EXPIRED = "expired"  # too late to send; nobody gets it
    CANCELLED = "cancelled"  # cancelled before it was claimed; nobody gets it
    CLOSED_UNSENT = "closed_unsent"  # given up; it may have been sent


# On which a broadcast is not complete.
OPEN = (BatchState.PENDING, BatchState.SENDING, BatchState.HELD, BatchState.UNKNOWN)
# Proven that nobody got a text from it and that nothing of it is on its way.
UNSENT = (BatchState.PENDING, BatchState.HELD)

# Taken by Sinch: its messages end as Sinch reports.
AT_SINCH = (BatchState.ACCEPTED, BatchState.DUPLICATE)

# An operator's decision, in the audit, after which a batch may be at Sinch although it is unsent.
RESEND = "resend"

_S = BatchState

MOVES: dict[BatchState, frozenset[BatchState]] = {
    # ACCEPTED: the late answer to an attempt that an operator has just allowed to repeat.
    # UNKNOWN: restored from a backup, after which it may long have been sent.
    # CLOSED_UNSENT: in place of an end at which nobody gets it, after an operator had it repeated.
    _S.PENDING: frozenset(
        (
            _S.SENDING,
            _S.SUPPRESSED,
            _S.EXPIRED,
            _S.CANCELLED,
            _S.ACCEPTED,
            _S.UNKNOWN,
            _S.CLOSED_UNSENT,
        )
    ),
    _S.SENDING: frozenset(
        (
            _S.PENDING,
            _S.ACCEPTED,
            _S.REJECTED,
            _S.SPLIT,
            _S.HELD,
            _S.UNKNOWN,
            _S.CLOSED_UNSENT,
        )
    ),
    _S.HELD: frozenset((_S.PENDING, _S.EXPIRED, _S.CANCELLED, _S.UNKNOWN, _S.CLOSED_UNSENT)),
    _S.UNKNOWN: frozenset((_S.ACCEPTED, _S.DUPLICATE, _S.NEEDS_ATTENTION)),
    _S.NEEDS_ATTENTION: frozenset((_S.ACCEPTED, _S.DUPLICATE, _S.PENDING, _S.CLOSED_UNSENT)),
    **{
        state: frozenset()
        for state in (
            _S.ACCEPTED,
            _S.REJECTED,
            _S.SPLIT,
            _S.DUPLICATE,
            _S.SUPPRESSED,
            _S.EXPIRED,
            _S.CANCELLED,
            _S.CLOSED_UNSENT,
        )
    },
}


class BroadcastStatus(StrEnum):
    """Where a broadcast stands."""

    SCHEDULED = "scheduled"  # waits for its send_at
    MISSED_START = (
        "missed_start"  # its start was missed by more than the bound: resume or cancel it
    )
    QUEUED = "queued"  # nothing of it was handed to Sinch yet
    SENDING = "sending"  # at least one batch was
    PAUSED = "paused"  # nothing more is claimed until it is resumed
    HALTED = "halted"  # Sinch has a batch twice: nothing more is claimed until it is resumed
    COMPLETE = "complete"  # every batch has ended
    COMPLETE_NEEDS_ATTENTION = "complete_needs_attention"  # ended, but for what an operator decides
    REFUSED = "refused"  # Sinch refused all of it; nobody gets it
    EXPIRED = "expired"  # it was too late to send any of it
    CANCELLED = "cancelled"  # what was not claimed before is not sent


# Claimed from.
ACTIVE = (BroadcastStatus.QUEUED, BroadcastStatus.SENDING)
# Nothing of it is left to do.
FINAL = (
    BroadcastStatus.COMPLETE,
    BroadcastStatus.COMPLETE_NEEDS_ATTENTION,
    BroadcastStatus.REFUSED,
    BroadcastStatus.EXPIRED,
    BroadcastStatus.CANCELLED,
)


class Outcome(StrEnum):
    """What became of one POST to Sinch, in the ledger of attempts."""

    ACCEPTED = "accepted"  # 2xx
    NOT_SENT = "not_sent"  # proven: no byte left, or 429
    REJECTED = "rejected"  # this payload is refused
    HELD = "held"  # everything is refused
    UNKNOWN = "unknown"  # it left, and no usable answer came


# After these, the same batch may be posted again.
PROVEN_UNSENT = (Outcome.NOT_SENT, Outcome.HELD)


class Attention(StrEnum):
    """Why an operator has to look at a batch."""

    ABSENT = "absent"  # Sinch's list does not show it
    UNREADABLE = "unreadable"  # Sinch's list could not be read
    MISMATCH = "mismatch"  # the list shows something else than was sent


class CancelRequestState(StrEnum):
    """What became of our wish that Sinch stop a batch it has accepted."""

    WANTED = "wanted"  # to be asked for
    CANCELLED = "cancelled"  # Sinch stopped what had not been handed on
    TOO_LATE = "too_late"  # all of it had been handed on
    UNCLEAR = "unclear"  # no clean answer before the batch expired


class ExclusionReason(StrEnum):
    """Why a recipient is not sent to, or not yet; the first that holds, in this order."""

    ERASED = "erased"  # the person had everything on them erased
    OPTED_OUT = "opted_out"  # suppressed: by a STOP, the carrier, an operator, a list
    NO_CONSENT = "no_consent"  # never agreed to marketing, or took it back
    INACTIVE = "inactive"  # a subscriber that is switched off
    NO_VALUE = "no_value"  # a placeholder has neither a value for this person nor a default
    FREQUENCY_CAP = "frequency_cap"  # had as much marketing as a day may bring
    NO_WINDOW = "no_window"  # it is quiet at any time in one of the zones this number may be in
    QUIET_HOURS = "quiet_hours"  # quiet where this person is; goes at the next opening


class Category(StrEnum):
    """What a broadcast is for."""

    TRANSACTIONAL = "transactional"
    MARKETING = "marketing"
