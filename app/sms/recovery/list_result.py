"""What Sinch's list proves about a batch whose outcome is not known.  Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from app.config import SendingRules
from app.sinch.schemas import SinchBatch

# Sinch's list reaches back 14 days; a question is asked as long as it can be answered.
LOOKUP_PERIOD = timedelta(days=13)
# A clock of ours that runs ahead must not hide a batch from the list.
LIST_MARGIN = timedelta(hours=1)
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


class ListFinding(StrEnum):
    """What one clean list says."""

    ABSENT = "absent"  # nothing bears our reference
    TAKEN = "taken"  # one batch, with the recipients we sent
    SEVERAL = "several"  # more than one such batch
    MISMATCH = "mismatch"  # also one that was cancelled, or has other recipients


@dataclass(frozen=True, slots=True)
class ListResult:
    """A finding; `sinch_id` is the batch that counts, `surplus` those that should not be."""

    finding: ListFinding
    sinch_id: str | None = None
    duplicate_sinch_ids: tuple[str, ...] = ()


def classify_list(found: Sequence[SinchBatch], recipients: Sequence[str]) -> ListResult:
    """What the batches under our reference prove, given whom the batch was sent to."""
    if not found:
        return ListResult(ListFinding.ABSENT)
    # Newest first is how the list is documented; the times decide where it gives them.
    oldest = min(reversed(found), key=lambda each: each.created_at or _EARLIEST)
    if any(each.canceled or set(each.recipients) != set(recipients) for each in found):
        return ListResult(ListFinding.MISMATCH, oldest.id)
    if len(found) == 1:
        return ListResult(ListFinding.TAKEN, oldest.id)
    duplicate_sinch_ids = tuple(each.id for each in found if each.id != oldest.id)
    return ListResult(ListFinding.SEVERAL, oldest.id, duplicate_sinch_ids)


def choose_next_lookup(
    rules: SendingRules, *, unknown_at: datetime, now: datetime
) -> datetime | None:
    """When to ask again about a batch unknown since then; None when the list reaches no further.

    At set times first, then often enough for two answers in the last minutes, and hourly once an
    operator was called.
    """
    age = now - unknown_at
    if age >= LOOKUP_PERIOD:
        return None
    for offset_s in rules.reconcile_after_s:
        if timedelta(seconds=offset_s) > age:
            return unknown_at + timedelta(seconds=offset_s)
    if age < timedelta(seconds=rules.unreadable_after_s):
        return now + timedelta(seconds=rules.absent_recent_s / 2)
    return now + timedelta(seconds=rules.reconcile_later_every_s)


def is_proven_absent(
    rules: SendingRules,
    *,
    lists: int,
    unknown_at: datetime,
    absent_before_at: datetime | None,
    now: datetime,
) -> bool:
    """Whether the clean lists so far, this one included, are enough to call an operator.

    At least five, over at least 15 minutes, the last two of them within 5.
    """
    return (
        lists >= rules.absent_lists
        and now - unknown_at >= timedelta(seconds=rules.absent_after_s)
        and absent_before_at is not None
        and now - absent_before_at <= timedelta(seconds=rules.absent_recent_s)
    )
