"""Background jobs: what runs when.

    woken by a broadcast, and after every sweep    plan_next, then sms/dispatch/burst.py
    woken by a callback, and after every sweep     webhooks/incoming/apply.py
    woken by an uploaded file, and every 15 s      import_next
    every SWEEP_EVERY_S (15 s)                     sweep: the jobs of EVERY_SWEEP
    every 5 s (Celery: at every sweep)             run_polls
    every minute                                   run_maintenance: the jobs of EVERY_MINUTE
    every second                                   webhooks/outgoing, by webhook_workers.py

Threads of the web process or Celery run them.  Every job may run in several processes at once.
"""

from collections.abc import Callable

from loguru import logger

from app.accounts.sessions import purge_old_sessions
from app.db.old_rows import Stop, never
from app.operate.audit import seal_entries
from app.operate.retention import purge_due
from app.sms.analytics.inbound_rollup import roll_up_inbounds
from app.sms.analytics.rollup import roll_up_batches
from app.sms.audience.plan import find_unplanned, plan_broadcast
from app.sms.broadcasts.control import cancel_at_sinch, cancel_duplicate_batches
from app.sms.broadcasts.schedule import expire_overdue_broadcasts, start_due_broadcasts
from app.sms.context import Context
from app.sms.dispatch.canary import judge_canaries
from app.sms.dispatch.circuit_breaker import probe_circuit, retry_held
from app.sms.dispatch.submit import expire_leases
from app.sms.inbound.double_opt_in import request_confirmations
from app.sms.inbound.receive import fetch_inbounds_when_due
from app.sms.lifecycle.finalize import finalize_stale
from app.sms.operations.heartbeat import record_consistency, record_heartbeat
from app.sms.operations.invariants import find_violations
from app.sms.operations.restore import end_restore_when_done
from app.sms.privacy.erase import continue_erasures
from app.sms.recovery.unknown_outcome import escalate_overdue, reconcile_due_batches
from app.sms.reports.reconcile import fetch_due_reports
from app.subscribers.imports.job import work_imports


def check_consistency(ctx: Context) -> None:
    """Check the invariants.  Logs each violation and records the result for `/ready`."""
    violations = find_violations(ctx, thorough=False)
    for violation in violations:
        logger.bind(violation=violation).error("a consistency check failed")
    record_consistency(ctx, violations)


def purge_sign_ins(ctx: Context) -> None:
    """Delete sessions of users that have ended, and waits after wrong passwords of long ago."""
    purge_old_sessions(ctx.db, ctx.clock)


def seal_audit_log(ctx: Context) -> None:
    """Seal the entries of the audit log that are old enough."""
    seal_entries(ctx.db, ctx.clock)


EVERY_SWEEP: tuple[Callable[[Context], object], ...] = (
    expire_leases,
    start_due_broadcasts,
    expire_overdue_broadcasts,
    judge_canaries,
    probe_circuit,
    retry_held,
    reconcile_due_batches,
    escalate_overdue,
    end_restore_when_done,
    cancel_at_sinch,
    cancel_duplicate_batches,
    finalize_stale,
    record_heartbeat,
)
EVERY_MINUTE: tuple[Callable[[Context], object], ...] = (
    purge_sign_ins,
    request_confirmations,
    check_consistency,
    continue_erasures,
    seal_audit_log,
    purge_due,
)


def sweep(ctx: Context) -> None:
    """Do everything that is due, except planning and submitting."""
    _run_jobs(ctx, EVERY_SWEEP)


def run_maintenance(ctx: Context) -> None:
    """Ask for confirmations, check the invariants, continue erasures and delete old data."""
    _run_jobs(ctx, EVERY_MINUTE)


def _run_jobs(ctx: Context, jobs: tuple[Callable[[Context], object], ...]) -> None:
    """Run the jobs in their order.  A failure is logged and does not stop the other jobs."""
    ctx.require_own_database()
    for job in jobs:
        try:
            job(ctx)
        except Exception:
            logger.bind(job=job.__name__).exception("a job failed; the next run tries it again")


def run_polls(ctx: Context, *, stop: Stop = never) -> None:
    """Fetch due reports and texts from phones that no callback delivered, then roll up."""
    ctx.require_own_database()
    try:
        fetch_due_reports(ctx)
        fetch_inbounds_when_due(ctx)
    finally:
        roll_up(ctx, stop=stop)


def roll_up(ctx: Context, *, stop: Stop = never) -> None:
    """Update the daily counters from changed batches and new inbound texts."""
    roll_up_batches(ctx, stop=stop)
    roll_up_inbounds(ctx, stop=stop)


def plan_next(ctx: Context) -> bool:
    """Plan a part of the most urgent unplanned broadcast.  Returns False if there is none."""
    ctx.require_own_database()
    unplanned = find_unplanned(ctx)
    if not unplanned:
        return False
    plan_broadcast(ctx, unplanned[0])
    return True


def import_next(ctx: Context, *, stop: Stop = never) -> bool:
    """Work on an import for a few seconds.  Returns False if there is none."""
    ctx.require_own_database()
    return work_imports(ctx.subscriber_context, stop=stop)
