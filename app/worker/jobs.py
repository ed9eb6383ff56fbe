"""What is to be done now and then, whoever does it: threads of the web process, or Celery.

`sweep` finds whatever no nudge found; `work` plans and submits until nothing is left.  Both may
run in any number of places at once.
"""

from collections.abc import Callable
from datetime import datetime

from loguru import logger

from app.sms.analytics.inbound_rollup import roll_up_inbounds
from app.sms.analytics.rollup import roll_up_batches
from app.sms.audience.plan import find_unplanned, plan_broadcast
from app.sms.broadcasts.control import (
    cancel_left_surplus,
    carry_out_wishes,
    expire_overdue_broadcasts,
    settle_stragglers,
    start_due_broadcasts,
)
from app.sms.broadcasts.idempotency import forget_old_keys
from app.sms.context import Context
from app.sms.dispatch.circuit_breaker import probe_circuit
from app.sms.dispatch.claim import Idle, claim_burst
from app.sms.dispatch.submit import expire_leases, submit_burst
from app.sms.eligibility.decide import forget_old_sends
from app.sms.inbound.double_opt_in import ask_to_confirm
from app.sms.inbound.receive import list_inbounds_when_due
from app.sms.lifecycle.finalize import settle_unsettled
from app.sms.operations.heartbeat import note_books, note_sweep
from app.sms.operations.invariants import find_violations
from app.sms.operations.restore import end_restore_when_done
from app.sms.privacy.erase import go_on_erasing
from app.sms.recovery.unknown_outcome import ask_due_batches, call_for_overdue
from app.sms.reports.reconcile import ask_due_reports
from app.subscribers.imports.job import work_imports
from app.subscribers.imports.service import forget_imports
from app.webhooks.incoming.apply import forget_leftovers

_SWEEP: tuple[Callable[[Context], object], ...] = (
    expire_leases,
    start_due_broadcasts,
    expire_overdue_broadcasts,
    probe_circuit,
    ask_due_batches,
    call_for_overdue,
    end_restore_when_done,
    carry_out_wishes,
    cancel_left_surplus,
    settle_stragglers,
    settle_unsettled,
    note_sweep,
)


def sweep(ctx: Context) -> None:
    """Do everything whose time has come, but for planning and submitting.

    What goes wrong with one part does not keep the others back; it is tried again next time.
    """
    ctx.require_own_database()
    for part in _SWEEP:
        try:
            part(ctx)
        except Exception:
            logger.bind(part=part.__name__).exception("a part of the sweep failed")


def ask_sinch(ctx: Context) -> None:
    """Ask for what Sinch has not told by itself: reports that are due, texts from phones."""
    ctx.require_own_database()
    ask_due_reports(ctx)
    list_inbounds_when_due(ctx)


def roll_up(ctx: Context, *, stop: Callable[[], bool] = lambda: False) -> None:
    """Bring the sums by day in line with what became of messages, and what came from phones."""
    roll_up_batches(ctx, stop=stop)
    roll_up_inbounds(ctx, stop=stop)


def keep_house(ctx: Context) -> None:
    """What is done each minute: forget what is old, check the invariants, erase what can go."""
    ctx.require_own_database()
    forget_old_keys(ctx)
    forget_leftovers(ctx)
    forget_old_sends(ctx)
    forget_imports(ctx.people)
    ask_to_confirm(ctx)
    violations = find_violations(ctx, thorough=False)
    for violation in violations:
        logger.bind(violation=violation).error("the books do not balance")
    note_books(ctx, violations)
    go_on_erasing(ctx)


def plan_next(ctx: Context) -> bool:
    """Plan a piece of the most urgent broadcast that waits for it; whether there was one."""
    ctx.require_own_database()
    waiting = find_unplanned(ctx)
    if not waiting:
        return False
    plan_broadcast(ctx, waiting[0])
    return True


def import_next(ctx: Context, *, stop: Callable[[], bool] = lambda: False) -> bool:
    """Work on a file of subscribers for a few seconds; whether there was one."""
    ctx.require_own_database()
    return work_imports(ctx.people, stop=stop)


class Burst:
    """How many batches to claim at once: what Sinch takes in a tenth of a second.

    Where Sinch is quick, they share what a claim costs; where it is slow, one is claimed at a
    time, so that pause and priority act at once and a crash leaves little in doubt.
    """

    MAX_SIZE = 8
    _SECONDS = 0.1

    def __init__(self) -> None:
        self._post_s = self._SECONDS

    @property
    def size(self) -> int:
        return max(1, min(self.MAX_SIZE, int(self._SECONDS / max(self._post_s, 0.001))))

    def learn(self, seconds: float, posts: int) -> None:
        """So many posts took so long; what is slower counts at once, what is quicker by halves."""
        each_s = seconds / posts
        self._post_s = each_s if each_s > self._post_s else (self._post_s + each_s) / 2


def submit_next(
    ctx: Context, burst: Burst | None = None, *, stop: Callable[[], bool] = lambda: False
) -> bool | datetime:
    """Submit the most urgent batch, or a burst of them until `stop`: True when there was one.

    False when there is none; a time when the next may go then.
    """
    ctx.require_own_database()
    found = claim_burst(ctx, most=burst.size if burst else 1)
    if isinstance(found, Idle):
        return True if found.again else found.until or False
    started = ctx.clock.monotonic()
    submit_burst(ctx, found, stop=stop)
    if burst:
        burst.learn(ctx.clock.monotonic() - started, len(found))
    return True
