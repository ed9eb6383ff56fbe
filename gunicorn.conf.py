"""gunicorn's settings, from app.config; threads, because a broadcast mostly waits for Sinch.

The worker is gunicorn's gthread with an event loop that collects requests
(app/http/gunicorn_worker.py).

An unusable configuration ends the master here with exit code 78.  gunicorn would restart a worker
that exits.
"""

import contextlib
import ctypes
import gc
import os
import resource
import signal
import socket
import struct
import sys
from typing import Any

from gunicorn.glogging import Logger
from loguru import logger

# gunicorn has read this file before: a reload, perhaps of another version of ours.  Workers inherit
# what the master has imported, and a mixture of two versions does not start.
if "app.http.gunicorn_worker" in sys.modules:
    for _name in [name for name in sys.modules if name.partition(".")[0] == "app"]:
        del sys.modules[_name]

from app.config import load_config_or_exit
from app.config.values import join_host_port
from app.logs import configure_logging
from app.sms.context import make_context
from app.worker.start import refuse_wrong_database

_config = load_config_or_exit()
configure_logging(_config.log_level)
_ctx = make_context(_config)
refuse_wrong_database(_ctx)
_ctx.db.close()  # workers must not share the master's connections

# glibc raises the size from which it gives a freed block back to the system with each such block:
# a few large requests, and their memory would be kept for ever.  M_MMAP_THRESHOLD keeps it fixed.
with contextlib.suppress(AttributeError):  # only glibc has it
    ctypes.CDLL(None).mallopt(-3, 256 * 1024)

# Each connection takes a file descriptor.
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
_wanted = 8_192 if _hard == resource.RLIM_INFINITY else min(8_192, _hard)
resource.setrlimit(resource.RLIMIT_NOFILE, (max(_soft, _wanted), _hard))


class WithoutRequests(Logger):
    """gunicorn's own log.  The line of each request is written by app.logs."""

    def access(self, *_: Any) -> None:
        """Write nothing."""


bind = join_host_port(_config.host, _config.port)
workers = _config.web_concurrency
worker_class = "app.http.gunicorn_worker.CollectingWorker"
threads = _config.web_threads
worker_connections = 2_000
timeout = 60
# A broadcast is answered within 25 s (SEND_BUDGET_S and look-ups); Heroku kills after 30 s.
graceful_timeout = 25
keepalive = 75
sendfile = False  # the worker sends the end of an answer itself
control_socket_disable = True
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None
forwarder_headers = ""  # no proxy sets SCRIPT_NAME or PATH_INFO
logger_class = WithoutRequests
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"loguru": {"class": "app.logs.InterceptHandler"}},
    "root": {"handlers": ["loguru"], "level": "INFO"},
    "loggers": {
        "gunicorn.error": {"handlers": [], "level": "INFO", "propagate": True},
    },
}


def pre_fork(server: Any, worker: Any) -> None:
    """Choose a processor for a web process, if WEB_CPU_AFFINITY is on: the one with fewest others.

    Threads on several processors mostly wait for the interpreter's lock, and hand it to and fro.
    """
    if _config.web_cpu_affinity and hasattr(os, "sched_getaffinity"):
        # Before a reload the setting may have been off.
        taken = [getattr(other, "processor", None) for other in server.WORKERS.values()]
        worker.processor = min(sorted(os.sched_getaffinity(0)), key=taken.count)


def post_fork(server: Any, worker: Any) -> None:
    """Keep the process on the processor that was chosen for it."""
    if hasattr(worker, "processor"):
        os.sched_setaffinity(0, {worker.processor})


def when_ready(server: Any) -> None:
    """Say what settings lack, and set the kernel's time-outs for silent clients.

    On Linux, accepted sockets inherit the time-outs.
    """
    if _config.production and not _config.trusted_proxies:
        logger.bind(host=_config.host).warning(
            "no proxy is trusted: put a proxy with TLS in front and set TRUSTED_PROXIES to the "
            "number of proxies; without TLS, keys and texts can be read on the way, and behind an "
            "untrusted proxy all callers count as one address"
        )
    unnamed = [key.client for key in _config.api_keys if key.is_unnamed]
    if len(unnamed) > 1:
        logger.bind(clients=unnamed).warning(
            "several keys in API_KEYS have no name: each is a client of its own and sees nothing "
            "of the others. If one replaces another, give it that client's name, such as "
            f"{unnamed[0]}:NEWKEY"
        )
    timeout_value = struct.pack("ll", _config.client_timeout_s, 0)
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout_value)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout_value)


def post_worker_init(worker: Any) -> None:
    """Keep collections of garbage short; on SIGTERM stop claiming at once."""
    # Each full collection would look at all modules, for a tenth of a second, and a request that
    # makes 10,000 rows starts one.
    gc.collect()
    gc.freeze()
    background = worker.wsgi.extensions.get("background")
    if background is None:
        return
    finish: Any = signal.getsignal(signal.SIGTERM)

    def stop(number: int, frame: Any) -> None:
        background.stop_claiming()
        finish(number, frame)

    signal.signal(signal.SIGTERM, stop)


def worker_exit(server: Any, worker: Any) -> None:
    """Wait for the POSTs in progress."""
    background = getattr(worker.wsgi, "extensions", {}).get("background")
    if background is not None:
        background.stop()
