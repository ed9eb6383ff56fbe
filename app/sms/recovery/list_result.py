"""Result of looking up a batch in Sinch's list, and when to look again.  Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from app.config import SendingRules
from app.phone.e164 import respell
from app.sinch.schemas import SinchBatch

# Sinch lists batches for 14 days, so stop looking after 13.
LOOKUP_PERIOD = timedelta(days=13)
# Our clock may run ahead: list from this much earlier.
LIST_MARGIN = timedelta(hours=1)
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


class ListFinding(StrEnum):
    """Findings of one clean list."""

    ABSENT = "absent"  # no batch has our reference
    FOUND = "found"  # one batch, with the recipients we sent
    MULTIPLE = "multiple"  # more than one such batch
    MISMATCH = "mismatch"  # a batch that is cancelled or has other recipients


@dataclass(frozen=True, slots=True)
class ListResult:
    """A finding; `sinch_id` is the oldest batch, `duplicate_sinch_ids` are further copies.

    `listed` are the recipients that the list shows, if they may differ from ours and do.
    """

    finding: ListFinding
    sinch_id: str | None = None
    duplicate_sinch_ids: tuple[str, ...] = ()
    listed: frozenset[str] = frozenset()


def classify_list(
    batches: Sequence[SinchBatch], recipients: Sequence[str], *, may_differ: bool = False
) -> ListResult:
    """Classify the listed batches with our reference, given the recipients we sent to.

    `may_differ` is True if the batch may have been sent to others: then it is found if the list
    shows one of ours.
    """
    if not batches:
        return ListResult(ListFinding.ABSENT)
    # The list is documented as newest first; creation times decide where given.
    oldest = min(reversed(batches), key=lambda batch: batch.created_at or _EARLIEST)
    spellings = {respell(recipient): recipient for recipient in recipients}
    listed = _spell_as_sent(oldest, spellings)
    others = listed if may_differ and listed != set(recipients) else frozenset[str]()
    expected = others or set(recipients)
    if any(batch.canceled or _spell_as_sent(batch, spellings) != expected for batch in batches):
        return ListResult(ListFinding.MISMATCH, oldest.id)
    if expected.isdisjoint(recipients):
        return ListResult(ListFinding.MISMATCH, oldest.id, listed=others)
    duplicate_sinch_ids = tuple(batch.id for batch in batches if batch.id != oldest.id)
    finding = ListFinding.MULTIPLE if duplicate_sinch_ids else ListFinding.FOUND
    return ListResult(finding, oldest.id, duplicate_sinch_ids, others)


def _spell_as_sent(batch: SinchBatch, spellings: Mapping[str, str]) -> frozenset[str]:
    """Return the listed recipients in the spelling they were sent in."""
    return frozenset(spellings.get(respell(phone), phone) for phone in batch.recipients)


def choose_next_lookup(
    rules: SendingRules, *, unknown_at: datetime, now: datetime
) -> datetime | None:
    """Return when to look up a batch of unknown outcome next; None after LOOKUP_PERIOD.

    First at the times of `reconcile_after_s`, then often enough for two lists within
    `absent_recent_s`, and hourly once the batch needs attention.
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
    """Return True if the clean lists so far prove that Sinch does not have the batch.

    By default at least five lists over at least 15 minutes, the last two within 5 minutes.
    """
    return (
        lists >= rules.absent_lists
        and now - unknown_at >= timedelta(seconds=rules.absent_after_s)
        and absent_before_at is not None
        and now - absent_before_at <= timedelta(seconds=rules.absent_recent_s)
    )
