"""gunicorn: threads, since a broadcast mostly waits for Sinch; settings come from app.config.

An unusable configuration stops the master here with exit code 78: a worker that exits would only
be started again.
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
_ctx.db.close()  # what the master opened is nothing for its workers

# Development serves this machine only.
bind = f"{'0.0.0.0' if _config.production else '127.0.0.1'}:{_config.port}"
workers = _config.web_concurrency
worker_class = "gthread"
threads = _config.web_threads
timeout = 60
# A broadcast answers within 25 s (SEND_BUDGET_S and the look-ups), and Heroku kills after 30 s.
graceful_timeout = 25
keepalive = 75
control_socket_disable = True
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None
forwarder_headers = ""  # nobody in front of us sets SCRIPT_NAME or PATH_INFO
accesslog = None  # app.logs writes one line a request
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
    """Have the kernel end a silent client's turn; accepted sockets inherit it (Linux).

    Each holds a thread meanwhile.  A client that sends a byte now and then holds it longer, so
    production wants a proxy in front that collects whole requests, as routers and nginx do.
    """
    silence = struct.pack("ll", _config.client_timeout_s, 0)
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, silence)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, silence)


def post_worker_init(worker: Any) -> None:
    """On SIGTERM claim nothing more, at once and not only when the last request has ended."""
    background = worker.wsgi.extensions.get("background")
    if background is None:
        return
    finish = signal.getsignal(signal.SIGTERM)

    def stop(number: int, frame: Any) -> None:
        background.stop_claiming()
        finish(number, frame)

    signal.signal(signal.SIGTERM, stop)


def worker_exit(server: Any, worker: Any) -> None:
    """Let the POST in hand end."""
    background = getattr(worker.wsgi, "extensions", {}).get("background")
    if background is not None:
        background.stop()
