"""What Celery is started with: `celery --app app.worker.queue worker`, and `beat`.

Each process of a worker tells clients, too, in threads beside its tasks: a receiver that is slow
keeps no task waiting.

On SIGTERM a worker claims nothing more, lets the POSTs in hand end, and exits with 0.  Celery's
own way for that, REMAP_SIGTERM=SIGQUIT, always sleeps through the whole of its timeout.
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
from app.sms.context import Context, make_context
from app.webhooks.outgoing.http_client import WebhookHttpClient
from app.worker import celery_tasks
from app.worker.broker import make_celery
from app.worker.start import refuse_wrong_database
from app.worker.webhook_workers import WebhookWorkers

_MOST_S = 24.5
# Tenths of a second that a process waits, before it ends, for its parent to read a result.  The
# parent reads none of a task that it gave out in its last moment: unbounded, that took 30 seconds.
billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 10
# One byte that all processes of a worker see: not 0 once it is to end.
_stopping = mmap.mmap(-1, 1)
_tellers: list[WebhookWorkers] = []


@setup_logging.connect
def _use_our_logs(**_: Any) -> None:
    configure_logging(_config.log_level)


@worker_init.connect
def _open_context(**_: Any) -> Context:
    if _config.failpoint:
        failpoints.arm(*_config.failpoint)
    ctx = make_context(_config)
    celery_tasks.use_context(ctx, is_stopping=_is_stopping)
    return ctx


@worker_process_init.connect
def _open_process(**_: Any) -> None:
    _tell_clients(_open_context())


@worker_ready.connect
def _open_pool(sender: Any, **_: Any) -> None:
    """Of pools without processes, the first is the only one."""
    if not _tellers and not isinstance(sender.pool, celery.concurrency.prefork.TaskPool):
        _tell_clients(_open_context())


def _tell_clients(ctx: Context) -> None:
    webhook_client = WebhookHttpClient(production=_config.production)
    _tellers.append(WebhookWorkers(ctx, webhook_client, fast=1, slow=2, is_stopping=_is_stopping))
    _tellers[-1].start()


@worker_process_shutdown.connect
def _finish_telling(**_: Any) -> None:
    for tellers in _tellers:
        tellers.stop()


def _is_stopping() -> bool:
    return _stopping[0] != 0


@worker_process_init.connect
def _leave_sigterm_to_the_parent(**_: Any) -> None:
    """Some send it to every process of a group (Heroku); the parent knows what is in hand."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@worker_shutting_down.connect
def _stop_claiming(**_: Any) -> None:
    _stopping[0] = 1
    # What then is still in hand ends with us, and its lease tells.
    last = threading.Timer(_MOST_S, _end)
    last.daemon = True
    last.start()


def _end() -> None:
    logger.error("not everything in hand ended in time")
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
_ctx.db.close()  # what is opened here is nothing for the processes of a pool
