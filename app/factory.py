"""The factory of the service: `create_app`."""

from flask import Flask
from loguru import logger

from app.auth import identify_clients
from app.cli import make_command_app
from app.config import Config
from app.errors import register_error_handlers
from app.health import Readiness
from app.health import blueprint as health
from app.http.openapi import register_api
from app.http.security import secure_responses, trust_proxies
from app.logs import configure_logging, log_requests
from app.metrics.process import count_request, count_sinch_call
from app.metrics.routes import register_metrics
from app.metrics.sentry import start_sentry
from app.rate_limit import guard_capacity, limit_rates
from app.sms.blueprints import BLUEPRINTS as SMS
from app.sms.context import make_context
from app.sms.privacy.person_export import SOURCES
from app.subscribers.blueprints import BLUEPRINTS as SUBSCRIBERS
from app.web.blueprints import BLUEPRINTS as WEB
from app.web.errors import make_error_page
from app.web.guard import protect_pages
from app.webhooks.incoming.routes import register_callbacks
from app.webhooks.outgoing.http_client import WebhookHttpClient
from app.webhooks.outgoing.routes import blueprint as client_webhooks


def create_app(config: Config) -> Flask:
    """Make the service from its settings.  Reads no environment and opens no connection."""
    configure_logging(config.log_level)
    if config.monitoring.sentry_dsn:
        start_sentry(config.monitoring.sentry_dsn, environment=config.env)
    flask_app = make_command_app(config)
    for warning in config.warnings:
        logger.warning(warning)
    flask_app.url_map.merge_slashes = False  # answer a doubled slash with 404, not a redirect
    flask_app.json.sort_keys = False  # type: ignore[attr-defined]  # answers keep their order
    flask_app.config.update(
        SECRET_KEY=config.secret_key,
        MAX_CONTENT_LENGTH=config.max_body_bytes,
        PRODUCTION=config.production,
        PAGE_URL=config.page_url,
        CLIENT_TIMEOUT_S=config.client_timeout_s,
    )
    ctx = make_context(config, on_called=count_sinch_call)
    flask_app.extensions |= {
        "clarion": ctx,
        "readiness": Readiness(ctx.sinch),
        "person_sources": SOURCES,
        "webhook_client": WebhookHttpClient(production=config.production),
        # A background that is started in this process replaces these.
        "wake_workers": lambda: None,
        "wake_report_worker": lambda: None,
        "wake_importer": lambda: None,
    }
    register_callbacks(flask_app, ctx, config.webhook_auth, on_answered=count_request)
    trust_proxies(flask_app, config.trusted_proxies)
    register_metrics(flask_app, ctx, config.monitoring.metrics_token)

    # Flask runs hooks before a request in this order, and those after it in reverse: the log line
    # is written last.
    log_requests(flask_app, on_answered=count_request)
    identify_clients(flask_app, config.api_keys)
    limit_rates(
        flask_app,
        limit=config.rate_limit,
        read_limit=config.read_rate_limit,
        redis_url=config.redis_url,
    )
    guard_capacity(flask_app)
    secure_responses(flask_app, production=config.production)
    protect_pages(
        flask_app,
        production=config.production,
        is_sandbox=config.sinch.is_sandbox,
        second_factor=config.second_factor,
    )

    register_api(flask_app, (*SMS, *SUBSCRIBERS, client_webhooks, health))
    for page in WEB:
        flask_app.register_blueprint(page)
    register_error_handlers(flask_app, make_error_page)
    return flask_app
