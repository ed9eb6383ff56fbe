"""gunicorn's settings, from app.config; threads, because a broadcast mostly waits for Sinch.

An unusable configuration ends the master here with exit code 78.  gunicorn would restart a worker
that exits.
"""

import os
import signal
import socket
import struct
from typing import Any

from app.config import load_config_or_exit
from app.logs import configure_logging
from app.sms.context import make_context
from app.worker.start import refuse_wrong_database

_config = load_config_or_exit()
configure_logging(_config.log_level)
_ctx = make_context(_config)
refuse_wrong_database(_ctx)
_ctx.db.close()  # workers must not share the master's connections

# In development, serve only this machine.
bind = f"{'0.0.0.0' if _config.production else '127.0.0.1'}:{_config.port}"
workers = _config.web_concurrency
worker_class = "gthread"
threads = _config.web_threads
timeout = 60
# A broadcast is answered within 25 s (SEND_BUDGET_S and look-ups); Heroku kills after 30 s.
graceful_timeout = 25
keepalive = 75
control_socket_disable = True
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None
forwarder_headers = ""  # no proxy sets SCRIPT_NAME or PATH_INFO
accesslog = None  # app.logs writes one line per request
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"loguru": {"class": "app.logs.InterceptHandler"}},
    "root": {"handlers": ["loguru"], "level": "INFO"},
    "loggers": {
        "gunicorn.error": {"handlers": [], "level": "INFO", "propagate": True},
        "gunicorn.access": {"handlers": [], "level": "INFO", "propagate": False},
    },
}


def when_ready(server: Any) -> None:
    """Set the kernel's time-out for silent clients; on Linux, accepted sockets inherit it.

    A silent client occupies a thread.  A client that sends a byte now and then occupies it longer,
    so production needs a proxy that collects whole requests, as nginx and Heroku's router do.
    """
    timeout_value = struct.pack("ll", _config.client_timeout_s, 0)
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout_value)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout_value)


def post_worker_init(worker: Any) -> None:
    """On SIGTERM stop claiming at once, before the last request has ended."""
    background = worker.wsgi.extensions.get("background")
    if background is None:
        return
    finish = signal.getsignal(signal.SIGTERM)

    def stop(number: int, frame: Any) -> None:
        background.stop_claiming()
        finish(number, frame)

    signal.signal(signal.SIGTERM, stop)


def worker_exit(server: Any, worker: Any) -> None:
    """Wait for the POSTs in progress."""
    background = getattr(worker.wsgi, "extensions", {}).get("background")
    if background is not None:
        background.stop()
