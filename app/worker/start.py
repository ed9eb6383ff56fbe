"""Start of the background work of a web process."""

import atexit
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from flask import Flask
from loguru import logger
from sqlalchemy.exc import SQLAlchemyError

from app.config import EXIT_CONFIG, Background, Config
from app.db.engine import WrongPragma
from app.db.schema import WrongDatabase
from app.health import Readiness
from app.metrics.process import count_process
from app.sms.context import Context
from app.worker.loops import Loop
from app.worker.threads import BackgroundThreads
from app.worker.webhook_workers import WebhookWorkers

# One wake-up serves all requests of this time.
_GATHER_S = 0.05
# After the broker took no wake-up.
_BROKER_PAUSE_S = 2.0
_WATCH_EVERY_S = 30.0


def start_background(app: Flask, config: Config) -> None:
    """Start the background threads, or the wake-ups for Celery's workers.

    Exits with code 78 if the database is not migrated or belongs to another instance.
    """
    ctx: Context = app.extensions["clarion"]
    refuse_wrong_database(ctx)
    count_process("web", choose_folder(config))
    readiness: Readiness = app.extensions["readiness"]
    watch = Loop("readiness", lambda: _watch(readiness, ctx), delay_s=_WATCH_EVERY_S)
    watch.start()
    if config.background is Background.CELERY:
        _leave_work_to_celery(app, config, readiness)
        return
    webhook_workers = WebhookWorkers(ctx, app.extensions["webhook_client"])
    threads = BackgroundThreads(ctx, senders=config.sender_threads, webhook_workers=webhook_workers)
    app.extensions["background"] = threads
    app.extensions["wake_workers"] = threads.wake_workers
    app.extensions["wake_report_worker"] = threads.wake_report_worker
    app.extensions["wake_importer"] = threads.wake_importer
    threads.start()
    atexit.register(threads.stop)


def choose_folder(config: Config) -> Path | None:
    """Return the folder in which processes count together; None if there is only one process."""
    is_alone = config.web_concurrency == 1 and config.background is Background.THREADS
    return None if is_alone else config.monitoring.metrics_dir


def _leave_work_to_celery(app: Flask, config: Config, readiness: Readiness) -> None:
    """Wake Celery's workers.  Without them, Celery would be a tenth of the time of the start."""
    from app.worker.broker import make_celery, ping_broker  # noqa: PLC0415
    from app.worker.celery_tasks import wake_report_workers, wake_workers  # noqa: PLC0415

    readiness.ping_broker = partial(ping_broker, make_celery(config))
    app.extensions["wake_workers"] = app.extensions["wake_importer"] = _start_waker(wake_workers)
    app.extensions["wake_report_worker"] = _start_waker(wake_report_workers)


def _watch(readiness: Readiness, ctx: Context) -> float:
    """Log what stops the service from sending, also if GET /ready is never called."""
    readiness.check(ctx)
    return _WATCH_EVERY_S


def _start_waker(send_wake_up: Callable[[], bool]) -> Callable[[], None]:
    """Start a thread that sends wake-ups, so that no request waits for a slow or dead broker.

    `send_wake_up` returns False if the broker took none.  Returns a function that returns at once.
    """

    def work() -> None:
        time.sleep(_GATHER_S if send_wake_up() else _BROKER_PAUSE_S)

    waker = Loop("waker", work, delay_s=None)
    waker.start()
    return waker.wake


def refuse_wrong_database(ctx: Context) -> None:
    """Exit with code 78 if the database is not migrated or belongs to another instance.

    A database that cannot be reached is only logged: it may come back.
    """
    try:
        ctx.require_own_database()
    except (WrongDatabase, WrongPragma) as e:
        sys.stderr.write(f"clarion: {e}\n")
        raise SystemExit(EXIT_CONFIG) from e
    except SQLAlchemyError as e:
        logger.opt(exception=e).error("the database cannot be reached yet")
