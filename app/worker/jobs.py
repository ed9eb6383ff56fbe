"""What is to be done now and then, whoever does it: threads of the web process, or Celery.

`sweep` finds whatever no nudge found; `work` plans and submits until nothing is left.  Both may
run in any number of places at once.
"""

from collections.abc import Callable

from loguru import logger

from app.sms.analytics.inbound_rollup import roll_up_inbounds
from app.sms.analytics.rollup import roll_up_batches
from app.sms.audience.plan import find_unplanned, plan_broadcast
from app.sms.broadcasts.control import cancel_left_surplus, carry_out_wishes
from app.sms.broadcasts.idempotency import forget_old_keys
from app.sms.broadcasts.schedule import (
    expire_overdue_broadcasts,
    settle_stragglers,
    start_due_broadcasts,
)
from app.sms.context import Context
from app.sms.dispatch.circuit_breaker import probe_circuit
from app.sms.dispatch.submit import expire_leases
from app.sms.eligibility.frequency_cap import forget_old_sends
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
