"""Allowed moves of a batch: the simulation checks each commit against them."""

from app.sms.models.states import BatchState

_S = BatchState

_FROM: dict[BatchState, tuple[BatchState, ...]] = {
    # ACCEPTED: the late answer to an attempt that an operator has just allowed to repeat.
    # UNKNOWN: restored from a backup, so the batch may have been sent since.
    # CLOSED_UNSENT: in place of a final state that means unsent, after an operator's resend.
    _S.PENDING: (
        _S.SENDING,
        _S.SUPPRESSED,
        _S.EXPIRED,
        _S.CANCELLED,
        _S.ACCEPTED,
        _S.UNKNOWN,
        _S.CLOSED_UNSENT,
    ),
    _S.SENDING: (
        _S.PENDING,
        _S.ACCEPTED,
        _S.REJECTED,
        _S.SPLIT,
        _S.HELD,
        _S.UNKNOWN,
        _S.CLOSED_UNSENT,
    ),
    _S.HELD: (_S.PENDING, _S.EXPIRED, _S.CANCELLED, _S.UNKNOWN, _S.CLOSED_UNSENT),
    _S.UNKNOWN: (_S.ACCEPTED, _S.DUPLICATE, _S.NEEDS_ATTENTION),
    _S.NEEDS_ATTENTION: (_S.ACCEPTED, _S.DUPLICATE, _S.PENDING, _S.CLOSED_UNSENT),
}
# All other states are final.
MOVES = {state: frozenset(_FROM.get(state, ())) for state in BatchState}
