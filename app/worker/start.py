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
from app.worker.celery_tasks import nudge_bookers, nudge_importers, nudge_workers
from app.worker.threads import BackgroundThreads
from app.worker.waker import Nudger
from app.worker.webhook_workers import Tellers


def start_background(app: Flask, config: Config) -> None:
    """Let somebody work off what the requests leave: threads of this process, or Celery.

    Ends the process with code 78 when the database is not ours to send from.
    """
    ctx: Context = app.extensions["clarion"]
    refuse_wrong_database(ctx)
    if config.background is Background.CELERY:
        make_celery(config)
        for name, tell in (
            ("nudge", nudge_workers),
            ("nudge_booker", nudge_bookers),
            ("nudge_importer", nudge_importers),
        ):
            nudger = Nudger(tell)
            app.extensions[name] = nudger.nudge
            nudger.start()
        return
    tellers = Tellers(ctx, app.extensions["poster"])
    threads = BackgroundThreads(ctx, senders=config.sender_threads, tellers=tellers)
    app.extensions["background"] = threads
    app.extensions["nudge"] = threads.nudge
    app.extensions["nudge_booker"] = threads.nudge_booker
    app.extensions["nudge_importer"] = threads.nudge_importer
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
