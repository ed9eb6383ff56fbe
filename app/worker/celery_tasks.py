"""The nudges: how a request tells whoever works in the background, and Celery's side of it.

A nudge carries nothing but its name.  Losing all of them loses at most the time to the next sweep.
Few wait at a time, however long nobody takes them: whoever finds something to do tells one more,
until every worker is busy.
"""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from celery import Task, shared_task
from loguru import logger

from app.db.schema import WrongDatabase
from app.sms.context import Context
from app.sms.dispatch.burst import Burst, submit_next
from app.subscribers.imports.job import has_imports
from app.webhooks.incoming.apply import apply_events
from app.worker.jobs import import_next, plan_next, poll_sinch, roll_up, run_maintenance, sweep

# One for each, so that the clock's does not stand in line behind a long broadcast.
CLOCK_QUEUE, WORK_QUEUE = "clarion-clock", "clarion-work"
# More would find nothing more.
MAX_WAITING = 4
WAKE_EXPIRES_S = 60
# Then another task goes on, and what the clock asks for gets its turn.
WORK_S = 3.0
_LOOK_EVERY_S = 0.2

_contexts: list[Context] = []
_burst = Burst()
_is_stopping: list[Callable[[], bool]] = [lambda: False]


def use_context(ctx: Context, *, is_stopping: Callable[[], bool]) -> None:
    """Let the tasks of this process work with `ctx`, and begin nothing more when told so."""
    _contexts[:] = [ctx]
    _is_stopping[:] = [is_stopping]


class WakeTask(Task):  # type: ignore[type-arg]  # generic for mypy alone
    """A task that is queued only while few of its kind wait, and whose failure is only logged.

    Celery itself would write the error's message, which may quote a statement with its values.
    """

    abstract = True
    queue: str

    def apply_async(self, *args: Any, **options: Any) -> Any:
        """None where enough wait already."""
        with self.app.producer_or_acquire() as producer:
            line = producer.channel.queue_declare(self.queue, durable=True, auto_delete=False)
        if line.message_count < MAX_WAITING:
            return super().apply_async(*args, **{"retry": False} | options)
        return None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except WrongDatabase as e:
            logger.bind(reason=str(e)).critical("nothing is sent from this database")
        except Exception as e:
            logger.opt(exception=e).error("background work failed: the next sweep tries again")


@shared_task(name="clarion.work", base=WakeTask, queue=WORK_QUEUE, expires=WAKE_EXPIRES_S)
def work() -> None:
    """Plan and submit what there is, for a while; then somebody goes on."""
    deadline = time.monotonic() + WORK_S
    told = False
    while not _is_stopping[0]() and _work_once(_contexts[0]) and not _is_stopping[0]():
        late = time.monotonic() > deadline
        if not told or late:
            told = wake_workers()
        if told and late:  # without a broker nobody else would go on
            return


@shared_task(name="clarion.sweep", base=WakeTask, queue=CLOCK_QUEUE, expires=WAKE_EXPIRES_S)
def run_sweep() -> None:
    """Do what the clock asks for; then there may be work."""
    sweep(_contexts[0])
    wake_workers()
    if has_imports(_contexts[0].subscriber_context):
        wake_importers()


@shared_task(name="clarion.book", base=WakeTask, queue=CLOCK_QUEUE, expires=WAKE_EXPIRES_S)
def record_events() -> None:
    """Apply the events that wait, for a while; then somebody goes on."""
    deadline = time.monotonic() + WORK_S
    while not _is_stopping[0]() and apply_events(_contexts[0]):
        if time.monotonic() > deadline and wake_report_workers():
            return
    # Whoever texted us may have to be answered.
    _nudge(work, 1)


@shared_task(name="clarion.import", base=WakeTask, queue=WORK_QUEUE, expires=WAKE_EXPIRES_S)
def import_some() -> None:
    """Work on a file of subscribers for a while; then somebody goes on, and others get a turn."""
    while not _is_stopping[0]() and import_next(_contexts[0], stop=_is_stopping[0]):
        if wake_importers():
            return


@shared_task(name="clarion.ask", base=WakeTask, queue=CLOCK_QUEUE, expires=WAKE_EXPIRES_S)
def run_questions() -> None:
    """Ask Sinch for what it has not told by itself, and sum up what is known."""
    try:
        poll_sinch(_contexts[0])
    finally:
        roll_up(_contexts[0], stop=_is_stopping[0])


@shared_task(name="clarion.keep_house", base=WakeTask, queue=CLOCK_QUEUE, expires=WAKE_EXPIRES_S)
def run_housekeeping() -> None:
    """Do what is done each minute."""
    run_maintenance(_contexts[0])


def wake_workers() -> bool:
    """Tell workers that there may be something to send; False when the broker takes no nudge."""
    return _nudge(work, MAX_WAITING)


def wake_report_workers() -> bool:
    """Tell a worker that there may be events to apply; False when the broker takes no nudge."""
    return _nudge(record_events, 1)


def wake_importers() -> bool:
    """Tell a worker that there may be a file to import; False when the broker takes no nudge."""
    return _nudge(import_some, 1)


def _nudge(task: Any, times: int) -> bool:
    """Tried twice, since a connection that lay idle may have been closed."""
    for again in (True, False):
        try:
            for _ in range(times):
                task.apply_async()
        except Exception as e:
            if not again:
                logger.opt(exception=e).warning("the broker takes no nudge: a sweep will do")
        else:
            return True
    return False


def _work_once(ctx: Context) -> bool:
    """Plan or submit once, or wait a little for what may go soon; False when there is nothing."""
    if plan_next(ctx):
        return True
    found = submit_next(ctx, _burst, stop=_is_stopping[0])
    if not isinstance(found, datetime):
        return found
    wait_s = (found - ctx.now()).total_seconds()
    if wait_s > ctx.rules.sweep_every_s:
        return False  # a sweep comes first
    time.sleep(min(max(wait_s, 0.02), _LOOK_EVERY_S))
    return True
