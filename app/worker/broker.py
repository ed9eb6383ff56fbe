"""Configuration of the Celery application for broker, workers and beat.

The broker carries only names of tasks.  The work of a dead worker becomes free when its lease in
the database ends.  Tasks are acknowledged late all the same.
"""

import os
from datetime import UTC, datetime
from typing import Any

from celery import Celery
from kombu import Queue

from app.config import Config, ConfigError
from app.worker import celery_tasks

_MAINTENANCE_EVERY_S = 60.0
# For SIGQUIT; on SIGTERM a worker exits as soon as its POSTs have ended.
_SOFT_SHUTDOWN_S = 21.0
_VISIBILITY_S = 300
_SOCKET_TIMEOUT_S = 2.0


def make_celery(config: Config) -> Celery:
    """Return the configured Celery application, without connecting to the broker.

    Raises ConfigError if no broker is set.
    """
    if config.broker_url is None:
        raise ConfigError("set REDIS_URL or CELERY_BROKER_URL for Celery")
    # Celery reads them ahead of what it is told: brokers, queues and modules of other programs.
    for name in [name for name in os.environ if name.startswith("CELERY_")]:
        del os.environ[name]
    app = Celery("clarion", broker=config.broker_url)
    # For all threads: `set_as_current` would be for this one, and the thread that sends wake-ups
    # would look for RabbitMQ on localhost.
    app.set_default()
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_consumer="app.worker.consumer:PatientConsumer",
        worker_soft_shutdown_timeout=_SOFT_SHUTDOWN_S,
        worker_enable_soft_shutdown_on_idle=False,
        worker_concurrency=config.sender_threads,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        # Remote control needs a broadcast queue, which SQS does not have.
        worker_enable_remote_control=not config.broker_url.startswith("sqs"),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=_SOCKET_TIMEOUT_S,
        broker_transport_options=_choose_transport(config.broker_url),
        task_queues=[Queue(celery_tasks.CLOCK_QUEUE), Queue(celery_tasks.WORK_QUEUE)],
        task_default_queue=celery_tasks.WORK_QUEUE,
        accept_content=["json"],
        timezone="UTC",
        # In memory: a schedule file would need a trusted, persistent place.
        beat_scheduler="celery.beat:Scheduler",
        beat_schedule=_make_schedule(config),
    )
    return app


def ping_broker(app: Celery) -> None:
    """Ask the broker for the length of a queue, over a new connection.  Raises its error."""
    try:
        with app.connection_for_write() as connection:
            celery_tasks.count_waiting(connection.default_channel, celery_tasks.CLOCK_QUEUE)
    except Exception as e:
        celery_tasks.mark_broker_outage(app, e)
        raise


def _make_schedule(config: Config) -> dict[str, Any]:
    sweep_every_s = config.rules.sweep_every_s
    # Due at once when beat starts, so that /ready need not wait for the first sweep.
    long_ago = datetime.fromtimestamp(0, UTC)
    tasks = {
        celery_tasks.run_sweep: sweep_every_s,
        celery_tasks.record_events: sweep_every_s,
        celery_tasks.poll: sweep_every_s,
        celery_tasks.maintain: _MAINTENANCE_EVERY_S,
    }
    return {
        task.name: {"task": task.name, "schedule": every_s, "last_run_at": long_ago}
        for task, every_s in tasks.items()
    }


def _choose_transport(broker_url: str) -> dict[str, Any]:
    # Our own code retries once, or leaves the work to the next sweep.
    once = {"max_retries": 0, "interval_start": 0, "interval_step": 0}
    if broker_url.startswith(("redis", "rediss")):
        return once | {
            "visibility_timeout": _VISIBILITY_S,
            # Looks for unacknowledged tasks every 10 seconds, not every 100.
            "unacked_restore_throttle": 1,
            "socket_timeout": _SOCKET_TIMEOUT_S,
            "socket_connect_timeout": _SOCKET_TIMEOUT_S,
            # However many callbacks keep one queue full, the other has its turns.
            "queue_order_strategy": "round_robin",
        }
    if broker_url.startswith("sqs"):
        return once | {"visibility_timeout": _VISIBILITY_S}
    return once
