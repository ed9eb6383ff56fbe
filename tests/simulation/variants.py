"""The state machine with a mistake built in, to see that the simulation finds it.

Only here functions of ours are replaced: what is tried is the simulation, not the service.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import select, update

from app.db.base import table_of
from app.db.prepared import PreparedUpdate
from app.sinch.errors import SinchNotSent, SinchOutcomeUnknown
from app.sinch.schemas import PreparedBatch, SentBatch
from app.sms.caps import budget
from app.sms.dispatch import claim as claiming
from app.sms.dispatch import outcome, withhold
from app.sms.eligibility import decide
from app.sms.inbound import receive
from app.sms.models.batch import Batch
from app.sms.models.states import BatchState, ExclusionReason, Outcome
from app.sms.recovery import unknown_outcome
from app.subscribers.models import Suppression
from tests.simulation import running
from tests.simulation.sinch import SimulatedSinch


class RetryingSinch(SimulatedSinch):
    """The naive loop: post, and on any error post again."""

    def send_batch(
        self,
        batch: PreparedBatch,
        *,
        within_s: float | None = None,
        begin_within_s: float | None = None,
    ) -> SentBatch:
        for _ in range(3):
            try:
                return super().send_batch(batch, within_s=within_s)
            except SinchNotSent:
                raise
            except Exception:
                self.world.wait(1.0)
        raise SinchOutcomeUnknown("given up")


class LateSinch(SimulatedSinch):
    """A first byte leaves however long ago the batch was claimed: of some half an hour ago."""

    def send_batch(
        self,
        batch: PreparedBatch,
        *,
        within_s: float | None = None,
        begin_within_s: float | None = None,
    ) -> SentBatch:
        if self.world.random.random() < 0.2:
            self.world.wait(2_000.0)
        return super().send_batch(batch, within_s=within_s)


@contextmanager
def unknown_is_sent_again() -> Iterator[None]:
    """What is not known goes back to PENDING."""

    def record(tx: Any, ctx: Any, claim: Any, result: Any, status: Any) -> None:
        outcome._move(tx, claim, BatchState.PENDING)

    recorders = outcome._RECORDERS | {Outcome.UNKNOWN: record}
    with _replaced(outcome, "_RECORDERS", recorders):
        yield


@contextmanager
def lost_worker_is_sent_again() -> Iterator[None]:
    """A claim whose lease is over goes back to PENDING."""

    def forget(ctx: Any) -> int:
        lost = update(Batch).where(
            Batch.state == BatchState.SENDING, Batch.lease_until <= ctx.now()
        )
        with ctx.db.write() as tx:
            return tx.execute(lost.values(state=BatchState.PENDING, lease_until=None)).rowcount

    with _replaced(running, "PARTS", running.PARTS | {"lease_until": forget}):
        yield


@contextmanager
def late_verdicts_count() -> Iterator[None]:
    """A verdict moves the batch whatever became of it meanwhile, and whichever attempt it is of."""
    with _replaced(outcome, "_MOVE", PreparedUpdate(table_of(Batch))):
        yield


@contextmanager
def absent_is_sent_again() -> Iterator[None]:
    """What Sinch's list does not show is sent again by itself."""
    choose_values = unknown_outcome._choose_values

    def resend(ctx: Any, row: Any, result: Any, **more: Any) -> Any:
        values = choose_values(ctx, row, result, **more)
        if values["state"] is BatchState.NEEDS_ATTENTION:
            values |= {"state": BatchState.PENDING, "next_reconcile_at": None, "attention": None}
        return values

    with _replaced(unknown_outcome, "_choose_values", resend):
        yield


@contextmanager
def a_restore_goes_unnoticed() -> Iterator[None]:
    """A backup is put back, and nobody says so."""
    with _replaced(running, "mark_restored", lambda ctx, actor: 0):
        yield


@contextmanager
def a_claim_asks_for_no_suppressions() -> Iterator[None]:
    """Whoever has stopped is sent to all the same."""
    with _replaced(decide, "find_suppressed", lambda *args, **more: set()):
        yield


@contextmanager
def suppressions_are_those_of_the_plan() -> Iterator[None]:
    """Who is left out was settled when the broadcast was stored."""
    sort_out, find_suppressed = claiming.group_by_eligibility, decide.find_suppressed
    planned_at: list[Any] = []

    def remember(tx: Any, ctx: Any, broadcast: Any, *args: Any, **more: Any) -> Any:
        planned_at[:] = [broadcast.created_at]
        return sort_out(tx, ctx, broadcast, *args, **more)

    def find(tx: Any, *args: Any, **more: Any) -> set[str]:
        since = select(Suppression.phone).where(Suppression.suppressed_at <= planned_at[0])
        return find_suppressed(tx, *args, **more) & set(tx.execute(since).scalars())

    with (
        _replaced(claiming, "group_by_eligibility", remember),
        _replaced(decide, "find_suppressed", find),
    ):
        yield


@contextmanager
def a_stop_waits_until_it_is_applied() -> Iterator[None]:
    """A STOP is stored and answered as every other callback, and there is much to apply."""
    apply_events = running.apply_events

    def apply_late(ctx: Any) -> int:
        ctx.clock.sleep(200.0)
        return apply_events(ctx)

    with (
        _replaced(running, "suppress_at_once", lambda tx, ctx, raws: None),
        _replaced(running, "apply_events", apply_late),
    ):
        yield


@contextmanager
def those_set_aside_stay_in_the_payload() -> Iterator[None]:
    """Who is left out has a batch of their own, and stands in the request of the others too."""
    sort_out = claiming._withhold

    def keep(*args: Any) -> Any:
        ready = sort_out(*args)
        return ready and replace(ready, recipients=ready.content.recipients)

    with _replaced(claiming, "_withhold", keep):
        yield


@contextmanager
def marketing_knows_no_hours() -> Iterator[None]:
    """It is always open."""
    with _replaced(decide._Windows, "check", lambda self, phone, zone: decide._ALLOWED):
        yield


@contextmanager
def every_repeated_stop_is_answered() -> Iterator[None]:
    """A text counts as new however often it comes."""
    with _replaced(receive, "_store", lambda tx, ctx, inbound: True):
        yield


@contextmanager
def claims_count_against_no_cap() -> Iterator[None]:
    """A cap limits each claim, and no claim leaves less of it."""
    with _replaced(budget.Budget, "find_use", lambda self, batch_id: (set(), 0, 0)):
        yield


@contextmanager
def what_waits_for_a_cap_is_held() -> Iterator[None]:
    """It waits as if the circuit were open."""
    with _replaced(withhold, "_choose_state", lambda group, *, resent: _hold_at_cap(group)):
        yield


def _hold_at_cap(group: Any) -> BatchState:
    reason = group.eligibility.exclusion_reason
    return BatchState.HELD if reason is ExclusionReason.CAP_REACHED else group.eligibility.state


@contextmanager
def _replaced(module: Any, name: str, new: Any) -> Iterator[None]:
    old = getattr(module, name)
    setattr(module, name, new)
    try:
        yield
    finally:
        setattr(module, name, old)
