"""What a client is told of its broadcast: one answer for all batches, nothing hidden."""

import math
from collections.abc import Sequence
from typing import Any

from app.errors import ClarionError, OutcomeUnknown, SendFailed, SendLater
from app.sinch.errors import SinchMisconfigured, SinchRefusal
from app.sms.planning import Broadcast
from app.sms.schemas import show_invalid
from app.sms.sending import BatchOutcome, BatchStatus

SUBMITTED = "SMS batch submitted successfully to Sinch."
REFUSED = "Failed to send SMS batch."
# When Sinch cannot be reached and does not say when to come back.
DEFAULT_RETRY_AFTER_S = 30

_SAFE = "Nothing was sent; it is safe to send the same request again."
_SENT = (BatchStatus.ACCEPTED, BatchStatus.DUPLICATED)
_UNSENT_LATER = (BatchStatus.BUSY, BatchStatus.UNREACHABLE, BatchStatus.NOT_TRIED)


def make_answer(
    broadcast: Broadcast, outcomes: Sequence[BatchOutcome], *, production: bool
) -> dict[str, Any]:
    """The 202 for a broadcast that Sinch took whole; everything else is raised.

    Raises OutcomeUnknown when some texts may have been sent, SendFailed when Sinch refused, took
    only a part or has it twice, SendLater when nothing went out and the same may be sent again.
    """
    statuses = {outcome.status for outcome in outcomes}
    if statuses == {BatchStatus.ACCEPTED}:
        return _describe_acceptance(broadcast, outcomes)
    facts = _describe_outcomes(broadcast, outcomes, production=production)
    if BatchStatus.UNKNOWN in statuses:
        raise _make_unknown(outcomes, facts)
    if BatchStatus.DUPLICATED in statuses:
        raise _make_duplicated(outcomes, facts)
    if BatchStatus.ACCEPTED in statuses:
        raise _make_partial(outcomes, facts)
    if statuses <= set(_UNSENT_LATER):
        raise _make_later(outcomes, facts)
    raise _make_refused(outcomes, facts)


def _describe_acceptance(broadcast: Broadcast, outcomes: Sequence[BatchOutcome]) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "message": SUBMITTED,
        "batch_id": outcomes[0].batch_id,
        "batch_ids": [outcome.batch_id for outcome in outcomes],
        "recipients": len(broadcast.recipients),
        "parts_per_message": broadcast.size.parts,
        "encoding": broadcast.size.encoding.value,
        "duplicates_removed": broadcast.duplicates_removed,
    }
    return answer | _describe_extras(broadcast)


def _describe_extras(broadcast: Broadcast) -> dict[str, Any]:
    extras = show_invalid(broadcast.invalid) if broadcast.invalid else {}
    return extras | ({"reference": broadcast.reference} if broadcast.reference else {})


def _describe_outcomes(
    broadcast: Broadcast, outcomes: Sequence[BatchOutcome], *, production: bool
) -> dict[str, Any]:
    accepted = [each for each in outcomes if each.status in _SENT]
    facts: dict[str, Any] = {
        "batch_ids": [outcome.batch_id for outcome in accepted],
        "recipients": len(broadcast.recipients),
        "recipients_accepted": _count_recipients(accepted),
        "batches": [_describe_outcome(outcome) for outcome in outcomes],
    }
    refusal = next((each.refusal for each in outcomes if each.refusal is not None), None)
    details = _describe_refusal(refusal, production=production) if refusal else {}
    if details:
        facts["details"] = details
    return facts | _describe_extras(broadcast)


def _describe_outcome(outcome: BatchOutcome) -> dict[str, Any]:
    described: dict[str, Any] = {
        "status": outcome.status.value,
        "client_reference": outcome.client_reference,
        "batch_id": outcome.batch_id,
        "recipients": len(outcome.recipients),
    }
    if outcome.status not in _SENT:
        described["numbers"] = list(outcome.recipients)
    return described


def _describe_refusal(refusal: SinchRefusal, *, production: bool) -> dict[str, Any]:
    """Sinch's own words; in production not those on our account and configuration."""
    if production and isinstance(refusal, SinchMisconfigured):
        return {}
    told = {"status": refusal.status, "code": refusal.code, "text": refusal.text}
    return {name: value for name, value in told.items() if value is not None}


def _make_unknown(outcomes: Sequence[BatchOutcome], facts: dict[str, Any]) -> OutcomeUnknown:
    unknown = [each for each in outcomes if each.status is BatchStatus.UNKNOWN]
    references = [outcome.client_reference for outcome in unknown]
    return OutcomeUnknown(
        f"Sinch did not confirm the texts for {_count_recipients(unknown)} recipients: they may "
        "have been sent. Do not send them again blindly; first look at Sinch for the batch with "
        f"client_reference {', '.join(references)}.",
        client_references=references,
        **facts,
    )


def _make_duplicated(outcomes: Sequence[BatchOutcome], facts: dict[str, Any]) -> SendFailed:
    twice = [each for each in outcomes if each.status is BatchStatus.DUPLICATED]
    return SendFailed(
        f"Sinch has a batch of {_count_recipients(twice)} recipients more than once: they may get "
        "the text twice. The surplus was cancelled as far as possible; do not send it again. "
        "Of the other batches, those that were not sent list their numbers.",
        **facts,
    )


def _make_partial(outcomes: Sequence[BatchOutcome], facts: dict[str, Any]) -> SendFailed:
    unsent = [each for each in outcomes if each.status is not BatchStatus.ACCEPTED]
    return SendFailed(
        f"Only a part was sent: {facts['recipients_accepted']} recipients accepted, "
        f"{_count_recipients(unsent)} not sent. Do not send the whole again; batches lists the "
        "numbers that were not sent.",
        **facts,
    )


def _make_later(outcomes: Sequence[BatchOutcome], facts: dict[str, Any]) -> ClarionError:
    waits = [outcome.retry_after_s for outcome in outcomes if outcome.retry_after_s is not None]
    busy = any(outcome.status is BatchStatus.BUSY for outcome in outcomes)
    cause = "Sinch is too busy." if busy else "Sinch cannot be reached."
    return SendLater(
        f"{cause} {_SAFE}",
        retry_after_s=max(1, math.ceil(max(waits, default=DEFAULT_RETRY_AFTER_S))),
        **facts,
    )


def _make_refused(outcomes: Sequence[BatchOutcome], facts: dict[str, Any]) -> SendFailed:
    if any(outcome.status is BatchStatus.MISCONFIGURED for outcome in outcomes):
        return SendFailed(
            f"{REFUSED} Sinch refuses this service's configuration; tell its operator. "
            "Nothing was sent.",
            **facts,
        )
    return SendFailed(REFUSED, **facts)


def _count_recipients(outcomes: Sequence[BatchOutcome]) -> int:
    return sum(len(outcome.recipients) for outcome in outcomes)
