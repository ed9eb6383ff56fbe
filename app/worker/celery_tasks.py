"""Celery tasks and the wake-ups that queue them.

A wake-up carries only the name of a task.  If all wake-ups are lost, the next sweep finds the work.
At most MAX_WAITING wake-ups wait in a queue, so all wake-ups of a queue find the same work.  A task
that finds work queues one more, until all workers are busy.
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
from app.webhooks.incoming.apply import apply_events
from app.worker.jobs import import_next, plan_next, run_maintenance, run_polls, sweep
from app.worker.loops import log_failure

# Two queues, so that scheduled tasks do not wait behind a long broadcast.
CLOCK_QUEUE, WORK_QUEUE = "clarion-clock", "clarion-work"
# More waiting tasks would find no more work.
MAX_WAITING = 4
# Wake-ups for callbacks leave room in their queue for the tasks of beat.
_MAX_SCHEDULED = 2 * MAX_WAITING
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
    """A task that is queued only while fewer than `max_waiting` tasks wait in its queue.

    Its failure is only logged: Celery would log the error's message, which may quote a statement
    with its values.
    """

    abstract = True
    queue: str
    max_waiting = MAX_WAITING

    def apply_async(self, *args: Any, **options: Any) -> Any:
        """Queue the task.  Returns None if enough tasks are waiting."""
        try:
            with self.app.producer_or_acquire() as producer:
                waiting = count_waiting(producer.channel, self.queue)
            if waiting < self.max_waiting:
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


_wake_task = partial(shared_task, base=WakeTask, expires=WAKE_EXPIRES_S)
_scheduled_task = partial(_wake_task, queue=CLOCK_QUEUE, max_waiting=_MAX_SCHEDULED)


@_wake_task(name="clarion.work", queue=WORK_QUEUE)
def work() -> None:
    """Send for WORK_S seconds, then import for a few; then queue another task if there is more."""
    while not _is_stopping[0]():
        has_sent = _send()
        has_imported = not _is_stopping[0]() and import_next(_contexts[0], stop=_is_stopping[0])
        # Without a broker no other task would continue.
        if not (has_sent or has_imported) or wake_workers():
            return


def _send() -> bool:
    """Plan and submit for WORK_S seconds.  Returns False if there is nothing more."""
    deadline = time.monotonic() + WORK_S
    woke_others = False
    while _work_once(_contexts[0]):
        if _is_stopping[0]() or time.monotonic() > deadline:
            return True
        woke_others = woke_others or wake_workers()
    return False


@_scheduled_task(name="clarion.sweep")
def run_sweep() -> None:
    """Run the jobs of a sweep, then wake the workers for what became due."""
    sweep(_contexts[0])
    wake_workers()


@_wake_task(name="clarion.record", queue=CLOCK_QUEUE)
def record_events() -> None:
    """Apply stored callbacks for WORK_S seconds; then queue another task if there are more."""
    deadline = time.monotonic() + WORK_S
    while not _is_stopping[0]() and apply_events(_contexts[0]):
        if time.monotonic() > deadline and wake_report_workers():
            return
    # A text from a phone may have stored a reply.
    _send_wake_ups(work, 1)


@_scheduled_task(name="clarion.poll")
def poll() -> None:
    """Poll Sinch for missing reports and texts, and update the daily counters."""
    run_polls(_contexts[0], stop=_is_stopping[0])


@_scheduled_task(name="clarion.maintenance")
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
