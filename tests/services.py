"""Services for tests, made once for each choice of settings and used again with another database.

To put an application together takes longer than most tests do.
"""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

from flask import Flask
from loguru import logger
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DatabaseError
from sqlalchemy.util import LRUCache

from app.config import Config, read_config
from app.config.storage import read_database_url
from app.db.engine import Database
from app.factory import create_app
from app.health import Readiness
from app.logs import configure_logging, throttle
from app.metrics.database import DatabaseMetrics
from app.sms.context import Context
from app.webhooks.incoming.authenticate import CallbackAuthenticator
from app.webhooks.incoming.store import CallbackStore
from tests.compiled import share_compiled

share_compiled()

# Settings whose services keep something outside of the database: counters, throttled log lines.
_NOT_SHARED = ("FAILPOINT", "REDIS_URL", "CELERY_BROKER_URL")


# Of each kind of database the dialect and the statements compiled for it.
_compiled: dict[bool, tuple[Dialect, LRUCache[Any, Any]]] = {}
# The level and the sinks of the log when it was last configured here.
_configured: list[Any] = []


@dataclass
class _Made:
    """A service as it was made: what a test adds or replaces is seen by comparing."""

    service: Flask
    config: Config
    key: frozenset[tuple[str, str]]
    extensions: dict[str, Any]
    parts: Any


@dataclass
class Services:
    """Services that wait to be used again, by their settings."""

    _waiting: dict[frozenset[tuple[str, str]], list[_Made]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _in_use: dict[int, _Made] = field(default_factory=dict)

    def take(self, environ: dict[str, str]) -> Flask:
        """Return a service with these settings that no other test uses meanwhile."""
        key = frozenset((name, value) for name, value in environ.items() if name != "DATABASE_URL")
        if self._waiting[key]:
            made = self._waiting[key].pop()
            database_url = read_database_url(environ)
            _open_database(made.service, replace(made.config, database_url=database_url))
        else:
            config = read_config(environ)
            service = create_app(config)
            made = _Made(service, config, key, dict(service.extensions), _list_parts(service))
        share_statements(made.service.extensions["clarion"].db)
        self._in_use[id(made.service)] = made
        return made.service

    def give_back(self, service: Flask) -> None:
        """Keep a service for the next test, unless this one has added something to it."""
        made = self._in_use.pop(id(service))
        shared = not any(name in _NOT_SHARED for name, _ in made.key)
        if shared and _list_parts(service) == made.parts:
            service.extensions.clear()
            service.extensions.update(made.extensions)
            self._waiting[made.key].append(made)


def share_statements(database: Database) -> None:
    """Let a database use the statements that earlier ones have compiled."""
    if database.is_sqlite not in _compiled:
        try:
            with database.read() as tx:  # at its first connection a dialect learns the version
                tx.exec_driver_sql("SELECT 1")
        except DatabaseError:
            return  # another test's database can be reached
    dialect, statements = _compiled.setdefault(
        database.is_sqlite, (database.engine.dialect, LRUCache(2_000))
    )
    for engine in (database.engine, database._reading, database._writing):
        engine.dialect = dialect
        engine.update_execution_options(compiled_cache=statements)


def _open_database(service: Flask, config: Config) -> None:
    """Give a service another database, as if it had just been started with it."""
    _log_from(config.log_level)
    ctx: Context = service.extensions["clarion"]
    pool_size = config.web_threads + config.sender_threads
    object.__setattr__(ctx, "db", Database(config.database_url, pool_size=pool_size))
    service.extensions["readiness"] = Readiness(ctx.sinch)
    service.extensions["database_metrics"] = DatabaseMetrics(ctx)
    for limiter in service.extensions["limiter"]:
        limiter.reset()
    # An authenticator that has logged no error yet, over a store that has stored nothing.
    authenticator = service.extensions["authenticator"]
    store = CallbackStore(ctx, on_stored=authenticator._store._on_stored)
    vars(authenticator).update(vars(CallbackAuthenticator(config.webhook_auth, store)))
    service._got_first_request = False


def _log_from(level: str) -> None:
    """Configure logging unless it is as it was when last configured, which takes milliseconds."""
    throttle.forget()
    if _configured != [level, list(logger._core.handlers)]:  # type: ignore[attr-defined]
        configure_logging(level)
        _configured[:] = [level, list(logger._core.handlers)]  # type: ignore[attr-defined]


def _list_parts(service: Flask) -> Any:
    """Return what a test may add to a service: routes, hooks, handlers, commands, settings."""
    hooks = (service.before_request_funcs, service.after_request_funcs)
    return (
        sorted(service.view_functions),
        [[len(functions) for functions in hook.values()] for hook in hooks],
        # Looking for the handlers of a status that has none adds an empty entry.
        sum(map(len, service.error_handler_spec[None].values())),
        sorted(service.cli.commands),
        dict(service.config),
        service.wsgi_app,
    )
