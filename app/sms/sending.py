"""Handing batches to Sinch: each at most once, and an honest word on each.

POST ─┬─ 2xx with an id ─────────────────────────────── ACCEPTED
      ├─ never connected, 429 ── wait, again, in budget ─ UNREACHABLE, BUSY
      ├─ 400, 413, 415, 422 ──────────────────────────── REJECTED
      ├─ 401 to 405, 3xx ─────────────────────────────── MISCONFIGURED
      └─ anything else, or 2xx without an id ── ask the list ─┬─ one ───── ACCEPTED
                                                              ├─ several ─ DUPLICATED
                                                              └─ none ──── UNKNOWN
"""

import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from loguru import logger

from app.sinch.client import SinchClient
from app.sinch.errors import (
    SinchBusy,
    SinchError,
    SinchMisconfigured,
    SinchOutcomeUnknown,
    SinchRefusal,
    SinchRejected,
    SinchUnreachable,
)
from app.sinch.schemas import Batch, OutgoingBatch
from app.sms.planning import Broadcast, cut_batches, select_parameters

# With less time left than this a POST is not begun: its answer could not be waited for.
MIN_POST_S = 1.0
# Nor is a question with less than this.
MIN_QUESTION_S = 0.1
# A clock of ours that runs ahead must not hide a batch from the list.
LOOKUP_MARGIN = timedelta(hours=1)
MIN_WAIT_S = 0.2
MAX_WAIT_S = 8.0


class BatchStatus(StrEnum):
    """What became of one batch at the time of the answer."""

    ACCEPTED = "accepted"  # Sinch has it
    REJECTED = "rejected"  # Sinch refuses this payload; nobody gets it
    MISCONFIGURED = "misconfigured"  # Sinch refuses whatever we send; nobody gets it
    BUSY = "busy"  # Sinch has too much to do; nobody gets it
    UNREACHABLE = "unreachable"  # no connection was made; nobody gets it
    NOT_TRIED = "not_tried"  # not begun, after another batch or for lack of time
    UNKNOWN = "unknown"  # it may have been sent
    DUPLICATED = "duplicated"  # Sinch has it more than once; somebody may get it twice


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOutcome:
    """One batch and what became of it.

    `refusal` is Sinch's answer for REJECTED, MISCONFIGURED and BUSY; `retry_after_s` how long to
    wait before the same may be tried again, for BUSY and UNREACHABLE.
    """

    status: BatchStatus
    client_reference: str
    recipients: Sequence[str]
    batch_id: str | None = None
    refusal: SinchRefusal | None = None
    retry_after_s: float | None = None

    @property
    def stops_broadcast(self) -> bool:
        """True when the batches behind this one had better not be begun."""
        return self.status not in (BatchStatus.ACCEPTED, BatchStatus.REJECTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Hands batches to Sinch.  Times in seconds; clock, sleep and jitter are given for tests."""

    sinch: SinchClient
    default_sender: str
    budget_s: float
    lookup_waits_s: Sequence[float]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[float, float], float] = random.uniform

    def make_batches(self, broadcast: Broadcast) -> list[OutgoingBatch]:
        """The calls to Sinch that a broadcast takes, each under a reference of its own."""
        return [
            OutgoingBatch(
                recipients=recipients,
                text=broadcast.text,
                sender=broadcast.sender or self.default_sender,
                client_reference=make_reference(),
                parameters=select_parameters(broadcast.parameters, recipients),
                send_at=broadcast.send_at,
                expire_at=broadcast.expire_at,
                delivery_report=broadcast.delivery_report,
                flash=broadcast.flash,
                max_parts=broadcast.max_parts,
            )
            for recipients in cut_batches(broadcast.recipients)
        ]

    def submit_within_budget(self, batches: Sequence[OutgoingBatch]) -> list[BatchOutcome]:
        """What became of each batch, all of them begun within one budget."""
        deadline = self.clock() + self.budget_s
        return list(self._submit_each(batches, lambda: deadline, stop=lambda: False))

    def submit_patiently(
        self, batches: Sequence[OutgoingBatch], *, stop: Callable[[], bool]
    ) -> Iterator[BatchOutcome]:
        """What became of each batch, as it happens, with a budget for each; none after `stop`."""
        return self._submit_each(batches, lambda: self.clock() + self.budget_s, stop=stop)

    def _submit_each(
        self,
        batches: Sequence[OutgoingBatch],
        next_deadline: Callable[[], float],
        *,
        stop: Callable[[], bool],
    ) -> Iterator[BatchOutcome]:
        stopped = False
        for batch in batches:
            deadline = next_deadline()
            if stopped or stop() or deadline - self.clock() < MIN_POST_S:
                yield _conclude(batch, BatchStatus.NOT_TRIED)
                continue
            outcome = self._submit_safely(batch, deadline)
            stopped = outcome.stops_broadcast
            yield outcome

    def _submit_safely(self, batch: OutgoingBatch, deadline: float) -> BatchOutcome:
        """The outcome whatever happens: an error of ours must not hide the batches before."""
        try:
            return self._submit(batch, deadline)
        except Exception:
            bound = logger.bind(client_reference=batch.client_reference)
            bound.exception("unexpected error while sending: the batch may have been sent")
            return _conclude(batch, BatchStatus.UNKNOWN)

    def _submit(self, batch: OutgoingBatch, deadline: float) -> BatchOutcome:
        """Try until Sinch decides, or until waiting once more would pass the deadline."""
        for attempt in range(1, 1_000):
            outcome = self._post(batch, deadline)
            if outcome.status not in (BatchStatus.BUSY, BatchStatus.UNREACHABLE):
                break
            left_s = deadline - self.clock() - MIN_POST_S
            wait_s = self._choose_wait(outcome, attempt, left_s)
            if wait_s > left_s:
                break
            self.sleep(wait_s)
        return outcome

    def _choose_wait(self, outcome: BatchOutcome, attempt: int, left_s: float) -> float:
        """Sinch's wish, else full jitter under a doubling ceiling; never a busy loop.

        A wait of our own fits into what is left, as long as that is worth a try.
        """
        if outcome.status is BatchStatus.BUSY and outcome.retry_after_s is not None:
            return max(outcome.retry_after_s, MIN_WAIT_S)
        ceiling_s = min(MAX_WAIT_S, 0.5 * 2**attempt, left_s)
        return self.jitter(MIN_WAIT_S, max(MIN_WAIT_S, ceiling_s))

    def _post(self, batch: OutgoingBatch, deadline: float) -> BatchOutcome:
        try:
            sent = self.sinch.send_batch(batch, within_s=deadline - self.clock())
        except SinchUnreachable:
            return _conclude(batch, BatchStatus.UNREACHABLE)
        except SinchBusy as e:
            return _conclude(batch, BatchStatus.BUSY, refusal=e, retry_after_s=e.retry_after_s)
        except SinchRejected as e:
            return _conclude(batch, BatchStatus.REJECTED, refusal=e)
        except SinchMisconfigured as e:
            logger.bind(status=e.status, code=e.code).error("sinch refuses our configuration")
            return _conclude(batch, BatchStatus.MISCONFIGURED, refusal=e)
        except SinchOutcomeUnknown:
            return self._look_up(batch)
        if sent.id is None:
            return self._look_up(batch)
        return _conclude(batch, BatchStatus.ACCEPTED, batch_id=sent.id)

    def _look_up(self, batch: OutgoingBatch) -> BatchOutcome:
        """Ask Sinch's list a few times whether it has the batch; never send it again."""
        deadline = self.clock() + sum(self.lookup_waits_s) + 1.0
        for wait_s in self.lookup_waits_s:
            self.sleep(wait_s)
            found = self._list(batch, deadline)
            if found:
                return self._witness(batch, found, deadline)
        bound = logger.bind(
            client_reference=batch.client_reference, recipients=len(batch.recipients)
        )
        bound.error("batch outcome unknown: it may have been sent")
        return _conclude(batch, BatchStatus.UNKNOWN)

    def _witness(
        self, batch: OutgoingBatch, found: Sequence[Batch], deadline: float
    ) -> BatchOutcome:
        """What the list proves: taken, unless it shows something else than was sent."""
        bound = logger.bind(client_reference=batch.client_reference, found=len(found))
        if any(each.canceled or set(each.recipients) != set(batch.recipients) for each in found):
            bound.error("sinch has this batch otherwise than it was sent")
            return _conclude(batch, BatchStatus.UNKNOWN, batch_id=found[-1].id)
        oldest, surplus = found[-1], found[:-1]  # the list is newest first
        if surplus:
            bound.error("sinch has this batch more than once")
            self._cancel(surplus, deadline)
            return _conclude(batch, BatchStatus.DUPLICATED, batch_id=oldest.id)
        bound.info("batch found at sinch")
        return _conclude(batch, BatchStatus.ACCEPTED, batch_id=oldest.id)

    def _cancel(self, surplus: Sequence[Batch], deadline: float) -> None:
        """Cancel what can still be cancelled; what is already on its way cannot."""
        for each in surplus:
            left_s = deadline - self.clock()
            if left_s < MIN_QUESTION_S:
                return
            with suppress(SinchError):
                self.sinch.cancel_batch(each.id, within_s=left_s)

    def _list(self, batch: OutgoingBatch, deadline: float) -> list[Batch]:
        left_s = deadline - self.clock()
        if left_s < MIN_QUESTION_S:
            return []
        try:
            return self.sinch.list_batches(
                client_reference=batch.client_reference,
                created_after=datetime.now(UTC) - LOOKUP_MARGIN,
                within_s=left_s,
            )
        except SinchError:
            return []  # a question without an answer says nothing; it is logged where it was asked


def make_reference() -> str:
    """A new client_reference: opaque, unique, 27 characters, without personal data."""
    return f"cl-{secrets.token_hex(12)}"


def _conclude(
    batch: OutgoingBatch,
    status: BatchStatus,
    *,
    batch_id: str | None = None,
    refusal: SinchRefusal | None = None,
    retry_after_s: float | None = None,
) -> BatchOutcome:
    return BatchOutcome(
        status=status,
        client_reference=batch.client_reference,
        recipients=batch.recipients,
        batch_id=batch_id,
        refusal=refusal,
        retry_after_s=retry_after_s,
    )
