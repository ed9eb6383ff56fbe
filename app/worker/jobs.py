"""What is to be done now and then, whoever does it: threads of the web process, or Celery.

`sweep` finds whatever no nudge found; `work` plans and submits until nothing is left.  Both may
run in any number of places at once.
"""

from collections.abc import Callable

from loguru import logger

from app.sms.analytics.inbound_rollup import roll_up_inbounds
from app.sms.analytics.rollup import roll_up_batches
from app.sms.audience.plan import find_unplanned, plan_broadcast
from app.sms.broadcasts.control import cancel_at_sinch, cancel_duplicate_batches
from app.sms.broadcasts.idempotency import purge_old_keys
from app.sms.broadcasts.schedule import (
    expire_overdue_broadcasts,
    finalize_stale,
    start_due_broadcasts,
)
from app.sms.context import Context
from app.sms.dispatch.circuit_breaker import probe_circuit
from app.sms.dispatch.submit import expire_leases
from app.sms.eligibility.frequency_cap import purge_old_sends
from app.sms.inbound.double_opt_in import request_confirmations
from app.sms.inbound.receive import fetch_inbounds_when_due
from app.sms.lifecycle.finalize import finalize_all_reported
from app.sms.operations.heartbeat import record_consistency, record_heartbeat
from app.sms.operations.invariants import find_violations
from app.sms.operations.restore import end_restore_when_done
from app.sms.privacy.erase import continue_erasures
from app.sms.recovery.unknown_outcome import escalate_overdue, reconcile_due_batches
from app.sms.reports.reconcile import fetch_due_reports
from app.subscribers.imports.job import work_imports
from app.subscribers.imports.service import purge_imports
from app.webhooks.incoming.apply import purge_dead_letters

_SWEEP: tuple[Callable[[Context], object], ...] = (
    expire_leases,
    start_due_broadcasts,
    expire_overdue_broadcasts,
    probe_circuit,
    reconcile_due_batches,
    escalate_overdue,
    end_restore_when_done,
    cancel_at_sinch,
    cancel_duplicate_batches,
    finalize_stale,
    finalize_all_reported,
    record_heartbeat,
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


def poll_sinch(ctx: Context) -> None:
    """Ask for what Sinch has not told by itself: reports that are due, texts from phones."""
    ctx.require_own_database()
    fetch_due_reports(ctx)
    fetch_inbounds_when_due(ctx)


def roll_up(ctx: Context, *, stop: Callable[[], bool] = lambda: False) -> None:
    """Bring the sums by day in line with what became of messages, and what came from phones."""
    roll_up_batches(ctx, stop=stop)
    roll_up_inbounds(ctx, stop=stop)


def run_maintenance(ctx: Context) -> None:
    """What is done each minute: forget what is old, check the invariants, erase what can go."""
    ctx.require_own_database()
    purge_old_keys(ctx)
    purge_dead_letters(ctx)
    purge_old_sends(ctx)
    purge_imports(ctx.subscriber_context)
    request_confirmations(ctx)
    violations = find_violations(ctx, thorough=False)
    for violation in violations:
        logger.bind(violation=violation).error("the books do not balance")
    record_consistency(ctx, violations)
    continue_erasures(ctx)


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
    return work_imports(ctx.subscriber_context, stop=stop)
