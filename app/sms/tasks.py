"""The nudges: how a request tells whoever works in the background, and Celery's side of it.

A nudge carries nothing but its name.  Losing all of them loses at most the time to the next sweep.
"""

import time

from celery import shared_task
from loguru import logger

from app.sms.context import Context
from app.sms.timetable import keep_house, plan_next, submit_next, sweep

# Then another task goes on: with a POST of 20 s in hand a worker still ends within 25.
WORK_S = 3.0
NUDGE_EXPIRES_S = 60

_contexts: list[Context] = []


def use_context(ctx: Context) -> None:
    """Let the tasks of this process work with `ctx`."""
    _contexts[:] = [ctx]


@shared_task(name="clarion.work")
def work() -> None:
    """Plan and submit what there is, for a while."""
    deadline = time.monotonic() + WORK_S
    while plan_next(_contexts[0]) or submit_next(_contexts[0]) is True:
        if time.monotonic() > deadline:
            nudge_workers(1)
            return


@shared_task(name="clarion.sweep")
def run_sweep(workers: int) -> None:
    """Do what the clock asks for, then nudge so many workers."""
    sweep(_contexts[0])
    nudge_workers(workers)


@shared_task(name="clarion.keep_house")
def run_housekeeping() -> None:
    """Do what is done each minute."""
    keep_house(_contexts[0])


def nudge_workers(workers: int) -> None:
    """Tell so many workers that there may be something to do; a broker that is away loses time."""
    try:
        for _ in range(workers):
            work.apply_async(retry=False, expires=NUDGE_EXPIRES_S)
    except Exception as e:
        logger.opt(exception=e).warning("the broker takes no nudge: the next sweep will do")
