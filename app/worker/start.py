"""Starting the background of a web process."""

import atexit
import os
import sys

from flask import Flask
from loguru import logger
from sqlalchemy.exc import SQLAlchemyError

from app.config import EXIT_CONFIG, Background, Config
from app.db.engine import WrongPragma
from app.db.schema import WrongDatabase
from app.sms.context import Context
from app.worker.broker import make_celery
from app.worker.celery_tasks import wake_importers, wake_report_workers, wake_workers
from app.worker.threads import BackgroundThreads
from app.worker.waker import Waker
from app.worker.webhook_workers import WebhookWorkers


def start_background(app: Flask, config: Config) -> None:
    """Let somebody work off what the requests leave: threads of this process, or Celery.

    Ends the process with code 78 when the database is not ours to send from.
    """
    ctx: Context = app.extensions["clarion"]
    refuse_wrong_database(ctx)
    if config.background is Background.CELERY:
        make_celery(config)
        for name, tell in (
            ("wake_workers", wake_workers),
            ("wake_report_worker", wake_report_workers),
            ("wake_importer", wake_importers),
        ):
            nudger = Waker(tell)
            app.extensions[name] = nudger.wake_workers
            nudger.start()
        return
    tellers = WebhookWorkers(ctx, app.extensions["webhook_client"])
    threads = BackgroundThreads(ctx, senders=config.sender_threads, tellers=tellers)
    app.extensions["background"] = threads
    app.extensions["wake_workers"] = threads.wake_workers
    app.extensions["wake_report_worker"] = threads.wake_report_worker
    app.extensions["wake_importer"] = threads.wake_importer
    threads.start()
    atexit.register(threads.stop)


def is_serving() -> bool:
    """False for the commands of `flask` other than `run`: they serve nobody."""
    from_cli = os.environ.get("FLASK_RUN_FROM_CLI") == "true"
    return not from_cli or "run" in sys.argv[1:]


def refuse_wrong_database(ctx: Context) -> None:
    """End the process when the database is not ours; one that is away may come back."""
    try:
        ctx.require_own_database()
    except (WrongDatabase, WrongPragma) as e:
        sys.stderr.write(f"clarion: {e}\n")
        raise SystemExit(EXIT_CONFIG) from e
    except SQLAlchemyError as e:
        logger.opt(exception=e).error("the database cannot be reached yet")
