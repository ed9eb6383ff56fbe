"""What Celery is started with: `celery --app app.worker.queue worker`, and `beat`."""

import sys
from typing import Any

from celery.signals import setup_logging, worker_process_init

from app.config import EXIT_CONFIG, ConfigError, load_config_or_exit
from app.failpoints import failpoints
from app.logs import configure_logging
from app.sms import tasks
from app.sms.context import make_context
from app.worker.broker import make_celery


@setup_logging.connect
def _use_our_logs(**_: Any) -> None:
    configure_logging(_config.log_level)


@worker_process_init.connect
def _open_context(**_: Any) -> None:
    if _config.failpoint:
        failpoints.arm(*_config.failpoint)
    tasks.use_context(make_context(_config))


_config = load_config_or_exit()
try:
    app = make_celery(_config)
except ConfigError as e:
    sys.stderr.write(f"clarion: {e}\n")
    raise SystemExit(EXIT_CONFIG) from e
