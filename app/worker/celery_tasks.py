"""Celery tasks and the wake-ups that queue them.

A wake-up carries only the name of a task.  If all wake-ups are lost, the next sweep finds the work.
At most MAX_WAITING wake-ups are queued.  A task that finds work queues one more, until all workers
are busy.
"""

import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from celery import Task, shared_task
from loguru import logger

from app.logs import mark_outage
from app.sms.context import Context
from app.sms.dispatch.burst import Burst, submit_next
from app.subscribers.imports.job import has_imports
from app.webhooks.incoming.apply import apply_events
from app.worker.jobs import import_next, plan_next, run_maintenance, run_polls, sweep
from app.worker.loops import log_failure

# Two queues, so that scheduled tasks do not wait behind a long broadcast.
CLOCK_QUEUE, WORK_QUEUE = "clarion-clock", "clarion-work"
# More waiting tasks would find no more work.
MAX_WAITING = 4
WAKE_EXPIRES_S = 60
# After this time a task ends and another continues, so that scheduled tasks get a worker.
WORK_S = 3.0
_LOOK_EVERY_S = 0.2

_contexts: list[Context] = []
_burst = Burst()
_is_stopping: list[Callable[[], bool]] = [lambda: False]


def use_context(ctx: Context, *, is_stopping: Callable[[], bool]) -> None:
    """Set the context of this process's tasks, and the check after which they claim nothing."""
    _contexts[:] = [ctx]
    _is_stopping[:] = [is_stopping]


def mark_broker_outage(app: Any, error: Exception) -> None:
    """Have an error of the broker logged by its reason, once a minute."""
    reason = f"{app.connection_for_write().as_uri()}: {str(error).partition(chr(10))[0][:200]}"
    mark_outage(error, "the broker is unreachable", reason)


def count_waiting(channel: Any, queue: str) -> int:
    """Return the number of tasks that wait in a queue, which is made if it is missing."""
    line = channel.queue_declare(queue, durable=True, auto_delete=False)
    return int(line.message_count)


class WakeTask(Task):  # type: ignore[type-arg]  # generic for mypy alone
    """A task that is queued only while fewer than MAX_WAITING wait in its queue.

    Its failure is only logged: Celery would log the error's message, which may quote a statement
    with its values.
    """

    abstract = True
    queue: str

    def apply_async(self, *args: Any, **options: Any) -> Any:
        """Queue the task.  Returns None if enough tasks are waiting."""
        try:
            with self.app.producer_or_acquire() as producer:
                waiting = count_waiting(producer.channel, self.queue)
            if waiting < MAX_WAITING:
                return super().apply_async(*args, **{"retry": False} | options)
        except Exception as e:
            mark_broker_outage(self.app, e)
            raise
        return None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except Exception as e:
            log_failure(e)


@shared_task(name="clarion.work", base=WakeTask, queue=WORK_QUEUE, expires=WAKE_EXPIRES_S)
def work() -> None:
    """Plan and submit for WORK_S seconds; then queue another task if there is more."""
    deadline = time.monotonic() + WORK_S
    woke_others = False
    while not _is_stopping[0]() and _work_once(_contexts[0]) and not _is_stopping[0]():
        late = time.monotonic() > deadline
        if not woke_others or late:
            woke_others = wake_workers()
        if woke_others and late:  # without a broker no other task would continue
            return


@shared_task(name="clarion.sweep", base=WakeTask, queue=CLOCK_QUEUE, expires=WAKE_EXPIRES_S)
def run_sweep() -> None:
    """Run the jobs of a sweep, then wake the workers for what became due."""
    sweep(_contexts[0])
    wake_workers()
    if has_imports(_contexts[0].subscriber_context):
        wake_importers()


@shared_task(name="clarion.record", base=WakeTask, queue=CLOCK_QUEUE, expires=WAKE_EXPIRES_S)
def record_events() -> None:
    """Apply stored callbacks for WORK_S seconds; then queue another task if there are more."""
    deadline = time.monotonic() + WORK_S
    while not _is_stopping[0]() and apply_events(_contexts[0]):
        if time.monotonic() > deadline and wake_report_workers():
            return
    # A text from a phone may have stored a reply.
    _send_wake_ups(work, 1)


@shared_task(name="clarion.import", base=WakeTask, queue=WORK_QUEUE, expires=WAKE_EXPIRES_S)
def import_some() -> None:
    """Work on an import for a few seconds; then queue another task, so that others get a turn."""
    while not _is_stopping[0]() and import_next(_contexts[0], stop=_is_stopping[0]):
        if wake_importers():
            return


@shared_task(name="clarion.poll", base=WakeTask, queue=CLOCK_QUEUE, expires=WAKE_EXPIRES_S)
def poll() -> None:
    """Poll Sinch for missing reports and texts, and update the daily counters."""
    run_polls(_contexts[0], stop=_is_stopping[0])


@shared_task(name="clarion.maintenance", base=WakeTask, queue=CLOCK_QUEUE, expires=WAKE_EXPIRES_S)
def maintain() -> None:
    """Run the jobs of every minute."""
    run_maintenance(_contexts[0])


def _send_wake_ups(task: Any, count: int) -> bool:
    """Queue a task `count` times.  Returns False if the broker fails twice.

    The second try is for an idle connection that the broker has closed.
    """
    for is_last in (False, True):
        try:
            for _ in range(count):
                task.apply_async()
        except Exception as e:
            if is_last:
                logger.opt(exception=e).warning(
                    "the broker took no wake-up; the next sweep finds the work"
                )
        else:
            return True
    return False


# Each returns False if the broker took no wake-up.
wake_workers = partial(_send_wake_ups, work, MAX_WAITING)
wake_report_workers = partial(_send_wake_ups, record_events, 1)
wake_importers = partial(_send_wake_ups, import_some, 1)


def _work_once(ctx: Context) -> bool:
    """Plan or submit once, or wait briefly for a batch that is due soon.

    Returns False if there is nothing to do before the next sweep.
    """
    if plan_next(ctx):
        return True
    result = submit_next(ctx, _burst, stop=_is_stopping[0])
    if not isinstance(result, datetime):
        return result
    wait_s = (result - ctx.now()).total_seconds()
    if wait_s > ctx.rules.sweep_every_s:
        return False
    time.sleep(min(max(wait_s, 0.02), _LOOK_EVERY_S))
    return True
