"""The Celery application: `celery --app app.worker.queue worker`, and `beat`.

Each process of a worker also posts events to clients, in threads beside its tasks, so a slow
receiver delays no task.

On SIGTERM a worker claims nothing more, finishes its POSTs and exits with 0.  Celery's own setting
for that, REMAP_SIGTERM=SIGQUIT, always sleeps through its whole timeout.
"""

import mmap
import os
import signal
import sys
import threading
from typing import Any

import billiard.pool
import celery.concurrency.prefork
from celery.signals import (
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutting_down,
)
from loguru import logger

from app.config import EXIT_CONFIG, ConfigError, load_config_or_exit
from app.failpoints import failpoints
from app.logs import configure_logging
from app.metrics.port import serve_metrics
from app.metrics.process import count_process, count_sinch_call, join_processes
from app.metrics.sentry import start_sentry
from app.sms.context import Context, make_context
from app.webhooks.outgoing.http_client import WebhookHttpClient
from app.worker import celery_tasks
from app.worker.broker import make_celery
from app.worker.start import choose_folder, refuse_wrong_database
from app.worker.webhook_workers import WebhookWorkers

_MAX_SHUTDOWN_S = 24.5
# Tenths of a second that a process waits for its parent to read a result before it exits.  A parent
# that is shutting down does not read the result of its last task: unlimited, that took 30 s.
billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 10
# One byte shared by all processes of a worker: not 0 once the worker is shutting down.
_stopping = mmap.mmap(-1, 1)
_webhook_workers: list[WebhookWorkers] = []


@setup_logging.connect
def _use_our_logs(**_: Any) -> None:
    configure_logging(_config.log_level)


@worker_init.connect
def _open_context(**_: Any) -> Context:
    if _config.failpoint:
        failpoints.arm(*_config.failpoint)
    if _config.monitoring.sentry_dsn:
        start_sentry(_config.monitoring.sentry_dsn, environment=_config.env)
    ctx = make_context(_config, on_called=count_sinch_call)
    celery_tasks.use_context(ctx, is_stopping=_is_stopping)
    return ctx


@worker_process_init.connect
def _open_process(**_: Any) -> None:
    _begin_work(_open_context())


@worker_ready.connect
def _open_pool(sender: Any, **_: Any) -> None:
    """Begin to work in a pool without processes."""
    if not _webhook_workers and not isinstance(sender.pool, celery.concurrency.prefork.TaskPool):
        _begin_work(_open_context())


@worker_ready.connect
def _open_port(**_: Any) -> None:
    """Let Prometheus scrape this machine, if a port is set."""
    monitoring = _config.monitoring
    if monitoring.worker_port:
        join_processes(choose_folder(_config))
        serve_metrics(monitoring.worker_port, monitoring.metrics_token)


def _begin_work(ctx: Context) -> None:
    """Count this process, and start its webhook workers."""
    count_process("worker", choose_folder(_config))
    client = WebhookHttpClient(production=_config.production)
    workers = WebhookWorkers(ctx, client, fast=1, slow=2, is_stopping=_is_stopping)
    _webhook_workers.append(workers)
    workers.start()


@worker_process_shutdown.connect
def _stop_webhook_workers(**_: Any) -> None:
    for workers in _webhook_workers:
        workers.stop()


def _is_stopping() -> bool:
    return _stopping[0] != 0


@worker_process_init.connect
def _leave_sigterm_to_the_parent(**_: Any) -> None:
    """Ignore SIGTERM in a child: Heroku sends it to the whole group, and the parent ends us."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@worker_shutting_down.connect
def _stop_claiming(**_: Any) -> None:
    _stopping[0] = 1
    # Batches that are still in progress then become unknown when their lease ends.
    timer = threading.Timer(_MAX_SHUTDOWN_S, _end)
    timer.daemon = True
    timer.start()


def _end() -> None:
    logger.error("POSTs were still in progress at the end of the shutdown time")
    os._exit(1)


_config = load_config_or_exit()
try:
    app = make_celery(_config)
except ConfigError as e:
    sys.stderr.write(f"clarion: {e}\n")
    raise SystemExit(EXIT_CONFIG) from e
configure_logging(_config.log_level)
_ctx = make_context(_config)
refuse_wrong_database(_ctx)
_ctx.db.close()  # connections must not be shared with the processes of a pool
