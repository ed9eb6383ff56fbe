"""The Celery application as it is set up for broker, workers and beat.

The broker carries names of tasks and nothing else.  Work that dies with its worker is given back
by its lease in the database, not by the broker; still, what the broker holds is acknowledged late.
"""

from typing import Any

from celery import Celery
from kombu import Queue

from app.config import Config, ConfigError
from app.worker import celery_tasks

_HOUSEKEEPING_S = 60.0
# For SIGQUIT; on SIGTERM a worker ends as soon as the POSTs in hand have.
_SOFT_SHUTDOWN_S = 21.0
_VISIBILITY_S = 300
_SOCKET_TIMEOUT_S = 2.0


def make_celery(config: Config) -> Celery:
    """The Celery application that the settings describe; connects to nothing yet."""
    if config.broker_url is None:
        raise ConfigError("set REDIS_URL or CELERY_BROKER_URL for Celery")
    app = Celery("clarion", broker=config.broker_url, set_as_current=True)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_soft_shutdown_timeout=_SOFT_SHUTDOWN_S,
        worker_enable_soft_shutdown_on_idle=False,
        worker_concurrency=config.sender_threads,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        # Commands to workers need a broadcast, which SQS has none of.
        worker_enable_remote_control=not config.broker_url.startswith("sqs"),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=_SOCKET_TIMEOUT_S,
        broker_transport_options=_choose_transport(config.broker_url),
        # Those of the clock first.
        task_queues=[Queue(celery_tasks.CLOCK_QUEUE), Queue(celery_tasks.WORK_QUEUE)],
        task_default_queue=celery_tasks.WORK_QUEUE,
        accept_content=["json"],
        timezone="UTC",
        # In memory: a file would have to be kept somewhere, and to be trusted.
        beat_scheduler="celery.beat:Scheduler",
        beat_schedule=_make_timetable(config),
    )
    return app


def _make_timetable(config: Config) -> dict[str, Any]:
    return {
        "sweep": {"task": celery_tasks.run_sweep.name, "schedule": config.rules.sweep_every_s},
        "book": {"task": celery_tasks.record_events.name, "schedule": config.rules.sweep_every_s},
        "ask": {"task": celery_tasks.run_questions.name, "schedule": config.rules.sweep_every_s},
        "keep house": {"task": celery_tasks.run_housekeeping.name, "schedule": _HOUSEKEEPING_S},
    }


def _choose_transport(broker_url: str) -> dict[str, Any]:
    # Who publishes tries again by itself, or leaves it to the next sweep.
    once = {"max_retries": 0, "interval_start": 0, "interval_step": 0}
    if broker_url.startswith(("redis", "rediss")):
        return once | {
            "visibility_timeout": _VISIBILITY_S,
            # Looked for each 10 seconds, not each 100.
            "unacked_restore_throttle": 1,
            "socket_timeout": _SOCKET_TIMEOUT_S,
            "socket_connect_timeout": _SOCKET_TIMEOUT_S,
            "queue_order_strategy": "priority",
        }
    if broker_url.startswith("sqs"):
        return once | {"visibility_timeout": _VISIBILITY_S}
    return once
