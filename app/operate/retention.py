"""Retention: everything personal that is kept for a time, and what deletes it afterwards.

The consent ledger, suppressions and the audit log are kept; subscribers too, until they are erased.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from loguru import logger

from app.db.audit import write_audit
from app.db.old_rows import OldRows, Stop, never, stop_after
from app.sms.broadcasts.idempotency import old_keys
from app.sms.caps.budget import old_uses
from app.sms.context import Context
from app.sms.drafts.store import old_drafts
from app.sms.eligibility.frequency_cap import old_sends
from app.sms.operations.heartbeat import record_purge
from app.sms.privacy.retention import count_due_messages, old_inbounds, purge_messages
from app.subscribers.imports.service import count_old_imports, purge_imports
from app.webhooks.incoming.apply import old_dead_letters
from app.webhooks.outgoing.deliver import count_old_events, purge_old_events

# At one run of the timetable, which has other jobs to do: the next run continues.
_RUN_S = 5.0


@dataclass(frozen=True, slots=True)
class Retained:
    """A kind of data, how many of it are due, and what deletes those and returns how many."""

    name: str
    count: Callable[[Context], int]
    purge: Callable[[Context, Stop], int]


def _rows(name: str, find: Callable[[Context], OldRows]) -> Retained:
    """Return a kind whose rows are simply deleted."""
    return Retained(
        name,
        lambda ctx: find(ctx).count(ctx.db),
        lambda ctx, stop: find(ctx).delete(ctx.db, stop=stop),
    )


RETAINED = (
    Retained(
        "messages, with the texts of their broadcasts",
        count_due_messages,
        lambda ctx, stop: purge_messages(ctx, stop=stop),
    ),
    _rows("texts from phones", old_inbounds),
    _rows("callbacks that could not be applied", old_dead_letters),
    _rows("Idempotency-Keys with their answers", old_keys),
    Retained(
        "events for clients", count_old_events, lambda ctx, stop: purge_old_events(ctx, stop=stop)
    ),
    _rows("drafts", old_drafts),
    Retained(
        "imports, with their files and refused rows",
        lambda ctx: count_old_imports(ctx.subscriber_context),
        lambda ctx, stop: purge_imports(ctx.subscriber_context, stop=stop),
    ),
    _rows("sends that the marketing cap counts", old_sends),
    _rows("uses that the caps of clients count", old_uses),
)


def count_due(ctx: Context) -> Iterator[tuple[str, int]]:
    """Yield each kind with how many of it are due."""
    for retained in RETAINED:
        yield retained.name, retained.count(ctx)


def purge_all(ctx: Context, *, actor: str) -> Iterator[tuple[str, int]]:
    """Delete all that is due.  Yields each kind with how many of it were deleted.

    Many transactions delete it, so that the entry of the audit log is written before them.
    """
    with ctx.db.write() as tx:
        write_audit(tx, ctx.now(), actor, "purge", "all")
    for retained in RETAINED:
        yield retained.name, retained.purge(ctx, never)


def purge_due(ctx: Context) -> None:
    """Delete what is due, for some seconds; a kind that fails stops no other.

    The time is recorded if none failed.
    """
    stop, has_failed = stop_after(_RUN_S), False
    # Messages, of which there are most, come last.
    for retained in reversed(RETAINED):
        try:
            deleted = retained.purge(ctx, stop)
        except Exception:
            logger.bind(job=f"purge: {retained.name}").exception(
                "a job failed; the next run tries it again"
            )
            has_failed = True
        else:
            if deleted:
                logger.bind(kind=retained.name, deleted=deleted).info("old data was deleted")
    if not has_failed:
        record_purge(ctx)
